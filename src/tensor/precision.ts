// Between what is computed in float32 and the dtype of a result. For operations, which free what is made on the way.

import { cast } from "./cast.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** `x` in float32, contiguous; itself if it is. */
export function toFloat32(x: Tensor<FloatType>): Tensor<"float32"> {
  const dense = contiguous(x);
  return dense.dtype === "float32"
    ? dense as Tensor<"float32">
    : cast(dense as Tensor<"bfloat16">, "float32");
}

/** `x` rounded to `dtype`; itself if it has that. */
export function fromFloat32<D extends FloatType>(x: Tensor<"float32">, dtype: D): Tensor<D> {
  return (dtype === "float32" ? x : cast(x, "bfloat16")) as Tensor<FloatType> as Tensor<D>;
}
