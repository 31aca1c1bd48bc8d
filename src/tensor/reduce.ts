// Runs the kernels of reduce.cu: collapses the axes of a reduction to [outer, reduced, inner], and cuts it into
// parts where whole rows or columns would leave the device idle. What is cut depends on the shape alone, so
// the order of a sum is the same on each run.

import type { DType, FloatType } from "./dtype.ts";
import { rowMajor } from "./strides.ts";
import { Tensor } from "./tensor.ts";

/** A reduction over the middle of three axes. */
export interface Collapsed {
	/** Product of the extents before. */
	outer: number;
	/** Product of the extents that go. */
	reduced: number;
	/** Product of the extents behind. */
	inner: number;
}

/** The operation that puts the results of parts together, where it is another one. */
const MERGE: Record<string, string> = {
	sum_absolute: "sum",
	sum_squares: "sum",
	sum_exp: "sum",
	count: "sum",
	count_absolute: "sum",
	max_absolute: "max",
};

const ROW_PART = 4096, COLUMN_PART = 64; // elements of a row, rows of a column, that a warp takes
const MANY = 1024; // warps that need no more beside them

/** How many parts the reduced axis is cut into. */
export function partsOf({ outer, reduced, inner }: Collapsed): number {
	const part = inner === 1 ? ROW_PART : COLUMN_PART;
	return outer * Math.ceil(inner / 64) < MANY && reduced >= 2 * part
		? Math.ceil(reduced / part)
		: 1;
}

/**
 * Queues a reduction over the middle axis.
 *
 * @param name an operation of reduce.cu
 * @param x contiguous, of outer · reduced · inner elements
 * @param center float32, outer · inner elements, for operations that compare with a value of each line
 * @param scale what the result is multiplied by
 * @returns outer · inner elements: uint8 of uint8, else float32
 */
export function reduceMiddle<D extends "float32" | "uint8" = "float32">(
	name: string,
	x: Tensor<DType>,
	collapsed: Collapsed,
	center: Tensor<"float32"> | null = null,
	scale = 1,
): Tensor<D, 1> {
	const { outer, reduced, inner } = collapsed, parts = partsOf(collapsed);
	const dtype = (x.dtype === "uint8" ? "uint8" : "float32") as D;
	const y = Tensor.empty<D, 1>(x.device, dtype, [outer * parts * inner]);
	if (y.size === 0) return y;
	const kernel = x.device.kernel(`${name}_${inner === 1 ? "rows" : "columns"}_${x.dtype}`);
	const last = parts === 1 ? scale : 1, middle = center?.pointer ?? 0;
	if (inner === 1) {
		kernel.overRows(outer * parts, y.pointer, x.pointer, middle, outer, reduced, parts, last);
	} else {
		const tiles = outer * parts * Math.ceil(inner / 64);
		kernel.overRows(tiles, y.pointer, x.pointer, middle, outer, reduced, inner, parts, last);
	}
	if (parts === 1) return y;
	using partial = y;
	return reduceMiddle(MERGE[name] ?? name, partial, { outer, reduced: parts, inner }, null, scale);
}

/** Runs of neighbouring axes that are all reduced, or all kept, as their products; extents of 1 belong to any. */
export function runsOf(shape: readonly number[], isReduced: (axis: number) => boolean) {
	const found: { extent: number; reduced: boolean }[] = [];
	shape.forEach((extent, axis) => {
		const reduced = isReduced(axis), last = found.at(-1);
		if (extent === 1) return;
		if (last?.reduced === reduced) last.extent *= extent;
		else found.push({ extent, reduced });
	});
	return found;
}

/**
 * Queues a reduction over any axes: one run of neighbouring axes after the other, the last one first.
 *
 * @param name an operation of reduce.cu without a center
 * @returns the elements in the order of the axes that stay
 */
export function reduceAxes<D extends "float32" | "uint8" = "float32">(
	name: string,
	x: Tensor<DType>,
	isReduced: (axis: number) => boolean,
	scale = 1,
): Tensor<D, 1> {
	const left = runsOf(x.shape, isReduced);
	const product = (from: number, to: number) =>
		left.slice(from, to).reduce((product, { extent }) => product * extent, 1);
	let result: Tensor<D, 1> | null = null, operation = name;
	for (;;) {
		const at = left.findLastIndex(({ reduced }) => reduced);
		const reduced = at < 0 ? 1 : left[at]!.extent;
		const outer = product(0, at < 0 ? left.length : at),
			inner = at < 0 ? 1 : product(at + 1, left.length);
		left.splice(at, at < 0 ? 0 : 1);
		const isLast = !left.some(({ reduced }) => reduced);
		using before = result;
		const from: Tensor<DType> = before ?? x;
		result = reduceMiddle<D>(operation, from, { outer, reduced, inner }, null, isLast ? scale : 1);
		if (isLast) return result;
		operation = MERGE[operation] ?? operation;
	}
}

/** `x` multiplied by a number, in float32. */
export function scaled(x: Tensor<FloatType>, factor: number): Tensor<"float32", 1> {
	return reduceMiddle("sum", x, { outer: 1, reduced: 1, inner: x.size }, null, factor);
}

/**
 * Queues the gradient of a reduction over the middle axis: an operation of spread.cu.
 *
 * @param x the elements that were reduced, contiguous
 * @param g the gradient of the results, in float32 as `a` and `b` are: values of each line that the operation needs
 * @returns of the dtype of x, as many elements
 */
export function spread<D extends FloatType>(
	name: string,
	x: Tensor<D>,
	{ outer, reduced, inner }: Collapsed,
	g: Tensor<"float32">,
	{ a, b, scale = 1 }: { a?: Tensor<"float32">; b?: Tensor<"float32">; scale?: number } = {},
): Tensor<D, 1> {
	const dx = Tensor.empty<D, 1>(x.device, x.dtype, [x.size]);
	if (dx.size === 0) return dx;
	x.device.kernel(`spread_${name}_${x.dtype}`).overRows(
		inner === 1 ? outer : outer * reduced,
		dx.pointer,
		x.pointer,
		g.pointer,
		a?.pointer ?? 0,
		b?.pointer ?? 0,
		outer,
		reduced,
		inner,
		scale,
	);
	return dx;
}

/** The elements of a contiguous tensor in another shape, for results of operations: no gradient flows through it. */
export function shaped<D extends DType>(x: Tensor<D>, shape: readonly number[]): Tensor<D> {
	return x.asStrided(shape, rowMajor(shape));
}
