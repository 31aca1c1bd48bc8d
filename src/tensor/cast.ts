// Conversions between element types.

import { Tensor } from "./tensor.ts";

/** x rounded to nearest even as bfloat16. */
export function cast<R extends number>(
  x: Tensor<"float32", R>,
  dtype: "bfloat16",
): Tensor<"bfloat16", R>;
/** x as float32, exactly. */
export function cast<R extends number>(
  x: Tensor<"bfloat16", R>,
  dtype: "float32",
): Tensor<"float32", R>;
export function cast<R extends number>(
  x: Tensor<"float32", R> | Tensor<"bfloat16", R>,
  dtype: "float32" | "bfloat16",
): Tensor<"float32", R> | Tensor<"bfloat16", R> {
  if (x.dtype === dtype) throw new TypeError(`Cannot cast: the tensor is ${dtype} already`);
  const y = Tensor.empty(x.device, dtype, x.shape);
  x.device.kernel(`cast_${x.dtype}_to_${dtype}`).overElements(x.size, y.pointer, x.pointer, x.size);
  return y as Tensor<"float32", R> | Tensor<"bfloat16", R>;
}
