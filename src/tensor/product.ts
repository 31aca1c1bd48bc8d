// Products of tensors as matrices, by as few calls of gemm as their strides allow; gradients are the
// business of matmul.ts and linear.ts.

import { gemm } from "../cuda/gemm.ts";
import { broadcastPair } from "./broadcast.ts";
import { contiguous } from "./contiguous.ts";
import { BYTES_PER_ELEMENT, type FloatType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";

/** How the last two axes lie, if they lie as gemm takes a matrix. */
function layout(x: Tensor): { transposed: boolean; rowStride: number } | null {
	const { shape, strides } = x, last = shape.length - 1;
	const rows = shape[last - 1]!, columns = shape[last]!;
	const rowStep = strides[last - 1]!, columnStep = strides[last]!;
	if ((columnStep === 1 || columns === 1) && (rowStep >= columns || rows === 1)) {
		return { transposed: false, rowStride: rows === 1 ? columns : rowStep };
	}
	if ((rowStep === 1 || rows === 1) && (columnStep >= rows || columns === 1)) {
		return { transposed: true, rowStride: columns === 1 ? rows : columnStep };
	}
	return null;
}

/** `x` with its last two axes as gemm takes them: as they are, transposed, or copied. */
function factor(x: Tensor): { x: Tensor; transposed: boolean; rowStride: number } {
	const found = layout(x);
	return found
		? { x, ...found }
		: { x: contiguous(x), transposed: false, rowStride: x.shape.at(-1)! };
}

/** A batch axis, and the strides along it. */
interface BatchAxis {
	extent: number;
	a: number;
	b: number;
	c: number;
}

/** The axes of a batch, those merged that step as one in all three. */
function batchAxes(batch: readonly number[], a: Tensor, b: Tensor, matrix: number): BatchAxis[] {
	const along = (x: Tensor, axis: number) => {
		const own = axis - batch.length + x.shape.length - 2;
		return own < 0 || x.shape[own] === 1 ? 0 : x.strides[own]!;
	};
	const axes: BatchAxis[] = [];
	let c = matrix;
	for (let axis = batch.length - 1; axis >= 0; axis--) {
		const extent = batch[axis]!, inner = axes[0];
		const found = { extent, a: along(a, axis), b: along(b, axis), c };
		c *= extent;
		if (extent === 1) continue;
		if (inner && found.a === inner.a * inner.extent && found.b === inner.b * inner.extent) {
			axes[0] = { ...inner, extent: inner.extent * extent };
		} else axes.unshift(found);
	}
	return axes;
}

/** Queues c = a · b, or a · bᵀ, + beta · c of matrices of any strides; c is contiguous. */
export function multiplyMatrices(
	c: Tensor<FloatType>,
	a: Tensor,
	b: Tensor,
	{ transposeB = false, beta = 0 }: { transposeB?: boolean; beta?: number } = {},
): void {
	const [rows, columns] = c.shape as readonly [number, number];
	if (rows === 0 || columns === 0) return;
	const left = factor(a), right = factor(b);
	gemm(c.device, {
		a: { pointer: left.x.start, rowStride: Math.max(1, left.rowStride) },
		b: { pointer: right.x.start, rowStride: Math.max(1, right.rowStride) },
		c: { pointer: c.pointer, rowStride: columns },
		rows,
		columns,
		inner: a.shape[1]!,
		transposeA: left.transposed,
		transposeB: right.transposed !== transposeB,
		beta,
		input: left.x.dtype as FloatType,
		output: c.dtype,
	});
}

/**
 * Queues c = a · b over the last two axes, the others broadcast.
 *
 * @param a [..., m, k], of any strides
 * @param b [..., k, n], of a's dtype and any strides
 * @param c [..., m, n], contiguous; float32, or bfloat16 if a and b are
 */
function multiplyInto(c: Tensor<FloatType>, a: Tensor, b: Tensor): void {
	if (a.shape.length === 2 && b.shape.length === 2) return multiplyMatrices(c, a, b);
	const batch = c.shape.slice(0, -2), [m, columns] = c.shape.slice(-2) as [number, number];
	const left = factor(a), right = factor(b);
	const axes = batchAxes(batch, left.x, right.x, m * columns);
	if (c.size === 0) return;
	const inner = a.shape.at(-1)!;
	let rows = m;
	const last = axes.at(-1);
	// One matrix for all of the batch, whose rows lie evenly: a single product of many rows.
	if (last && last.b === 0 && !left.transposed && last.a === m * left.rowStride) {
		rows *= last.extent;
		axes.pop();
	}
	const widest = axes.reduce((best, { extent }, i) => extent > axes[best]!.extent ? i : best, 0);
	const [strided = { extent: 1, a: 0, b: 0, c: 0 }] = axes.splice(widest, 1);
	const input = left.x.dtype as FloatType, bytes = BYTES_PER_ELEMENT[input];
	const bytesOfC = BYTES_PER_ELEMENT[c.dtype];
	const run = (axis: number, atA: number, atB: number, atC: number): void => {
		const outer = axes[axis];
		if (outer) {
			for (let i = 0; i < outer.extent; i++) {
				run(axis + 1, atA + i * outer.a, atB + i * outer.b, atC + i * outer.c);
			}
			return;
		}
		gemm(c.device, {
			a: {
				pointer: left.x.start + atA * bytes,
				rowStride: Math.max(1, left.rowStride),
				batchStride: strided.a,
			},
			b: {
				pointer: right.x.start + atB * bytes,
				rowStride: Math.max(1, right.rowStride),
				batchStride: strided.b,
			},
			c: { pointer: c.pointer + atC * bytesOfC, rowStride: columns, batchStride: strided.c },
			rows,
			columns,
			inner,
			batch: strided.extent,
			transposeA: left.transposed,
			transposeB: right.transposed,
			input,
			output: c.dtype,
		});
	};
	run(0, 0, 0, 0);
}

/** a · b as a new tensor of `dtype`; the axes before the last two must fit. See {@linkcode multiplyInto}. */
export function multiply(a: Tensor, b: Tensor, dtype: FloatType): Tensor<FloatType> {
	const batch = broadcastPair(a.shape.slice(0, -2), b.shape.slice(0, -2));
	const shape = [...batch, a.shape.at(-2)!, b.shape.at(-1)!];
	const c = Tensor.empty<FloatType, number>(a.device, dtype, shape);
	multiplyInto(c, a, b);
	return c;
}
