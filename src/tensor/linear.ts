// The linear map y = x · Wᵀ, the product that models spend their time on.

import { gemm, type GemmType } from "../cuda/gemm.ts";
import { cast } from "./cast.ts";
import { checkShape, Tensor } from "./tensor.ts";

/** A weight matrix: float32, or bfloat16 for products with bfloat16 inputs and float32 sums. */
export type Weight = Tensor<GemmType, 2>;

/** Rows that a weight of type `D` is applied to: of its type, or float32, which is rounded to it. */
export type Rows<D extends GemmType = GemmType> = Tensor<"float32", 2> | Tensor<D, 2>;

function checkWeight(operation: string, x: Rows, weight: Weight): void {
  checkShape(operation, "the weight", weight.shape, [weight.shape[0], x.shape[1]]);
  if (x.dtype === "bfloat16" && weight.dtype === "float32") {
    throw new TypeError(`Cannot compute ${operation}: the input is bfloat16, the weight float32`);
  }
}

function product(x: Rows, weight: Weight, y: Tensor<GemmType, 2>, beta: number): void {
  const [rows, inner] = x.shape;
  const [columns] = weight.shape;
  using converted = x.dtype === "float32" && weight.dtype === "bfloat16"
    ? cast(x as Tensor<"float32", 2>, "bfloat16")
    : null;
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
    output: y.dtype,
  });
}

/**
 * y = x · Wᵀ.
 *
 * @param x [T, in]
 * @param weight [out, in]; if bfloat16, x is rounded to it for the product
 * @param dtype type of the result, which a float32 weight has float32
 * @returns [T, out]
 */
export function linear<D extends GemmType, Y extends "float32" | NoInfer<D> = "float32">(
  x: Rows<NoInfer<D>>,
  weight: Tensor<D, 2>,
  dtype: Y = "float32" as Y,
): Tensor<Y, 2> {
  checkWeight("linear", x, weight);
  if (weight.dtype === "float32" && dtype !== "float32") {
    throw new TypeError(`Cannot compute linear: a float32 weight gives float32, not ${dtype}`);
  }
  const y = Tensor.empty<Y, 2>(x.device, dtype, [x.shape[0], weight.shape[0]]);
  product(x, weight, y, 0);
  return y;
}

/** y += x · Wᵀ in place, as a residual connection adds a branch. Shapes as in {@linkcode linear}. */
export function addLinear<D extends GemmType>(
  y: Tensor<"float32", 2>,
  x: Rows<NoInfer<D>>,
  weight: Tensor<D, 2>,
): void {
  checkWeight("addLinear", x, weight);
  checkShape("addLinear", "the sum", y.shape, [x.shape[0], weight.shape[0]]);
  product(x, weight, y, 1);
}
