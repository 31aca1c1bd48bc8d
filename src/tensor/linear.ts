// The linear map y = x · Wᵀ, the product that models spend their time on.

import { gemm } from "../cuda/gemm.ts";
import { cast } from "./cast.ts";
import { checkShape, Tensor } from "./tensor.ts";

/** A weight matrix: float32, or bfloat16 for products with bfloat16 inputs and float32 sums. */
export type Weight = Tensor<"float32", 2> | Tensor<"bfloat16", 2>;

function checkWeight(operation: string, x: Tensor<"float32", 2>, weight: Weight): void {
  checkShape(operation, "the weight", weight.shape, [weight.shape[0], x.shape[1]]);
}

function product(
  x: Tensor<"float32", 2>,
  weight: Weight,
  y: Tensor<"float32", 2>,
  beta: number,
): void {
  const [rows, inner] = x.shape;
  const [columns] = weight.shape;
  using converted = weight.dtype === "bfloat16" ? cast(x, "bfloat16") : null;
  gemm(x.device, {
    a: { pointer: (converted ?? x).pointer, rowStride: inner },
    b: { pointer: weight.pointer, rowStride: inner },
    c: { pointer: y.pointer, rowStride: columns },
    rows,
    columns,
    inner,
    transposeB: true,
    beta,
    input: weight.dtype,
  });
}

/**
 * y = x · Wᵀ.
 *
 * @param x [T, in]
 * @param weight [out, in]; if bfloat16, x is rounded to it for the product
 * @returns [T, out]
 */
export function linear(x: Tensor<"float32", 2>, weight: Weight): Tensor<"float32", 2> {
  checkWeight("linear", x, weight);
  const y = Tensor.empty<"float32", 2>(x.device, "float32", [x.shape[0], weight.shape[0]]);
  product(x, weight, y, 0);
  return y;
}

/** y += x · Wᵀ in place, as a residual connection adds a branch. Shapes as in {@linkcode linear}. */
export function addLinear(y: Tensor<"float32", 2>, x: Tensor<"float32", 2>, weight: Weight): void {
  checkWeight("addLinear", x, weight);
  checkShape("addLinear", "the sum", y.shape, [x.shape[0], weight.shape[0]]);
  product(x, weight, y, 1);
}
