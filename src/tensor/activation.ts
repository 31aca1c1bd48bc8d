// Activation functions.

import { Tensor } from "./tensor.ts";

/**
 * SwiGLU: silu(gate) · up, with silu(z) = z / (1 + e⁻ᶻ).
 *
 * @param gateUp [T, 2I]: gate, then up
 * @returns [T, I]
 */
export function swiglu(gateUp: Tensor<"float32", 2>): Tensor<"float32", 2> {
  const [rows, width] = gateUp.shape;
  if (width % 2 !== 0) {
    throw new RangeError(`Cannot compute swiglu: the width ${width} of [${gateUp.shape}] is odd`);
  }
  const y = Tensor.empty<"float32", 2>(gateUp.device, "float32", [rows, width / 2]);
  gateUp.device.kernel("swiglu").overRows(rows, y.pointer, gateUp.pointer, rows, width / 2);
  return y;
}
