// Statistics of |x| against sorting: mean, lower median, k-th largest, the list of the largest, counts over a
// limit, and maxima and means by row and column. NaN counts as larger than infinity, whatever its sign.

import type { Device } from "../../cuda/device.ts";
import { Kernel } from "../../cuda/kernel.ts";
import { assertAllSame, assertClose, assertSame } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

const TOP = 16, CAPACITY = 64, BINS = 2048;

/** Bits of |x|, which order as the values do. */
function magnitudes(x: Float32Array<ArrayBuffer>): Uint32Array {
  return new Uint32Array(x.buffer.slice(0)).map((bits) => bits & 0x7fffffff);
}

/** Runs the passes over x, and returns what they leave. */
function select(device: Device, x: Float32Array<ArrayBuffer>, tau: number, prefix = "") {
  const kernel = (name: string) => device.kernel(`${prefix}magnitude_${name}`);
  const count = x.length, warps = Kernel.warpsForElements(device, count);
  const from = given(device, "float32", x);
  const bins = given(device, "uint32", new Uint32Array(2 * BINS));
  const sums = wanted(device, "float64", warps);
  const selection = wanted(device, "uint32", 9), list = wanted(device, "uint32", 2 * CAPACITY);
  kernel("histogram").overElements(count, bins.pointer, sums.pointer, from.pointer, count);
  kernel("begin")
    .once(selection.pointer, bins.pointer, sums.pointer, warps, count, TOP, tau);
  for (const [shift, width] of [[9, 11], [0, 9]]) {
    kernel("refine")
      .overElements(count, bins.pointer, selection.pointer, from.pointer, count, shift, width);
    kernel("narrow").once(selection.pointer, bins.pointer, shift);
  }
  kernel("collect")
    .overElements(count, selection.pointer, list.pointer, from.pointer, count, TOP, CAPACITY);
  const [median, kth, , , greater, ties, over] = selection.take();
  const [limit, mean] = new Float32Array(selection.take().buffer).subarray(7);
  sums.take(); // for its guard zones
  assertSame(bins.take().findIndex((bin) => bin !== 0), -1, "the first bin that is not empty");
  return { median, kth, greater, ties, over, limit, mean, list: list.take() };
}

/** Compares statistics over all values of x with sorting. */
export function checkSelection(
  device: Device,
  x: Float32Array<ArrayBuffer>,
  tau: number,
  what: string,
  prefix = "",
): number {
  const bits = magnitudes(x), sorted = bits.slice().sort();
  const result = select(device, x, tau, prefix);
  const expect = (name: string, actual: number, expected: number) =>
    assertSame(actual, expected, `${what} (${x.length} values): ${name}`);
  const kth = sorted[Math.max(0, x.length - TOP)];
  expect("lower median", result.median, sorted[Math.floor((x.length - 1) / 2)]);
  expect("k-th largest", result.kth, kth);
  const greater = bits.filter((b) => b > kth).length, ties = bits.filter((b) => b === kth).length;
  expect("values that exceed the k-th largest", result.greater, greater);
  expect("values that equal it", result.ties, ties);

  const floats = new Float32Array(bits.buffer);
  const mean = floats.reduce((sum, value) => sum + value, 0) / x.length;
  const error = assertClose(
    [result.mean],
    [Math.fround(mean)],
    TOLERANCE.chunkedMean(x.length),
    `${what}: mean`,
  );
  expect("limit, which is τ times the mean", result.limit, Math.fround(tau * result.mean));
  const limit = magnitudes(Float32Array.of(result.limit))[0];
  expect("values over the limit", result.over, bits.filter((b) => b > limit).length);

  // Every value above the k-th largest is listed once, and as many of its equals as fit.
  const slots = [
    ...Array.from({ length: greater }, (_, i) => i),
    ...Array.from({ length: Math.min(ties, CAPACITY - TOP) }, (_, i) => TOP + i),
  ];
  const signed = new Uint32Array(x.buffer);
  const seen = new Set<number>();
  for (const slot of slots) {
    const index = result.list[2 * slot], value = result.list[2 * slot + 1];
    if (index >= x.length || seen.has(index)) throw new Error(`${what}: index ${index} at ${slot}`);
    seen.add(index);
    expect(`bits of entry ${index}`, value, signed[index]);
    const right = slot < TOP ? bits[index] > kth : bits[index] === kth;
    if (!right) throw new Error(`${what}: entry ${index} stands in place ${slot}`);
  }
  return error;
}

/** Compares maxima and means by row and by column of x [rows, columns] with plain ones. */
export function checkAxes(
  device: Device,
  x: Float32Array<ArrayBuffer>,
  rows: number,
  columns: number,
  prefix = "",
): number {
  const from = given(device, "float32", x);
  const rowMaxima = wanted(device, "float32", rows), rowMeans = wanted(device, "float32", rows);
  device.kernel(`${prefix}row_magnitudes`)
    .overRows(rows, rowMaxima.pointer, rowMeans.pointer, from.pointer, rows, columns);
  const maxima = wanted(device, "float32", columns), means = wanted(device, "float32", columns);
  const rowsOf = wanted(device, "int32", columns);
  device.kernel(`${prefix}column_magnitudes`).overRows(
    Math.ceil(columns / 32),
    maxima.pointer,
    rowsOf.pointer,
    means.pointer,
    from.pointer,
    rows,
    columns,
  );
  const bits = magnitudes(x), values = new Float32Array(bits.buffer);
  const largest = (indices: number[]) =>
    indices.reduce((best, index) => bits[index] > bits[best] ? index : best);
  const mean = (indices: number[]) =>
    indices.reduce((sum, index) => sum + values[index], 0) / indices.length;
  const row = (r: number) => Array.from({ length: columns }, (_, c) => r * columns + c);
  const column = (c: number) => Array.from({ length: rows }, (_, r) => r * columns + c);
  const each = <T>(count: number, of: (i: number) => T) =>
    Array.from({ length: count }, (_, i) => of(i));
  const what = `[${rows}, ${columns}]`;
  const { exact, sum } = TOLERANCE;
  const firsts = each(columns, (c) => largest(column(c)));
  const first = firsts.map((i) => Math.floor(i / columns));
  assertAllSame(rowsOf.take(), first, `${what} first rows`);
  return Math.max(
    assertClose(
      rowMaxima.take(),
      each(rows, (r) => values[largest(row(r))]),
      exact,
      `${what} rows`,
    ),
    assertClose(
      rowMeans.take(),
      each(rows, (r) => mean(row(r))),
      sum(columns),
      `${what} row means`,
    ),
    assertClose(maxima.take(), firsts.map((i) => values[i]), exact, `${what} columns`),
    assertClose(means.take(), each(columns, (c) => mean(column(c))), sum(rows), `${what} means`),
  );
}

/** Compares ratios to the means of rows with plain ones; one mean is 0. */
export function checkRatios(
  device: Device,
  rows: number,
  columns: number,
  random: Random,
  prefix = "",
): number {
  const x = random.normals(rows * columns), means = random.normals(rows).map(Math.abs);
  means[0] = 0;
  const from = given(device, "float32", x), of = given(device, "float32", means);
  const y = wanted(device, "float32", x.length);
  device.kernel(`${prefix}row_ratios`)
    .overRows(rows, y.pointer, from.pointer, of.pointer, rows, columns);
  const expected = Float64Array.from(x, (value, i) => {
    const mean = means[Math.floor(i / columns)];
    return mean > 0 ? value / mean : 0;
  });
  return assertClose(
    y.take(),
    expected,
    TOLERANCE.elementwise(2),
    `ratios of [${rows}, ${columns}]`,
  );
}

/** Each kernel of statistics.cu. */
export const selfTests: SelfTest[] = [
  {
    kernels: ["histogram", "begin", "refine", "narrow", "collect"].map((n) => `magnitude_${n}`),
    run: (device, random) =>
      Math.max(
        checkSelection(device, random.normals(100_003), 2, "normal values"),
        checkSelection(device, new Float32Array(4099).fill(-2.5), 0.5, "equal values"),
      ),
  },
  {
    kernels: ["row_magnitudes", "column_magnitudes"],
    run: (device, random) => checkAxes(device, random.normals(129 * 577), 129, 577),
  },
  { kernels: ["row_ratios"], run: (device, random) => checkRatios(device, 129, 577, random) },
];
