// Conversions between element types.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous } from "./contiguous.ts";
import type { DType, FloatType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";

function convert(x: Tensor, dtype: DType): Tensor {
	const from = contiguous(x), y = Tensor.empty<DType, number>(x.device, dtype, x.shape);
	if (y.size > 0) {
		x.device.kernel(`cast_${x.dtype}_to_${dtype}`)
			.overElements(y.size, y.pointer, from.pointer, y.size);
	}
	if (from !== x) from.dispose();
	return y;
}

const castOp = defineOp("cast", (x: Tensor, dtype: DType) => ({
	result: convert(x, dtype),
	inputs: x.isDifferentiable ? [x] : [],
	backward: (g) => [convert(g, x.dtype as FloatType)],
}));

/** x rounded to nearest even as bfloat16. */
export function cast<R extends number>(
	x: Tensor<"float32", R>,
	dtype: "bfloat16",
): Tensor<"bfloat16", R>;
/** x as float32: exactly, but for whole numbers beyond 2²⁴, which are rounded. */
export function cast<R extends number>(
	x: Tensor<"bfloat16", R> | Tensor<"int32", R> | Tensor<"uint8", R>,
	dtype: "float32",
): Tensor<"float32", R>;
/** x as whole numbers, cut towards 0, to the nearest that an int32 holds; NaN is 0. No gradient flows through it. */
export function cast<R extends number>(
	x: Tensor<"float32", R>,
	dtype: "int32",
): Tensor<"int32", R>;
export function cast(x: Tensor, dtype: DType): Tensor {
	if (x.dtype === dtype) throw new TypeError(`Cannot cast: the tensor is ${dtype} already`);
	return castOp(x, dtype);
}
