// Elements, rows and slices by index, and the sums by index that are their gradients. Indices cannot be
// checked where they are without waiting for the device: one beyond the axis reads as NaN (-1 in whole
// numbers), and adds to nothing.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous, copyInto } from "./contiguous.ts";
import { ones } from "./create.ts";
import { BYTES_PER_ELEMENT, type DType, type FloatType } from "./dtype.ts";
import { inType } from "./precision.ts";
import type { Plus1 } from "./rank.ts";
import { scope } from "./scope.ts";
import { elements } from "./strides.ts";
import { Tensor } from "./tensor.ts";
import { resolveAxis } from "./views.ts";

/** The extents before an axis, of it, and behind it. */
function around(shape: readonly number[], axis: number) {
	return {
		outer: elements(shape.slice(0, axis)),
		extent: shape[axis]!,
		inner: elements(shape.slice(axis + 1)),
	};
}

const indexSelectOp = defineOp(
	"indexSelect",
	(x: Tensor, indices: Tensor<"int32", 1>, axis: number) => {
		const { device, dtype, shape } = x, count = indices.shape[0];
		const { outer, extent, inner } = around(shape, axis);
		const from = contiguous(x), ids = contiguous(indices);
		const y = Tensor.empty(device, dtype, shape.with(axis, count));
		// In the largest units that the rows' places are multiples of.
		const bytes = inner * BYTES_PER_ELEMENT[dtype];
		const unit = [4, 2, 1].find((unit) => (bytes | y.pointer | from.pointer) % unit === 0)!;
		device.kernel(`gather_rows_${unit}`).overRows(
			outer * count,
			y.pointer,
			from.pointer,
			ids.pointer,
			outer,
			count,
			extent,
			bytes / unit,
		);
		return {
			result: y,
			inputs: [x],
			saved: [ids],
			backward: (gradient, [ids]) => {
				const dx = Tensor.empty<"float32", number>(device, "float32", shape);
				addRows(dx, contiguous(gradient), ids, axis, true);
				return [inType(dx, dtype as FloatType)];
			},
		};
	},
);

/** Adds entries of `source` to those of `sums` that `ids` name along an axis; `fresh` begins with 0. */
function addRows(
	sums: Tensor<"float32">,
	source: Tensor,
	ids: Tensor<"int32">,
	axis: number,
	fresh: boolean,
): void {
	const { outer, extent, inner } = around(sums.shape, axis);
	sums.device.kernel(`add_rows_${source.dtype}`).overRows(
		outer * extent,
		sums.pointer,
		source.pointer,
		ids.pointer,
		outer,
		ids.size,
		extent,
		inner,
		Number(fresh),
	);
}

/**
 * Entries of an axis by index.
 *
 * @param x of any dtype
 * @param indices [K], each from 0 to the axis's extent - 1
 * @param axis negative counts from the end
 * @returns x's shape with K at that axis
 */
export function indexSelect<D extends DType, R extends number>(
	x: Tensor<D, R>,
	indices: Tensor<"int32", 1>,
	axis = 0,
): Tensor<D, R> {
	return indexSelectOp(x, indices, resolveAxis("indexSelect", x.shape, axis)) as Tensor<D, R>;
}

/**
 * The rows of a table that `ids` name.
 *
 * @param table [V, C], of any dtype
 * @param ids [T], each in 0..V-1
 * @returns [T, C]
 */
export function gatherRows<D extends DType>(
	table: Tensor<D, 2>,
	ids: Tensor<"int32", 1>,
): Tensor<D, 2> {
	return indexSelect(table, ids);
}

/**
 * The rows of a table for token ids of any shape. The table's gradient sums over the tokens in their order.
 *
 * @param ids [...], each in 0..V-1; another gives NaN
 * @param table [V, C]
 * @returns [..., C]
 * @example Three tokens of a vocabulary of two
 * ```ts
 * import { Device, embedding, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using table = Tensor.from<"float32", 2>(device, "float32", [2, 2], [1, 2, 3, 4]);
 * using ids = Tensor.from<"int32", 1>(device, "int32", [3], [1, 0, 1]);
 * using x = embedding(ids, table);
 * console.log(x.dataSync()); // Float32Array [3, 4, 1, 2, 3, 4]
 * ```
 */
export function embedding<D extends DType, R extends number>(
	ids: Tensor<"int32", R>,
	table: Tensor<D, 2>,
): Tensor<D, Plus1[R]> {
	return scope(() =>
		indexSelect(table, ids.reshape([ids.size])).reshape([...ids.shape, table.shape[1]])
	) as Tensor<D, Plus1[R]>;
}

/** Adds `source` to `sums` at `indices`, which have one shape, along an axis. */
function addAlong(
	sums: Tensor<"float32">,
	source: Tensor,
	indices: Tensor<"int32">,
	axis: number,
): void {
	const { outer, extent, inner } = around(sums.shape, axis);
	if (outer * inner === 1) return addRows(sums, source, indices, axis, false); // by many warps
	sums.device.kernel(`add_along_${source.dtype}`).overElements(
		outer * inner,
		sums.pointer,
		source.pointer,
		indices.pointer,
		outer,
		extent,
		indices.shape[axis]!,
		inner,
	);
}

/** Elements along an axis, without a gradient; with `zeroBeyond`, 0 where an index is beyond it. */
function take(x: Tensor, indices: Tensor<"int32">, axis: number, zeroBeyond = false): Tensor {
	const { outer, extent, inner } = around(x.shape, axis);
	const y = Tensor.empty(x.device, x.dtype, indices.shape);
	x.device.kernel(`take_along_${BYTES_PER_ELEMENT[x.dtype]}`).overElements(
		y.size,
		y.pointer,
		contiguous(x).pointer,
		contiguous(indices).pointer,
		outer,
		extent,
		indices.shape[axis]!,
		inner,
		Number(zeroBeyond),
	);
	return y;
}

const takeAlongAxisOp = defineOp(
	"takeAlongAxis",
	(x: Tensor, indices: Tensor<"int32">, axis: number) => {
		const { device, dtype, shape } = x;
		return {
			result: take(x, indices, axis),
			inputs: [x],
			saved: [indices],
			backward: (gradient, [indices]) => {
				const dx = Tensor.zeros<"float32", number>(device, "float32", shape);
				addAlong(dx, contiguous(gradient), contiguous(indices), axis);
				return [inType(dx, dtype as FloatType)];
			},
		};
	},
);

function checkIndices(
	operation: string,
	x: Tensor,
	indices: Tensor,
	axis: number,
): number {
	const along = resolveAxis(operation, x.shape, axis);
	const fits = indices.shape.length === x.shape.length &&
		indices.shape.every((extent, i) => i === along || extent === x.shape[i]);
	if (!fits) {
		throw new RangeError(
			`Cannot compute ${operation} of [${x.shape}] by indices of shape [${indices.shape}]: ` +
				`all extents but that of axis ${axis} must be equal`,
		);
	}
	return along;
}

/**
 * Elements along an axis, by an index for each: y[i, j] = x[i, indices[i, j]] along axis 1.
 *
 * @param x of any dtype
 * @param indices of x's shape but for the extent of the axis, each from 0 to x's extent there - 1
 * @param axis negative counts from the end
 * @returns of the indices' shape
 * @throws {RangeError} if the shapes do not fit
 * @example The logits of the right classes
 * ```ts
 * import { Device, takeAlongAxis, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using logits = Tensor.from<"float32", 2>(device, "float32", [2, 2], [1, 2, 3, 4]);
 * using classes = Tensor.from<"int32", 2>(device, "int32", [2, 1], [1, 0]);
 * using right = takeAlongAxis(logits, classes, 1);
 * console.log(right.dataSync()); // Float32Array [2, 3]
 * ```
 */
export function takeAlongAxis<D extends DType, R extends number>(
	x: Tensor<D, R>,
	indices: Tensor<"int32", NoInfer<R>>,
	axis: number,
): Tensor<D, R> {
	const along = checkIndices("takeAlongAxis", x, indices, axis);
	return takeAlongAxisOp(x, indices, along) as Tensor<D, R>;
}

const scatterAddOp = defineOp(
	"scatterAdd",
	(x: Tensor<FloatType>, indices: Tensor<"int32">, source: Tensor<FloatType>, axis: number) => {
		const sums = Tensor.empty<"float32", number>(x.device, "float32", x.shape);
		copyInto(sums, inType(x, "float32"));
		addAlong(sums, contiguous(source), contiguous(indices), axis);
		return {
			result: inType(sums, x.dtype) as Tensor,
			inputs: [x, source],
			saved: [indices],
			backward: (gradient, [indices], needs) => [
				gradient,
				needs[1] ? take(gradient, indices, axis, true) : null,
			],
		};
	},
);

/**
 * x plus elements of `source` at indices along an axis: y[i, indices[i, j]] += source[i, j] along axis 1. Where
 * an index occurs several times, its elements are added in order.
 *
 * @param x float32 or bfloat16
 * @param indices of x's shape but for the extent of the axis; one beyond it adds to nothing
 * @param source of the indices' shape and x's dtype
 * @param axis negative counts from the end
 * @returns of x's shape
 * @throws {RangeError} if the shapes do not fit
 */
export function scatterAdd<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	indices: Tensor<"int32", NoInfer<R>>,
	source: Tensor<NoInfer<D>, NoInfer<R>>,
	axis: number,
): Tensor<D, R> {
	const along = checkIndices("scatterAdd", x, indices, axis);
	if (`${source.shape}` !== `${indices.shape}` || source.dtype !== x.dtype) {
		throw new RangeError(
			`Cannot compute scatterAdd of ${source.dtype} [${source.shape}] to ${x.dtype} at indices of shape ` +
				`[${indices.shape}]: dtype and shape must be equal`,
		);
	}
	return scatterAddOp(x, indices, source, along) as Tensor<D, R>;
}

/**
 * Rows of 0 with a 1 in the column that each id names.
 *
 * @param ids [...]; one beyond the classes gives a row of 0
 * @param classes number of columns
 * @returns [..., classes]
 */
export function oneHot<R extends number>(
	ids: Tensor<"int32", R>,
	classes: number,
): Tensor<"float32", Plus1[R]> {
	return scope(() => {
		const { device, size } = ids;
		const y = Tensor.zeros<"float32", 2>(device, "float32", [size, classes]);
		addAlong(y, ones([size, 1], { device }), contiguous(ids).reshape([size, 1]), 1);
		return y.reshape([...ids.shape, classes]);
	}) as Tensor<"float32", Plus1[R]>;
}
