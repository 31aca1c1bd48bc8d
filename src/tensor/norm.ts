// Normalization.

import { checkShape, Tensor } from "./tensor.ts";

/**
 * Root-mean-square norm of each row: y = x / √(mean(x²) + ε) · g.
 *
 * @param x [T, H]
 * @param gain g, [H]
 * @param epsilon ε
 * @returns [T, H]
 */
export function rmsNorm(
  x: Tensor<"float32", 2>,
  gain: Tensor<"float32", 1>,
  epsilon: number,
): Tensor<"float32", 2> {
  const [rows, columns] = x.shape;
  checkShape("rmsNorm", "the gain", gain.shape, [columns]);
  const y = Tensor.empty<"float32", 2>(x.device, "float32", x.shape);
  x.device.kernel("rms_norm_float32")
    .overRows(rows, y.pointer, x.pointer, gain.pointer, rows, columns, epsilon);
  return y;
}
