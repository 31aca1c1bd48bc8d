// Between what is computed in float32 and the dtype of a result. For operations, which free what is made on the way.

import { cast } from "./cast.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** `x` in a type, rounded to it; itself if it is of it. */
export function inType<D extends FloatType>(x: Tensor<FloatType>, dtype: D): Tensor<D> {
	return (x.dtype === dtype ? x : cast(x as Tensor<"float32">, dtype as "bfloat16")) as Tensor<D>;
}

/** `x` in float32, contiguous; itself if it is. */
export function toFloat32(x: Tensor<FloatType>): Tensor<"float32"> {
	return contiguous(inType(x, "float32"));
}
