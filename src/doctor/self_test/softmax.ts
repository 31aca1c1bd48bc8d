// Softmax and its logarithm over rows, and their gradients, against their formulas in float64.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** An input of a kernel as the device has it, and what its elements are as numbers. */
export function rounded(device: Device, dtype: FloatType, values: ArrayLike<number>) {
  if (dtype === "float32") return { pointer: given(device, dtype, values).pointer, values };
  const bits = numbersToBfloat16(values);
  return { pointer: given(device, dtype, bits).pointer, values: bfloat16ToNumbers(bits) };
}

/** The numbers of a kernel's output. */
export function numbers(dtype: FloatType, taken: ArrayLike<number>): ArrayLike<number> {
  return dtype === "float32" ? taken : bfloat16ToNumbers(taken);
}

/** log softmax of a row. */
function logSoftmax(row: number[]): number[] {
  const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const logSum = Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0));
  return row.map((v) => v - top - logSum);
}

/** Compares softmax(scale · x), causal if there are `queries`, with its formula. */
export function checkSoftmax(
  device: Device,
  x: ArrayLike<number>,
  columns: number,
  dtype: FloatType,
  scale = 1,
  queries = 0,
  prefix = "",
): number {
  const rows = columns ? x.length / columns : 0, from = rounded(device, dtype, x);
  const y = wanted(device, dtype, x.length);
  device.kernel(`${prefix}softmax_${dtype}`)
    .overRows(rows, y.pointer, from.pointer, rows, columns, queries, scale);
  const expected = new Float64Array(x.length);
  let largest = 0;
  for (let row = 0; row < rows; row++) {
    const visible = queries ? Math.max(0, columns - queries + row % queries + 1) : columns;
    const seen = Array.from({ length: visible }, (_, c) => scale * from.values[row * columns + c]!);
    const logarithms = logSoftmax(seen);
    expected.set(logarithms.map(Math.exp), row * columns);
    // What is below the normal range is 0 in float32 anyway.
    for (const v of logarithms) if (v > -88) largest = Math.max(largest, -v);
  }
  const tolerance = TOLERANCE.softmax(columns, largest);
  return assertClose(
    numbers(dtype, y.take()),
    expected.map((p) => p < 2 ** -126 ? 0 : p),
    dtype === "float32" ? tolerance : thenBfloat16(tolerance),
    `softmax [${rows}, ${columns}] of ${dtype}`,
    expected.map((p) => Math.max(p, 2 ** -100)),
  );
}

/** Compares log softmax with its formula. */
export function checkLogSoftmax(
  device: Device,
  x: ArrayLike<number>,
  columns: number,
  dtype: FloatType,
  prefix = "",
): number {
  const rows = columns ? x.length / columns : 0, from = rounded(device, dtype, x);
  const y = wanted(device, dtype, x.length);
  device.kernel(`${prefix}log_softmax_${dtype}`)
    .overRows(rows, y.pointer, from.pointer, rows, columns);
  const expected = new Float64Array(x.length), sizes = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += columns) {
    const row = Array.from({ length: columns }, (_, c) => from.values[first + c]!);
    const logarithms = logSoftmax(row);
    expected.set(logarithms, first);
    // The sum's relative error is an absolute one of its logarithm.
    sizes.set(logarithms.map((v) => Math.max(1, Math.abs(v))), first);
  }
  const tolerance = TOLERANCE.sum(columns);
  return assertClose(
    numbers(dtype, y.take()),
    expected,
    dtype === "float32" ? tolerance : thenBfloat16(tolerance),
    `log_softmax [${rows}, ${columns}] of ${dtype}`,
    sizes,
  );
}

/** Compares the gradient of softmax, or of its logarithm, at the result `y` with its formula. */
export function checkSoftmaxBackward(
  device: Device,
  kind: "softmax" | "log_softmax",
  random: Random,
  rows: number,
  columns: number,
  dtype: FloatType,
  scale = 1,
  prefix = "",
): number {
  const x = random.normals(rows * columns, 2), results = new Float32Array(x.length);
  for (let first = 0; first < x.length; first += columns) {
    const logarithms = logSoftmax([...x.subarray(first, first + columns)]);
    results.set(kind === "softmax" ? logarithms.map(Math.exp) : logarithms, first);
  }
  const y = rounded(device, dtype, results);
  const dy = rounded(device, dtype, random.normals(x.length)), dx = wanted(device, dtype, x.length);
  const scales = kind === "softmax" ? [scale] : [];
  device.kernel(`${prefix}${kind}_backward_${dtype}`)
    .overRows(rows, dx.pointer, y.pointer, dy.pointer, rows, columns, ...scales);
  const expected = new Float64Array(x.length), sizes = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += columns) {
    let sum = 0, size = 0;
    for (let i = first; i < first + columns; i++) {
      const term = dy.values[i]! * (kind === "softmax" ? y.values[i]! : 1);
      sum += term;
      size += Math.abs(term);
    }
    for (let i = first; i < first + columns; i++) {
      const g = dy.values[i]!, p = kind === "softmax" ? y.values[i]! : Math.exp(y.values[i]!);
      expected[i] = kind === "softmax" ? scale * p * (g - sum) : g - p * sum;
      sizes[i] = kind === "softmax" ? scale * p * (Math.abs(g) + size) : Math.abs(g) + p * size;
    }
  }
  const largest = kind === "softmax" ? 0 : results.reduce((a, b) => Math.max(a, -b), 0);
  const tolerance = TOLERANCE.softmax(columns, largest);
  return assertClose(
    numbers(dtype, dx.take()),
    expected,
    dtype === "float32" ? tolerance : thenBfloat16(tolerance),
    `${kind}_backward [${rows}, ${columns}] of ${dtype}`,
    sizes,
  );
}

/** Each kernel of softmax.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).flatMap((dtype) => [
  {
    kernels: [`softmax_${dtype}`],
    run: (device, random) => checkSoftmax(device, random.normals(66 * 301, 5), 301, dtype, 0.5, 33),
  },
  {
    kernels: [`log_softmax_${dtype}`],
    run: (device, random) => checkLogSoftmax(device, random.normals(66 * 301, 5), 301, dtype),
  },
  ...(["softmax", "log_softmax"] as const).map((kind): SelfTest => ({
    kernels: [`${kind}_backward_${dtype}`],
    run: (device, random) => checkSoftmaxBackward(device, kind, random, 66, 301, dtype, 0.5),
  })),
]);
