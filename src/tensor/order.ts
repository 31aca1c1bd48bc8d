// Sorted elements, the largest or smallest of them, quantiles and medians.

import { defineOp } from "./autograd/define_op.ts";
import {
	type Axes,
	lastTo,
	type OverAxes,
	overAxes,
	type ReducedRank,
	type ReduceOptions,
	type Reduction,
	reductionOf,
	refuseNone,
} from "./axes.ts";
import { contiguous } from "./contiguous.ts";
import { BYTES_PER_ELEMENT, type FloatType } from "./dtype.ts";
import { toFloat32 } from "./precision.ts";
import { shaped } from "./reduce.ts";
import { Tensor } from "./tensor.ts";
import { resolveAxis } from "./views.ts";

type Float = Tensor<FloatType>;

const SCRATCH = 2 ** 24; // elements whose 16 bytes of scratch each are there at a time

/**
 * The first `top` elements of each sorted row of x, and their columns.
 *
 * @param most elements that are sorted at a time, unless one row has more
 */
export function sortRows(
	x: Float,
	rows: number,
	columns: number,
	top: number,
	descending: boolean,
	most = SCRATCH,
): { values: Tensor<FloatType, 2>; indices: Tensor<"int32", 2> } {
	const { device, dtype } = x;
	const values = Tensor.empty<FloatType, 2>(device, dtype, [rows, top]);
	const indices = Tensor.empty<"int32", 2>(device, "int32", [rows, top]);
	if (values.size === 0) return { values, indices };
	const atOnce = Math.min(rows, Math.max(1, Math.floor(most / columns)));
	using scratch = Tensor.empty<"uint32", 1>(device, "uint32", [atOnce * columns * 4]);
	const bytes = BYTES_PER_ELEMENT[dtype];
	for (let row = 0; row < rows; row += atOnce) {
		const count = Math.min(atOnce, rows - row);
		device.kernel(`sort_${dtype}`).overRows(
			count,
			values.pointer + row * top * bytes,
			indices.pointer + row * top * 4,
			x.pointer + row * columns * bytes,
			scratch.pointer,
			count,
			columns,
			top,
			descending ? 1 : 0,
		);
	}
	return { values, indices };
}

const sortOp = defineOp("sort", (x: Float, axis: number, top: number, descending: boolean) => {
	const { device, dtype } = x, columns = x.shape[axis]!, rows = columns ? x.size / columns : 0;
	const moved = contiguous(lastTo(x, axis));
	const shape = moved.shape.with(-1, top);
	const { values, indices } = sortRows(moved, rows, columns, top, descending);
	const back = (y: Tensor) => lastTo(shaped(y, shape), axis);
	return {
		result: [back(values), back(indices)],
		inputs: [x],
		saved: [indices] as const,
		backward: ([g], [indices]) => {
			if (!g) return [null];
			const dy = contiguous(lastTo(g, axis));
			const dx = Tensor.zeros(device, dtype, moved.shape);
			if (dy.size > 0) {
				device.kernel(`unsort_${dtype}`)
					.overRows(rows, dx.pointer, dy.pointer, indices.pointer, rows, columns, top);
			}
			return [lastTo(dx, axis)];
		},
	};
});

/** Elements in order, and where they come from. */
export interface Sorted<D extends FloatType, R extends number> {
	/** The elements; gradients flow through them. */
	values: Tensor<D, R>;
	/** Their indices along the axis. */
	indices: Tensor<"int32", R>;
}

function sorted<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	axis: number,
	top: number,
	descending: boolean,
): Sorted<D, R> {
	const [values, indices] = sortOp(x, axis, top, descending);
	return {
		values: values as Tensor as Tensor<D, R>,
		indices: indices as Tensor as Tensor<"int32", R>,
	};
}

/** Options of {@linkcode sort}. */
export interface SortOptions {
	/** The largest first. @default {false} */
	descending?: boolean;
}

/**
 * The elements along an axis in order. Equal ones keep theirs; NaN is larger than any number.
 *
 * @param axis by default the last
 */
export function sort<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	axis: number = -1,
	{ descending = false }: SortOptions = {},
): Sorted<D, R> {
	const along = resolveAxis("sort", x.shape, axis);
	return sorted(x, along, x.shape[along]!, descending);
}

/** Options of {@linkcode topK}. */
export interface TopKOptions {
	/** The smallest instead, the smallest first. @default {false} */
	smallest?: boolean;
}

/**
 * The k largest elements along an axis, the largest first. Of equal ones the first come first; NaN is larger than
 * any number.
 *
 * @param axis by default the last
 * @throws {RangeError} if the axis has fewer than k elements
 * @example The two most likely classes
 * ```ts
 * import { Device, Tensor, topK } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using logits = Tensor.from<"float32", 1>(device, "float32", [4], [0.5, 3, -1, 2]);
 * const { values, indices } = topK(logits, 2);
 * console.log(values.dataSync(), indices.dataSync()); // Float32Array [3, 2] Int32Array [1, 3]
 * ```
 */
export function topK<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	k: number,
	axis: number = -1,
	{ smallest = false }: TopKOptions = {},
): Sorted<D, R> {
	const along = resolveAxis("topK", x.shape, axis), extent = x.shape[along]!;
	if (!Number.isInteger(k) || k < 0 || k > extent) {
		throw new RangeError(
			`Cannot compute topK of [${x.shape}] along axis ${axis}: k must be from 0 to ${extent}, got ${k}`,
		);
	}
	return sorted(x, along, k, !smallest);
}

const quantileOp = defineOp(
	"quantile",
	(x: Tensor<"float32">, { from, isReduced, count, shape }: Reduction, position: number) => {
		const { device } = x, axes = [...from.keys()];
		const order = [...axes.filter((axis) => !isReduced(axis)), ...axes.filter(isReduced)];
		const moved = contiguous(x.permute(order)), rows = moved.size / count;
		const { values, indices } = sortRows(moved, rows, count, count, false);
		const lower = Math.floor(position), weight = position - lower;
		const y = Tensor.empty<"float32", 1>(device, "float32", [rows]);
		if (rows > 0) {
			device.kernel("quantile")
				.overElements(rows, y.pointer, values.pointer, rows, count, lower, weight);
		}
		return {
			result: shaped(y, shape),
			inputs: [x],
			saved: [indices] as const,
			backward: (gradient, [indices]) => {
				const g = toFloat32(gradient), dx = Tensor.zeros(device, "float32", moved.shape);
				if (rows > 0) {
					device.kernel("quantile_backward")
						.overElements(rows, dx.pointer, g.pointer, indices.pointer, rows, count, lower, weight);
				}
				return [dx.permute(axes.map((axis) => order.indexOf(axis)))];
			},
		};
	},
);

function orderStatistic(
	operation: string,
	x: Tensor<"float32">,
	reduction: Reduction,
	position: (count: number) => number,
): Tensor<"float32"> {
	refuseNone(operation, reduction);
	return quantileOp(x, reduction, position(reduction.count));
}

/**
 * The q-quantile over axes: of n sorted elements that at q (n - 1), between two by linear interpolation; NaN if an
 * element is.
 *
 * @param q from 0 to 1
 * @param axes by default all
 * @throws {RangeError} if there is no element
 */
export function quantile<
	R extends number,
	const A extends Axes | undefined = undefined,
	K extends boolean = false,
>(
	x: Tensor<"float32", R>,
	q: number,
	axes?: A,
	options: ReduceOptions<K> = {},
): Tensor<"float32", ReducedRank<R, A, K>> {
	if (!(q >= 0 && q <= 1)) {
		throw new RangeError(`Cannot compute quantile: q must be from 0 to 1, got ${q}`);
	}
	const reduction = reductionOf("quantile", x, axes, options);
	return orderStatistic("quantile", x, reduction, (count) => q * (count - 1)) as Tensor<
		"float32",
		ReducedRank<R, A, K>
	>;
}

/** The median over axes, the lower one of two; NaN if an element is. The gradient goes to that element. */
export const median: OverAxes<"float32"> = overAxes(
	"median",
	(x: Tensor<"float32">, axes) =>
		orderStatistic("median", x, axes, (count) => Math.floor((count - 1) / 2)),
);
