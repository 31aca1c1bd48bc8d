// The gated activation against silu(gate) · up in float64.

import type { Device } from "../../cuda/device.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

type Types = readonly [from: "float32" | "bfloat16", to: "float32" | "bfloat16"];
/** The pairs of types that there are kernels for. */
export const PAIRS: Types[] = [
  ["float32", "float32"],
  ["float32", "bfloat16"],
  ["bfloat16", "float32"],
  ["bfloat16", "bfloat16"],
];

/** Compares the activation of [rows, 2·columns] with its formula. */
export function checkSwiglu(
  device: Device,
  gateUp: Float32Array,
  rows: number,
  columns: number,
  [from, dtype]: Types = ["float32", "float32"],
  prefix = "",
): number {
  const bits = numbersToBfloat16(gateUp);
  const x = given(device, from, from === "float32" ? gateUp : bits);
  if (from === "bfloat16") gateUp = bfloat16ToNumbers(bits);
  const y = wanted(device, dtype, rows * columns);
  device.kernel(`${prefix}swiglu_${from}_to_${dtype}`).overRows(
    rows,
    y.pointer,
    x.pointer,
    rows,
    columns,
  );
  const expected = new Float64Array(rows * columns), sizes = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const gate = gateUp[2 * r * columns + c], up = gateUp[(2 * r + 1) * columns + c];
      const value = gate / (1 + Math.exp(-gate)) * up;
      expected[r * columns + c] = value;
      // The exponential's argument is rounded, which counts as often as it is large, up to where it is 0.
      sizes[r * columns + c] = Math.abs(value) * (1 + Math.min(Math.abs(gate), 128) / 4);
    }
  }
  // The exponential's two places are four roundings; then a sum, a division and two products.
  const tolerance = TOLERANCE.elementwise(8);
  const taken = y.take(), what = `swiglu [${rows}, ${columns}] from ${from} to ${dtype}`;
  return dtype === "float32"
    ? assertClose(taken, expected, tolerance, what, sizes)
    : assertClose(bfloat16ToNumbers(taken), expected, thenBfloat16(33 * tolerance), what);
}

/** Each kernel of swiglu.cu. */
export const selfTests: SelfTest[] = PAIRS.map((types) => ({
  kernels: [`swiglu_${types[0]}_to_${types[1]}`],
  run: (device, random) => checkSwiglu(device, random.normals(2 * 33 * 577, 4), 33, 577, types),
}));
