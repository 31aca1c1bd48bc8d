// Tensors put together, taken apart and repeated along axes.

import { defineOp } from "./autograd/define_op.ts";
import { copyInto } from "./contiguous.ts";
import { full } from "./create.ts";
import type { DType } from "./dtype.ts";
import type { Plus1 } from "./rank.ts";
import { scope } from "./scope.ts";
import { Tensor } from "./tensor.ts";
import { expand, reshape, resolveAxis, unsqueeze } from "./views.ts";

const isCount = (extent: number) => Number.isSafeInteger(extent) && extent >= 0;

const concatenateOp = defineOp("concatenate", (tensors: readonly Tensor[], axis: number) => {
	const ends: number[] = [];
	for (const { shape } of tensors) ends.push((ends.at(-1) ?? 0) + shape[axis]!);
	const [{ device, dtype, shape }] = tensors as [Tensor, ...Tensor[]];
	const result = Tensor.empty(device, dtype, shape.with(axis, ends.at(-1)!));
	const part = (of: Tensor, i: number) => of.slice(ends[i - 1] ?? 0, ends[i], axis);
	tensors.forEach((tensor, i) => copyInto(part(result, i), tensor));
	return {
		result,
		inputs: tensors,
		backward: (gradient, _, needs) => needs.map((needed, i) => needed ? part(gradient, i) : null),
	};
});

/**
 * Tensors one after the other along an axis.
 *
 * @param tensors at least one; they differ at most in the extent of that axis
 * @param axis negative counts from the end
 * @throws {RangeError} if the shapes do not fit
 * @example Two rows of one element, and their columns
 * ```ts
 * import { concatenate, Device, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using x = Tensor.from<"float32", 2>(device, "float32", [2, 1], [1, 2]);
 * using y = concatenate([x, x], 1);
 * console.log(y.shape, y.dataSync()); // [2, 2] Float32Array [1, 1, 2, 2]
 * ```
 */
export function concatenate<D extends DType, R extends number>(
	tensors: readonly Tensor<D, R>[],
	axis = 0,
): Tensor<D, R> {
	const [first] = tensors;
	if (!first) throw new RangeError("Cannot concatenate no tensors: give at least one");
	const along = resolveAxis("concatenate", first.shape, axis);
	for (const { shape, dtype } of tensors) {
		const fits = dtype === first.dtype && shape.length === first.shape.length &&
			shape.every((extent, i) => i === along || extent === first.shape[i]);
		if (!fits) {
			throw new RangeError(
				`Cannot concatenate ${first.dtype} [${first.shape}] and ${dtype} [${shape}] along axis ${axis}: ` +
					"dtypes and all other extents must be equal",
			);
		}
	}
	return concatenateOp(tensors, along) as Tensor<D, R>;
}

/**
 * Tensors of one shape along a new axis, by default the first.
 *
 * @param axis where the new axis is in the result; -1 puts it last
 * @throws {RangeError} if the shapes differ
 */
export function stack<D extends DType, R extends number>(
	tensors: readonly Tensor<D, R>[],
	axis = 0,
): Tensor<D, Plus1[R]> {
	const [first] = tensors;
	if (!first) throw new RangeError("Cannot stack no tensors: give at least one");
	const other = tensors.find(({ shape }) => `${shape}` !== `${first.shape}`);
	if (other) {
		throw new RangeError(
			`Cannot stack [${first.shape}] and [${other.shape}]: the shapes must be equal`,
		);
	}
	return scope(() => concatenate(tensors.map((tensor) => unsqueeze(tensor, axis)), axis));
}

const splitOp = defineOp("split", (x: Tensor, sizes: readonly number[], axis: number) => {
	const ends: number[] = [];
	for (const size of sizes) ends.push((ends.at(-1) ?? 0) + size);
	const { device, dtype, shape } = x;
	const part = (of: Tensor, i: number) => of.slice(ends[i - 1] ?? 0, ends[i], axis);
	return {
		result: sizes.map((_, i) => part(x, i)),
		inputs: [x],
		backward: (gradients) => {
			const whole = Tensor.empty(device, dtype, shape);
			gradients.forEach((gradient, i) => {
				const target = part(whole, i);
				copyInto(target, gradient ?? Tensor.zeros(device, dtype, target.shape));
			});
			return [whole];
		},
	};
});

/**
 * The parts of a tensor along an axis, as views of its memory.
 *
 * @param sizes extents of the parts along the axis, which add up to its own; or how many equal parts
 * @param axis negative counts from the end
 * @throws {RangeError} if the sizes do not fit
 * @example Queries, keys and values from one projection
 * ```ts
 * import { Device, split, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using qkv = Tensor.from<"float32", 2>(device, "float32", [1, 6], [1, 2, 3, 4, 5, 6]);
 * const [q, k, v] = split(qkv, 3, -1);
 * console.log(k!.dataSync()); // Float32Array [3, 4]
 * for (const part of [q, k, v]) part?.dispose();
 * ```
 */
export function split<D extends DType, R extends number>(
	x: Tensor<D, R>,
	sizes: number | readonly number[],
	axis = 0,
): Tensor<D, R>[] {
	const along = resolveAxis("split", x.shape, axis), extent = x.shape[along]!;
	const refuse = (why: string): never => {
		throw new RangeError(`Cannot split axis ${axis} of [${x.shape}] into ${sizes} parts: ${why}`);
	};
	if (typeof sizes === "number") {
		if (!isCount(sizes) || sizes === 0) refuse("their number must be whole and at least 1");
		if (extent % sizes !== 0) refuse(`${extent} is no multiple of ${sizes}`);
		sizes = Array<number>(sizes).fill(extent / sizes);
	}
	const total = sizes.reduce((sum, size) => sum + size, 0);
	if (!sizes.every(isCount)) refuse("extents must be whole and not negative");
	if (total !== extent) refuse(`they add up to ${total}, not ${extent}`);
	return splitOp(x, sizes, along) as Tensor<D, R>[];
}

/** Entries to put before and behind along an axis. */
export type Padding = readonly [before: number, after: number];

const padOp = defineOp("pad", (x: Tensor, padding: readonly Padding[], value: number) => {
	const { device, dtype, shape } = x;
	const padded = shape.map((extent, axis) => padding[axis]![0] + extent + padding[axis]![1]);
	const inside = (of: Tensor) =>
		padding.reduce((part, [before], axis) => part.slice(before, before + shape[axis]!, axis), of);
	const result = value === 0
		? Tensor.zeros(device, dtype, padded)
		: full(padded, value, { device, dtype });
	copyInto(inside(result), x);
	return { result, inputs: [x], backward: (gradient) => [inside(gradient)] };
});

/**
 * The tensor with entries of one value around it.
 *
 * @param padding entries before and behind, an axis, the first axis first
 * @param value of the new entries. @default {0}
 * @throws {RangeError} if there is not one padding an axis, or one is negative
 */
export function pad<D extends DType, R extends number>(
	x: Tensor<D, R>,
	padding: readonly Padding[],
	value = 0,
): Tensor<D, R> {
	if (padding.length !== x.shape.length || !padding.flat().every(isCount)) {
		throw new RangeError(
			`Cannot pad [${x.shape}] by ${
				JSON.stringify(padding)
			}: it takes ${x.shape.length} pairs of ` +
				"whole numbers that are not negative",
		);
	}
	return padOp(x, padding, value) as Tensor<D, R>;
}

/**
 * The tensor several times along each axis, whole after whole: [1, 2] twice is [1, 2, 1, 2].
 *
 * @param counts times along each axis
 * @throws {RangeError} if there is not one count an axis
 */
export function tile<D extends DType, R extends number>(
	x: Tensor<D, R>,
	counts: readonly number[],
): Tensor<D, R> {
	if (counts.length !== x.shape.length || !counts.every(isCount)) {
		throw new RangeError(
			`Cannot tile [${x.shape}] by [${counts}]: it takes ${x.shape.length} whole numbers that are not negative`,
		);
	}
	const { shape } = x;
	return scope(() => {
		const apart = reshape(x, shape.flatMap((extent) => [1, extent]));
		const repeated = expand(apart, shape.flatMap((extent, axis) => [counts[axis]!, extent]));
		return reshape(repeated, shape.map((extent, axis) => counts[axis]! * extent));
	}) as Tensor<D, R>;
}

/**
 * Each entry along an axis several times, one after the other: [1, 2] twice is [1, 1, 2, 2].
 *
 * @throws {RangeError} if `count` is not a whole number, or negative
 */
export function repeat<D extends DType, R extends number>(
	x: Tensor<D, R>,
	count: number,
	axis = 0,
): Tensor<D, R> {
	const along = resolveAxis("repeat", x.shape, axis), { shape } = x;
	if (!isCount(count)) {
		throw new RangeError(
			`Cannot repeat [${shape}] ${count} times: the number must be whole and not negative`,
		);
	}
	return scope(() => {
		const apart = reshape(x, shape.toSpliced(along + 1, 0, 1));
		const repeated = expand(apart, shape.toSpliced(along + 1, 0, count));
		return reshape(repeated, shape.with(along, shape[along]! * count));
	}) as Tensor<D, R>;
}
