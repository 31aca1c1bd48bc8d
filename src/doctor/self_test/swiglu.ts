// The gated activation against silu(gate) · up in float64.

import type { Device } from "../../cuda/device.ts";
import { assertClose } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** Compares the activation of [rows, 2·columns] with its formula. */
export function checkSwiglu(
  device: Device,
  gateUp: Float32Array,
  rows: number,
  columns: number,
  prefix = "",
): number {
  const x = given(device, "float32", gateUp);
  const y = wanted(device, "float32", rows * columns);
  device.kernel(`${prefix}swiglu`).overRows(rows, y.pointer, x.pointer, rows, columns);
  const expected = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const gate = gateUp[2 * r * columns + c], up = gateUp[(2 * r + 1) * columns + c];
      expected[r * columns + c] = gate / (1 + Math.exp(-gate)) * up;
    }
  }
  // fast_exp's two places are four roundings; then a sum, a division and a product.
  return assertClose(y.take(), expected, TOLERANCE.elementwise(8), `swiglu [${rows}, ${columns}]`);
}

/** Each kernel of swiglu.cu. */
export const selfTests: SelfTest[] = [{
  kernels: ["swiglu"],
  run: (device, random) => checkSwiglu(device, random.normals(2 * 33 * 577, 4), 33, 577),
}];
