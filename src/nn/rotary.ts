// Rotary positions: each pair of features (i, i + d/2) of a query or key turns by position · θ_i.

import { contiguous, defineOp, type Device, type FloatType, scope, Tensor } from "../tensor/mod.ts";
import type { Heads } from "./attention/softmax_attention.ts";

/** Cosines and sines of every position and pair. */
export class RotaryTable implements Disposable {
	/** [T, d/2] */
	readonly cosine: Tensor<"float32", 2>;
	/** [T, d/2] */
	readonly sine: Tensor<"float32", 2>;

	/**
	 * @param tokens T
	 * @param dimension d
	 * @param base the base of θ_i = base^(-2i/d)
	 * @param factors [d/2]: what each θ_i is divided by, for models with stretched contexts
	 */
	constructor(
		device: Device,
		tokens: number,
		dimension: number,
		base: number,
		factors?: ArrayLike<number>,
	) {
		const half = dimension / 2;
		const cosine = new Float32Array(tokens * half);
		const sine = new Float32Array(tokens * half);
		for (let i = 0; i < half; i++) {
			// Rounded to float32 at each step, as the models' own training code does.
			const theta = Math.fround(
				Math.fround(1 / Math.fround(base ** Math.fround(2 * i / dimension))) / (factors?.[i] ?? 1),
			);
			for (let t = 0; t < tokens; t++) {
				const angle = Math.fround(t * theta);
				cosine[t * half + i] = Math.cos(angle);
				sine[t * half + i] = Math.sin(angle);
			}
		}
		this.cosine = Tensor.from<"float32", 2>(device, "float32", [tokens, half], cosine);
		this.sine = Tensor.from<"float32", 2>(device, "float32", [tokens, half], sine);
	}

	/** Frees the tables. */
	[Symbol.dispose](): void {
		this.cosine.dispose();
		this.sine.dispose();
	}
}

const splitOp = defineOp("splitHeadsRotary", (
	qkv: Tensor<FloatType, 2>,
	angles: readonly [Tensor<"float32", 2>, Tensor<"float32", 2>] | null,
	heads: number,
	kv: number,
	batch: number,
) => {
	const { device, dtype } = qkv, [rows, width] = qkv.shape;
	const T = rows / batch, d = width / (heads + 2 * kv);
	const launch = (name: string, parts: readonly Tensor[], all: Tensor, tables: readonly Tensor[]) =>
		device.kernel(`${name}_heads_rotary_${dtype}`).overRows(
			rows,
			...parts.map(({ pointer }) => pointer),
			all.pointer,
			tables[0]?.pointer ?? 0,
			tables[1]?.pointer ?? 0,
			rows,
			T,
			heads,
			kv,
			d,
			tables[0]?.shape[1] ?? 0,
		);
	const result = [
		Tensor.empty<FloatType, 4>(device, dtype, [batch * kv, T, heads / kv, d]) as Tensor,
		Tensor.empty<FloatType, 3>(device, dtype, [batch * kv, T, d]) as Tensor,
		Tensor.empty<FloatType, 3>(device, dtype, [batch * kv, T, d]) as Tensor,
	] as const;
	const saved = (angles ?? []).map((table) => contiguous(table) as Tensor);
	launch("split", result, contiguous(qkv), saved);
	const shapes = result.map(({ shape }) => shape);
	return {
		result,
		inputs: [qkv],
		saved,
		backward: (gradients, saved) => {
			const parts = gradients.map((gradient, i) =>
				gradient ? contiguous(gradient) : Tensor.zeros<FloatType, number>(device, dtype, shapes[i]!)
			);
			const all = Tensor.empty<FloatType, 2>(device, dtype, [rows, width]);
			launch("merge", parts, all, saved);
			return [all];
		},
	};
});

/** Options of {@linkcode splitHeadsRotary}. */
export interface SplitOptions {
	/** B: how many sequences there are, one after the other. @default {1} */
	batch?: number;
	/** Position of each sequence's first token. @default {0} */
	first?: number;
}

/**
 * Splits the fused projection of a batch into heads and rotates the first features of queries and keys, as many as
 * the table has pairs for. Differentiable.
 *
 * @param qkv [B·T, (n + 2·kv)·d]
 * @param table angles of pairs of features (i, i + pairs); null for none
 * @throws {RangeError} if the shapes do not go together
 */
export function splitHeadsRotary<D extends FloatType>(
	qkv: Tensor<D, 2>,
	table: Pick<RotaryTable, "cosine" | "sine"> | null,
	heads: number,
	keyValueHeads: number,
	{ batch = 1, first = 0 }: SplitOptions = {},
): Heads<D> {
	const [rows, width] = qkv.shape, all = heads + 2 * keyValueHeads;
	const T = rows / batch, d = width / all;
	const [positions = Infinity, pairs = 0] = table?.cosine.shape ?? [];
	if (
		heads % keyValueHeads !== 0 || width % all !== 0 || rows % batch !== 0 || 2 * pairs > d ||
		first + T > positions
	) {
		throw new RangeError(
			`Cannot split [${qkv.shape}] into ${batch} sequences of ${heads} heads and ${keyValueHeads} of keys and ` +
				`values${
					table
						? `, turned from position ${first} on by ${pairs} pairs at ${positions} positions`
						: ""
				}`,
		);
	}
	return scope(() => {
		const from = (angles: Tensor<"float32", 2>) => angles.slice(first, first + T);
		const angles = table && [from(table.cosine), from(table.sine)] as const;
		const [q, k, v] = splitOp(qkv as Tensor<FloatType, 2>, angles, heads, keyValueHeads, batch);
		return { q, k, v } as unknown as Heads<D>;
	});
}
