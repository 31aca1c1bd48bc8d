// Norms of rows against x / √(mean(x²) + ε) · g in float64.

import type { Device } from "../../cuda/device.ts";
import { assertClose, bfloat16ToNumbers } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** Launches the norm of rows as long as the gains. */
export function normalize(
  device: Device,
  data: Float32Array,
  gains: Float32Array,
  epsilon: number,
  dtype: "float32" | "bfloat16" = "float32",
  prefix = "",
): Float32Array {
  const columns = gains.length, rows = data.length / columns;
  const x = given(device, "float32", data), gain = given(device, "float32", gains);
  const y = wanted(device, dtype, data.length);
  device.kernel(`${prefix}rms_norm_${dtype}`)
    .overRows(rows, y.pointer, x.pointer, gain.pointer, rows, columns, epsilon);
  const taken = y.take();
  return dtype === "float32" ? taken as Float32Array : bfloat16ToNumbers(taken);
}

/** Compares the norm of random rows with its formula. */
export function checkNorm(
  device: Device,
  random: Random,
  rows: number,
  columns: number,
  dtype: "float32" | "bfloat16" = "float32",
  prefix = "",
): number {
  const x = random.normals(rows * columns, 3), gains = random.normals(columns);
  const epsilon = Math.fround(0.5); // large enough to see that it is there
  const expected = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += columns) {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += x[first + c] ** 2;
    const norm = Math.sqrt(sum / columns + epsilon);
    for (let c = 0; c < columns; c++) expected[first + c] = x[first + c] / norm * gains[c];
  }
  const actual = normalize(device, x, gains, epsilon, dtype, prefix);
  const tolerance = TOLERANCE.sum(columns);
  const allowed = dtype === "float32" ? tolerance : thenBfloat16(tolerance);
  return assertClose(actual, expected, allowed, `rms_norm [${rows}, ${columns}] as ${dtype}`);
}

/** Each kernel of norm.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).map((dtype) => ({
  kernels: [`rms_norm_${dtype}`],
  run: (device, random) => checkNorm(device, random, 129, 577, dtype),
}));
