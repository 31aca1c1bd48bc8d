// Muon, and the orthogonalization that it is made of.

import {
	add,
	cast,
	contiguous,
	div,
	type FloatType,
	matmul,
	maximum,
	mul,
	noGrad,
	norm,
	scope,
	Tensor,
} from "../../tensor/mod.ts";
import { AdamW, type AdamWOptions } from "./adamw.ts";
import type { GradientNorm } from "./clip.ts";
import {
	checkNumbers,
	checkParameters,
	decayOf,
	gradientPointers,
	type Optimizer,
	type Parameters,
	zerosLikeAll,
} from "./optimizer.ts";
import { TensorTable } from "./tensor_table.ts";

/** Options of {@linkcode orthogonalize}. */
export interface OrthogonalizeOptions {
	/** How often the polynomial is applied. @default {5} */
	iterations?: number;
	/** Type of the inputs of products; sums are float32. @default {"bfloat16"} */
	dtype?: FloatType;
}

/** The polynomial a·x + b·x³ + c·x⁵: steep at 0, and then somewhere around 1. */
const [A, B, C] = [3.4445, -4.7750, 2.0315];

/**
 * About the nearest matrix with orthonormal rows or columns, by Newton and Schulz's iteration: singular values
 * come to lie between 0.7 and 1.2.
 *
 * @param matrix [rows, columns]
 */
export function orthogonalize(
	matrix: Tensor<"float32", 2>,
	{ iterations = 5, dtype = "bfloat16" }: OrthogonalizeOptions = {},
): Tensor<"float32", 2> {
	return noGrad(() =>
		scope(() => {
			const tall = matrix.shape[0] > matrix.shape[1];
			const product = (x: Tensor<"float32", 2>, y: Tensor<"float32", 2>, transposed = false) => {
				const a = dtype === "float32" ? x : cast(x, dtype), same = x === y;
				const b = same ? a : dtype === "float32" ? y : cast(y, dtype);
				return matmul(a as typeof x, (transposed ? b.transpose() : b) as typeof x);
			};
			const wide = tall ? matrix.transpose() : matrix;
			let x: Tensor<"float32", 2> = div(wide, maximum(norm(matrix), 1e-7)) as typeof wide;
			for (let i = 0; i < iterations; i++) {
				x = scope(() => {
					const gram = product(x, x, true);
					const polynomial = add(mul(gram, B), mul(product(gram, gram), C));
					return add(mul(x, A), product(polynomial, x));
				});
			}
			return (tall ? x.transpose() : x) as typeof x;
		})
	);
}

/** Options of {@linkcode Muon}. */
export interface MuonOptions extends AdamWOptions, OrthogonalizeOptions {
	/** How slowly the mean of the gradients changes. @default {0.95} */
	momentum?: number;
	/** Nesterov's momentum. @default {true} */
	nesterov?: boolean;
	/**
	 * What an orthogonal matrix [rows, columns] is multiplied by beside the learning rate: with `rms`
	 * 0.2 · √max(rows, columns), so that entries change as much as by AdamW and its learning rates serve; with
	 * `original` √max(1, rows / columns).
	 * @default {"rms"}
	 */
	scale?: "rms" | "original";
	/** Which parameters are hidden matrices; AdamW takes the others. @default matrices of `layers.N.` */
	hidden?: (name: string, parameter: Tensor) => boolean;
}

/**
 * Muon (Jordan et al. 2024): hidden matrices go along the orthogonal matrix that is nearest to their gradients'
 * mean, so that no direction dominates; embeddings, output layer, norms and biases are left to {@linkcode AdamW}.
 * Models that are trained by it have weaker outliers (Park et al. 2025, "Outlier-Safe Pre-Training").
 */
export class Muon implements Optimizer {
	readonly name = "muon";
	/** `momentum_buffer.NAME` of hidden matrices, and AdamW's of the others. */
	readonly state: ReadonlyMap<string, Tensor<"float32">>;
	readonly #hidden: Map<string, Tensor<"float32", 2>>;
	readonly #others: AdamW | null;
	readonly #decay: number[];
	readonly #options: MuonOptions;
	readonly #table: TensorTable;
	#steps = 0;

	/** Starts with means of zero. */
	constructor(parameters: Parameters, options: MuonOptions = {}) {
		const isHidden = options.hidden ??
			((name, { shape }) => name.startsWith("layers.") && shape.length === 2);
		const { momentum = 0.95 } = options;
		checkNumbers({ momentum });
		const device = checkParameters(parameters);
		const hidden = [...parameters].filter((one) => isHidden(...one));
		const wrong = hidden.find(([, { shape }]) => shape.length !== 2);
		if (wrong) {
			throw new RangeError(
				`Cannot orthogonalize the parameter ${wrong[0]} of shape [${
					wrong[1].shape
				}]: it is no matrix`,
			);
		}
		const others = [...parameters].filter(([name]) => !hidden.some(([one]) => one === name));
		this.#hidden = new Map(hidden as [string, Tensor<"float32", 2>][]);
		this.#decay = decayOf(this.#hidden, options);
		this.#options = options;
		this.#table = new TensorTable(device, hidden.map(([, { size }]) => size));
		this.#others = others.length > 0 ? new AdamW(new Map(others), options) : null;
		this.state = new Map([
			...zerosLikeAll(this.#hidden, "momentum_buffer"),
			...this.#others?.state ?? [],
		]);
	}

	get steps(): number {
		return this.#steps;
	}
	set steps(steps: number) {
		this.#steps = steps;
		if (this.#others) this.#others.steps = steps;
	}

	step(learningRate: number, gradients?: GradientNorm): void {
		checkNumbers({ "learning rate": learningRate });
		const { momentum = 0.95, nesterov = true, scale = "rms" } = this.#options;
		const verdict = gradients?.verdict.pointer ?? 0;
		scope(() => {
			const pointers = gradientPointers(this.#hidden);
			const rows = Array.from(this.#hidden, ([name, parameter], i) => ({
				name,
				parameter,
				gradient: pointers[i]!,
				decay: this.#decay[i]!,
				mean: Tensor.empty<"float32", 2>(parameter.device, "float32", parameter.shape),
			}));
			this.#table.fill(rows.map(({ name, gradient, mean }) => ({
				parameter: 0,
				gradient,
				first: this.state.get(`momentum_buffer.${name}`)!.pointer,
				second: mean.pointer,
			})));
			this.#table.launch("muon_momentum", verdict, momentum, 1 - momentum, Number(nesterov));
			const updates = rows.map(({ gradient, mean }) =>
				gradient ? contiguous(orthogonalize(mean, this.#options)) : null
			);
			this.#table.fill(rows.map(({ parameter: { pointer, shape }, decay }, i) => ({
				parameter: pointer,
				gradient: updates[i]?.pointer ?? 0,
				decay,
				scale: scale === "rms"
					? 0.2 * Math.sqrt(Math.max(...shape))
					: Math.sqrt(Math.max(1, shape[0] / shape[1])),
			})));
			this.#table.launch("muon_apply", verdict, learningRate);
		});
		for (const parameter of this.#hidden.values()) parameter.changed();
		this.#steps++;
		this.#others?.step(learningRate, gradients);
	}

	/** Frees the state. */
	[Symbol.dispose](): void {
		for (const tensor of this.state.values()) tensor.dispose();
		this.#others?.[Symbol.dispose]();
		this.#table[Symbol.dispose]();
	}
}
