// Which keys a query of attention sees, and how much it is held from those that are far.

import { Device } from "../cuda/device.ts";
import { Tensor } from "./tensor.ts";

/** Options of {@linkcode causalMask}. */
export interface CausalMaskOptions<D extends "uint8" | "float32"> {
	/** Position of the first query. @default keys - queries: the queries are the last positions */
	first?: number;
	/** How many keys a query sees at most, itself included. @default all before it */
	window?: number;
	/** uint8: 1 where a query sees the key, else 0. float32, to be added to scores: 0 and -∞. @default {"uint8"} */
	dtype?: D;
	/** Where the tensor is made; by default {@linkcode Device.current}. */
	device?: Device;
}

/**
 * The mask of causal attention, in which a query sees the keys up to its own position, and with a sliding window
 * no more than the nearest of them.
 *
 * @param queries number of queries
 * @param keys number of keys
 * @returns [queries, keys]
 * @throws {RangeError} if the window is not a whole number of at least 1
 * @example Three positions that see themselves and the one before
 * ```ts
 * import { causalMask, Device } from "@outlierscope/outlierscope";
 * await Device.open();
 * using mask = causalMask(3, 3, { window: 2 });
 * console.log(mask.dataSync()); // Uint8Array [1, 0, 0, 1, 1, 0, 0, 1, 1]
 * ```
 */
export function causalMask<D extends "uint8" | "float32" = "uint8">(
	queries: number,
	keys: number = queries,
	options: CausalMaskOptions<D> = {},
): Tensor<D, 2> {
	const { first = keys - queries, window, dtype = "uint8" as D, device = Device.current } = options;
	if (window !== undefined && !(Number.isInteger(window) && window >= 1)) {
		throw new RangeError(
			`Cannot make a mask with a window of ${window} keys: it must be a whole number of at least 1`,
		);
	}
	const y = Tensor.empty<D, 2>(device, dtype, [queries, keys]);
	device.kernel(`causal_mask_${dtype}`)
		.overRows(queries, y.pointer, queries, keys, first, window ?? 0);
	return y;
}

/**
 * The slopes of ALiBi, one a head: 2^(-8/n), 2^(-16/n), ... for n heads, a power of two; for another n those of
 * the power of two below, then every other one of twice as many (Press et al., "Train Short, Test Long", 2022,
 * section 3 and its code).
 *
 * @param heads n
 */
export function alibiSlopes(heads: number): number[] {
	if (!(Number.isInteger(heads) && heads >= 1)) {
		throw new RangeError(
			`Cannot make slopes of ${heads} heads: it must be a whole number of at least 1`,
		);
	}
	const of = (count: number) =>
		Array.from({ length: count }, (_, head) => 2 ** (-8 * (head + 1) / count));
	const power = 2 ** Math.floor(Math.log2(heads));
	const between = of(2 * power).filter((_, head) => head % 2 === 0);
	return [...of(power), ...between.slice(0, heads - power)];
}

/** Options of {@linkcode alibiBias}. */
export interface AlibiBiasOptions {
	/** Position of the first query. @default keys - queries: the queries are the last positions */
	first?: number;
	/** Where the tensor is made; by default {@linkcode Device.current}. */
	device?: Device;
}

/**
 * The biases of ALiBi, which are added to scores: -slope · |position of the query - position of the key|.
 *
 * @param slopes one a head, as {@linkcode alibiSlopes} gives them
 * @param queries number of queries
 * @param keys number of keys
 * @returns [heads, queries, keys]
 */
export function alibiBias(
	slopes: readonly number[],
	queries: number,
	keys: number = queries,
	{ first = keys - queries, device = Device.current }: AlibiBiasOptions = {},
): Tensor<"float32", 3> {
	const heads = slopes.length;
	const y = Tensor.empty<"float32", 3>(device, "float32", [heads, queries, keys]);
	using factors = Tensor.from<"float32", 1>(device, "float32", [heads], slopes);
	device.kernel("alibi_bias")
		.overRows(heads * queries, y.pointer, factors.pointer, heads, queries, keys, first);
	return y;
}
