// Normalization.

import { checkShape, Tensor } from "./tensor.ts";

/**
 * Root-mean-square norm of each row: y = x / √(mean(x²) + ε) · g.
 *
 * @param x [T, H]
 * @param gain g, [H]
 * @param epsilon ε
 * @param dtype type of the result
 * @returns [T, H]
 */
export function rmsNorm<D extends "float32" | "bfloat16" = "float32">(
  x: Tensor<"float32", 2>,
  gain: Tensor<"float32", 1>,
  epsilon: number,
  dtype: D = "float32" as D,
): Tensor<D, 2> {
  const [rows, columns] = x.shape;
  checkShape("rmsNorm", "the gain", gain.shape, [columns]);
  const y = Tensor.empty<D, 2>(x.device, dtype, x.shape);
  x.device.kernel(`rms_norm_${dtype}`)
    .overRows(rows, y.pointer, 0, 0, 0, x.pointer, 0, gain.pointer, 0, rows, columns, epsilon);
  return y;
}
