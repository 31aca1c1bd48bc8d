// The norm of all gradients of a model together, and clipping by it. It stays on the device, where the next step
// of an optimizer takes it from, so that nothing waits for it.

import { keep, Tensor } from "../../tensor/mod.ts";
import { checkNumbers, checkParameters, gradientPointers, type Parameters } from "./optimizer.ts";
import { TensorTable } from "./tensor_table.ts";

/** What was measured. */
export interface GradientVerdict {
	/** ‖g‖ over all gradients, before clipping. */
	norm: number;
	/** What steps multiply the gradients by: min(1, maximum / (norm + 10⁻⁶)). */
	coefficient: number;
	/** Whether norm and loss were finite, this time and all times before. */
	finite: boolean;
}

/**
 * The global norm of gradients. The same gradients give the same bits on the same device.
 *
 * After a norm or loss that is not finite the steps that are given this norm change nothing any more, so that the
 * parameters are still those that led there.
 *
 * @example Clip
 * ```ts ignore
 * using gradients = new GradientNorm(model.parameters, { maximum: 1 });
 * loss.backward();
 * gradients.measure();
 * optimizer.step(6e-4, gradients);
 * ```
 */
export class GradientNorm implements Disposable {
	/** What gradients are clipped to. */
	readonly maximum: number;
	/**
	 * [3]: norm, coefficient, and 1 if anything was not finite.
	 * @internal
	 */
	readonly verdict: Tensor<"float32", 1>;
	readonly #parameters: Parameters;
	readonly #table: TensorTable;
	readonly #squares: Tensor<"float64", 1>;

	/**
	 * Measures nothing yet.
	 *
	 * @param options.maximum what gradients are clipped to; by default they are not
	 */
	constructor(parameters: Parameters, { maximum = Infinity }: { maximum?: number } = {}) {
		const device = checkParameters(parameters);
		if (!(maximum > 0)) checkNumbers({ "maximum norm": NaN });
		this.maximum = maximum;
		this.#parameters = parameters;
		this.#table = new TensorTable(device, Array.from(parameters.values(), ({ size }) => size));
		this.#squares = keep(Tensor.empty<"float64", 1>(device, "float64", [this.#table.chunks]));
		this.verdict = keep(Tensor.from<"float32", 1>(device, "float32", [3], [0, 1, 0]));
	}

	/**
	 * Queues the measurement of the gradients that are there.
	 *
	 * @param loss one number that must be finite as well
	 * @param combine adds the sums of squares of other processes, which have the other parameters' gradients
	 */
	measure(loss?: Tensor<"float32">, combine?: (squares: Tensor<"float64", 1>) => void): void {
		const { device } = this.verdict, table = this.#table;
		const gradients = gradientPointers(this.#parameters);
		table.fill(gradients.map((gradient) => ({ parameter: 0, gradient })));
		if (table.chunks > 0) {
			device.kernel("gradient_squares")
				.overRows(table.chunks, this.#squares.pointer, ...table.arguments);
		}
		combine?.(this.#squares);
		device.kernel("gradient_verdict").once(
			this.verdict.pointer,
			this.#squares.pointer,
			table.chunks,
			this.maximum,
			loss?.pointer ?? 0,
		);
	}

	/** What the last measurement found, once it is done. */
	async read(): Promise<GradientVerdict> {
		const [norm, coefficient, bad] = await this.verdict.data();
		return { norm: norm!, coefficient: coefficient!, finite: bad === 0 };
	}

	/** Frees it. */
	[Symbol.dispose](): void {
		this.#table[Symbol.dispose]();
		this.#squares.dispose();
		this.verdict.dispose();
	}
}
