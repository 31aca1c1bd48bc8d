// The largest and smallest elements along axes, where they are, and whether any or all elements are true.

import { defineOp } from "./autograd/define_op.ts";
import {
	linesOf,
	type OverAxes,
	overAxes,
	type ReducedRank,
	type ReduceOptions,
	type Reduction,
	reductionOf,
	refuseNone,
} from "./axes.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { inType, toFloat32 } from "./precision.ts";
import { partsOf, reduceAxes, reduceMiddle, shaped, spread } from "./reduce.ts";
import { Tensor } from "./tensor.ts";

type Extremum = "max" | "min";

function extremum(x: Tensor<FloatType>, name: Extremum, reduction: Reduction) {
	const values = reduceAxes(name, contiguous(x), reduction.isReduced);
	return {
		result: shaped(inType(values, x.dtype), reduction.shape),
		inputs: [x],
		saved: [x, values] as const,
		backward: (g: Tensor<FloatType>, [x, b]: readonly [Tensor<FloatType>, Tensor<"float32">]) => {
			const { dense, extents, restore } = linesOf(x, reduction);
			const a = reduceMiddle("count", dense, extents, b);
			return [restore(spread("equal", dense, extents, toFloat32(g), { a, b }))];
		},
	};
}

function extremumOver(name: Extremum): OverAxes<FloatType> {
	const op = defineOp(name, extremum);
	return overAxes(name, (x: Tensor<FloatType>, axes) => {
		refuseNone(name, axes);
		return op(x, name, axes);
	});
}

/**
 * The largest element over axes; NaN if there is one. The gradient is shared by the elements that are equal to it.
 *
 * @param axes by default all
 * @throws {RangeError} if there is no element
 */
export const max: OverAxes<FloatType> = extremumOver("max");

/** The smallest element over axes, as {@linkcode max} is the largest. */
export const min: OverAxes<FloatType> = extremumOver("min");

/** Where an element is along an axis, or in row-major order. */
export type IndexAlong = <
	R extends number,
	A extends number | undefined = undefined,
	K extends boolean = false,
>(
	x: Tensor<FloatType, R>,
	axis?: A,
	options?: ReduceOptions<K>,
) => Tensor<"int32", ReducedRank<R, A, K>>;

const whereOp = defineOp("argmax", (x: Tensor<FloatType>, name: Extremum, reduction: Reduction) => {
	const { dense, extents } = linesOf(x, reduction), { outer, reduced, inner } = extents;
	const values = reduceMiddle(name, dense, extents), parts = partsOf(extents);
	const index = Tensor.empty(x.device, "int32", [outer * inner]);
	if (index.size > 0) {
		x.device.fill(index.pointer, 0x7f, index.byteLength); // more than any index
		const sizes = inner === 1 ? [outer, reduced] : [outer, reduced, inner];
		x.device.kernel(`find_${inner === 1 ? "rows" : "columns"}_${x.dtype}`).overRows(
			outer * parts * Math.ceil(inner / 64),
			index.pointer,
			dense.pointer,
			values.pointer,
			...sizes,
			parts,
		);
	}
	return { result: shaped(index, reduction.shape), inputs: [], backward: () => [] };
});

function indexOf(name: "argmax" | "argmin", of: Extremum): IndexAlong {
	const index = (x: Tensor<FloatType>, axis?: number, options: ReduceOptions = {}) => {
		const reduction = reductionOf(name, x, axis, options);
		refuseNone(name, reduction);
		return whereOp(x, of, reduction);
	};
	return index as IndexAlong;
}

/**
 * Where the largest element is along an axis: the first of equal ones, and the first NaN if there is one.
 *
 * @param axis by default the elements are taken in row-major order, as one line
 * @returns indices
 * @throws {RangeError} if there is no element
 */
export const argmax: IndexAlong = indexOf("argmax", "max");

/** Where the smallest element is along an axis, as {@linkcode argmax} says where the largest is. */
export const argmin: IndexAlong = indexOf("argmin", "min");

function truthOver(name: "any" | "all"): OverAxes<"uint8"> {
	const op = defineOp(name, (x: Tensor<"uint8">, { isReduced, shape }: Reduction) => ({
		result: shaped(reduceAxes<"uint8">(name, contiguous(x), isReduced), shape),
		inputs: [],
		backward: () => [],
	}));
	return overAxes(name, op);
}

/** Whether any element over axes differs from 0, as 0 or 1; of no elements it is 0. */
export const any: OverAxes<"uint8"> = truthOver("any");

/** Whether all elements over axes differ from 0, as 0 or 1; of no elements it is 1. */
export const all: OverAxes<"uint8"> = truthOver("all");
