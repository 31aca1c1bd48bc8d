// Keeps what a model announces until it is looked at: chosen tokens' rows of activations, and whole weights.

import { editableCopy, type Probe, type TapContext } from "../../nn/probe.ts";
import { indexSelect, noGrad, scope, Tensor } from "../../tensor/mod.ts";

/** Rows of a matrix, read. */
export interface Rows {
	/** What each row is of: a token, or a row of a weight. */
	ids: number[];
	/** The rows. */
	values: Float32Array[];
}

/** Copies of tapped tensors on the device. Those of two axes may be kept for some tokens only. */
export class KeptTaps implements Probe, Disposable {
	readonly taps: readonly string[];
	readonly #tokens: readonly number[] | null;
	readonly #kept = new Map<string, { tensor: Tensor<"float32">; tokens: number[] | null }>();

	/**
	 * Makes a probe for one run of one sequence.
	 *
	 * @param tokens whose rows of activations [T, C] are kept, ascending; null for all
	 */
	constructor(taps: readonly string[], tokens: readonly number[] | null) {
		this.taps = taps;
		this.#tokens = tokens;
	}

	receive(tensor: Tensor<"float32">, { name, sequence, positions }: TapContext): void {
		if (sequence < 0 || tensor.shape.length !== 2 || this.#tokens === null) {
			this.#kept.set(name, { tensor: editableCopy(tensor), tokens: null });
			return;
		}
		const tokens = positions ? this.#tokens.filter((t) => positions.includes(t)) : this.#tokens;
		if (tokens.length === 0) return;
		const rows = tokens.map((token) => positions ? positions.indexOf(token) : token);
		this.#kept.set(name, { tensor: rowsOf(tensor, rows), tokens: [...tokens] });
	}

	/** Whether there is such a tensor. */
	has(name: string): boolean {
		return this.#kept.has(name);
	}

	/** A tensor, as it was kept. */
	tensor(name: string): Tensor<"float32"> {
		const kept = this.#kept.get(name);
		if (!kept) throw new Error(`The tap ${name} was not kept`);
		return kept.tensor;
	}

	/** All rows that were kept. */
	async rows(name: string): Promise<Rows> {
		const { tensor, tokens } = this.#kept.get(name)!, width = tensor.shape.at(-1)!;
		const data = await tensor.data();
		const count = tensor.size / width;
		return {
			ids: tokens ?? Array.from({ length: count }, (_, i) => i),
			values: Array.from({ length: count }, (_, i) => data.slice(i * width, (i + 1) * width)),
		};
	}

	/** Some rows of a weight. */
	async weightRows(name: string, rows: readonly number[]): Promise<Rows> {
		using some = rowsOf(this.tensor(name), rows);
		const width = some.shape.at(-1)!, data = await some.data();
		return {
			ids: [...rows],
			values: rows.map((_, i) => data.slice(i * width, (i + 1) * width)),
		};
	}

	/** Some columns of a weight, each as a row. */
	async weightColumns(name: string, columns: readonly number[]): Promise<Rows> {
		const { shape } = this.tensor(name), height = shape[0]!;
		using some = noGrad(() =>
			scope(() => indexSelect(this.tensor(name), indices(this.tensor(name), columns), 1))
		);
		const data = await some.data(), width = columns.length;
		return {
			ids: [...columns],
			values: columns.map((_, i) =>
				Float32Array.from({ length: height }, (_, row) => data[row * width + i]!)
			),
		};
	}

	/** Frees what was kept. */
	[Symbol.dispose](): void {
		for (const { tensor } of this.#kept.values()) tensor.dispose();
		this.#kept.clear();
	}
}

function indices({ device }: Tensor<"float32">, of: readonly number[]): Tensor<"int32", 1> {
	return Tensor.from<"int32", 1>(device, "int32", [of.length], of);
}

function rowsOf(tensor: Tensor<"float32">, rows: readonly number[]): Tensor<"float32"> {
	return noGrad(() => scope(() => indexSelect(tensor, indices(tensor, rows))));
}
