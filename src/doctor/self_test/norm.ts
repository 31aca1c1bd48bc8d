// Norms of rows against x / √(mean(x²) + ε) · g, or the same of x - mean(x), in float64.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertAllSame, assertClose, bfloat16ToNumbers } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** Which norm, what type its result has, and what else it takes. */
export interface NormKind {
  norm: "rms" | "layer";
  dtype: FloatType;
  /** Whether x is added to a branch first. */
  branch?: boolean;
  bias?: boolean;
}

/** Launches a norm of rows as long as the gains. */
export function normalize(
  device: Device,
  x: Float32Array,
  gain: Float32Array,
  epsilon: number,
  { norm, dtype }: NormKind,
  { branch, bias }: { branch?: Float32Array | undefined; bias?: Float32Array | undefined } = {},
  prefix = "",
) {
  const columns = gain.length, rows = x.length / columns;
  const input = (data?: Float32Array) => data && given(device, "float32", data);
  const inputs = { x: input(x), branch: input(branch), gain: input(gain), bias: input(bias) };
  const y = wanted(device, dtype, x.length);
  const sums = branch && wanted(device, "float32", x.length);
  const means = norm === "layer" ? wanted(device, "float32", rows) : undefined;
  const scales = wanted(device, "float32", rows);
  device.kernel(`${prefix}${norm}_norm_${dtype}`).overRows(
    rows,
    y.pointer,
    sums?.pointer ?? 0,
    means?.pointer ?? 0,
    scales.pointer,
    inputs.x!.pointer,
    inputs.branch?.pointer ?? 0,
    inputs.gain!.pointer,
    inputs.bias?.pointer ?? 0,
    rows,
    columns,
    epsilon,
  );
  const taken = y.take();
  return {
    y: dtype === "float32" ? taken as Float32Array : bfloat16ToNumbers(taken),
    sums: sums?.take(),
    means: means?.take(),
    scales: scales.take(),
  };
}

/** Compares the norm of random rows with its formula. */
export function checkNorm(
  device: Device,
  random: Random,
  rows: number,
  columns: number,
  kind: NormKind,
  prefix = "",
): number {
  const x = random.normals(rows * columns, 3), gain = random.normals(columns);
  const branch = kind.branch ? random.normals(x.length) : undefined;
  const bias = kind.bias ? random.normals(columns) : undefined;
  const sum = branch ? x.map((value, i) => value + branch[i]) : x; // rounded, as it is kept
  const epsilon = Math.fround(0.5); // large enough to see that it is there
  const means = new Float64Array(rows), scales = new Float64Array(rows);
  const expected = new Float64Array(x.length), sizes = new Float64Array(x.length);
  for (let r = 0; r < rows; r++) {
    const row = Float64Array.from(sum.subarray(r * columns, (r + 1) * columns));
    const mean = kind.norm === "layer" ? row.reduce((a, b) => a + b, 0) / columns : 0;
    const squares = row.reduce((total, value) => total + (value - mean) ** 2, 0);
    const size = row.reduce((total, value) => total + Math.abs(value), 0) / columns;
    means[r] = mean;
    scales[r] = 1 / Math.sqrt(squares / columns + epsilon);
    for (let c = 0; c < columns; c++) {
      const at = r * columns + c, factor = scales[r] * gain[c], shift = bias?.[c] ?? 0;
      expected[at] = (row[c] - mean) * factor + shift;
      // What is taken away and added counts: the mean errs by roundings of the largest values.
      const centered = kind.norm === "layer" ? Math.abs(row[c]) + size : Math.abs(row[c]);
      sizes[at] = centered * Math.abs(factor) + Math.abs(shift);
    }
  }
  const result = normalize(device, x, gain, epsilon, kind, { branch, bias }, prefix);
  const tolerance = TOLERANCE.sum(columns);
  const allowed = kind.dtype === "float32" ? tolerance : thenBfloat16(tolerance);
  const { norm, dtype, branch: summed, bias: shifted } = kind;
  const extra = `${summed ? " of a sum" : ""}${shifted ? " with bias" : ""}`;
  const what = `${norm}_norm [${rows}, ${columns}] as ${dtype}${extra}`;
  if (branch) assertAllSame(result.sums!, sum, `${what}: sums`);
  // The variance errs with the mean, by the size of what the mean was taken from.
  if (kind.norm === "rms") assertClose(result.scales, scales, tolerance, `${what}: scales`);
  if (result.means) {
    const of = new Float64Array(rows).fill(4 + Math.max(...expected.map(Math.abs), 0));
    assertClose(result.means, means, tolerance, `${what}: means`, of);
    assertClose(result.scales, scales, 4 * tolerance, `${what}: scales`);
  }
  return assertClose(result.y, expected, allowed, what, sizes);
}

/** Every norm with every result, alone and of a sum. */
export const KINDS: NormKind[] = (["float32", "bfloat16"] as const).flatMap((dtype) => [
  { norm: "rms", dtype },
  { norm: "rms", dtype, branch: true },
  { norm: "layer", dtype },
  { norm: "layer", dtype, bias: true },
  { norm: "layer", dtype, branch: true, bias: true },
]);

/** Each kernel of norm.cu. */
export const selfTests: SelfTest[] = (["rms", "layer"] as const).flatMap((norm) =>
  (["float32", "bfloat16"] as const).map((dtype) => ({
    kernels: [`${norm}_norm_${dtype}`],
    run: (device, random) =>
      Math.max(
        ...KINDS.filter((kind) => kind.norm === norm && kind.dtype === dtype)
          .map((kind) => checkNorm(device, random, 129, 577, kind)),
      ),
  }))
);
