// Activation functions.

import { Tensor } from "./tensor.ts";

/**
 * SwiGLU: silu(gate) · up, with silu(z) = z / (1 + e⁻ᶻ).
 *
 * @param gateUp [T, 2I]: gate, then up
 * @param dtype type of the result; the arithmetic is in float32 in any case
 * @returns [T, I]
 */
export function swiglu<D extends "float32" | "bfloat16" = "float32">(
  gateUp: Tensor<"float32" | "bfloat16", 2>,
  dtype: D = "float32" as D,
): Tensor<D, 2> {
  const [rows, width] = gateUp.shape;
  if (width % 2 !== 0) {
    throw new RangeError(`Cannot compute swiglu: the width ${width} of [${gateUp.shape}] is odd`);
  }
  const y = Tensor.empty<D, 2>(gateUp.device, dtype, [rows, width / 2]);
  gateUp.device.kernel(`swiglu_${gateUp.dtype}_to_${dtype}`).overRows(
    rows,
    y.pointer,
    gateUp.pointer,
    rows,
    width / 2,
  );
  return y;
}
