// Statistics of |x| against sorting: mean, lower median, k-th largest, the list of the largest, counts over a
// limit, and maxima and means by row and column. NaN counts as larger than infinity, whatever its sign.

import type { Device } from "../../cuda/device.ts";
import { Kernel } from "../../cuda/kernel.ts";
import { assertAllSame, assertClose, assertSame } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

const TOP = 16, CAPACITY = 64, BINS = 8192, ROUNDS = 3;

/** Bits of |x|, which order as the values do. */
function magnitudes(x: Float32Array<ArrayBuffer>): Uint32Array {
  return new Uint32Array(x.buffer.slice(0)).map((bits) => bits & 0x7fffffff);
}

/** How the passes over x are run. */
export interface SelectionOptions {
  /** Columns of x. @default {as many as there are values, up to 577 that divide them} */
  columns?: number;
  /** One in how many units of 64 is sampled. @default {1} */
  every?: number;
  /** Places in the lists of what may be the median, and of what may be among the largest. */
  room?: [middle: number, largest: number];
  /** Means of the rows, of which entries count as multiples. */
  means?: Float32Array<ArrayBuffer>;
  /** Before the names of kernels with planted faults. */
  prefix?: string;
}

/** The largest width of a matrix of `count` values that is 577 at most. */
function widest(count: number): number {
  let columns = Math.min(count, 577);
  while (count % columns !== 0) columns--;
  return columns;
}

/** Runs the passes over x, and returns what they leave. */
function select(
  device: Device,
  x: Float32Array<ArrayBuffer>,
  tau: number,
  options: SelectionOptions,
) {
  const { prefix = "", columns = widest(x.length), every = 1 } = options;
  const kernel = (name: string) => device.kernel(`${prefix}magnitude_${name}`);
  const count = x.length, rows = count / columns, warps = Kernel.warpsForRows(device, rows);
  const room = options.room ?? [count, count];
  const from = given(device, "float32", x);
  const means = options.means && given(device, "float32", options.means);
  const bins = given(device, "uint32", new Uint32Array(BINS));
  const sums = wanted(device, "float64", warps);
  const selection = wanted(device, "uint32", 20), largest = wanted(device, "uint32", 2 * CAPACITY);
  const middle = wanted(device, "uint32", room[0]), list = wanted(device, "uint32", 2 * room[1]);
  const lists = [middle.pointer, list.pointer] as const;
  const data = [from.pointer, means?.pointer ?? 0, rows, columns] as const;
  kernel("sample").perMultiprocessor(bins.pointer, ...data, every);
  kernel("bounds").once(selection.pointer, bins.pointer, count, TOP);
  kernel("scan").overRows(rows, selection.pointer, sums.pointer, ...lists, ...data, ...room);
  kernel("begin").once(selection.pointer, sums.pointer, warps, count, TOP, tau, ...room);
  for (let round = 0; round < ROUNDS; round++) {
    kernel("refine").perMultiprocessor(bins.pointer, selection.pointer, ...lists, ...data);
    kernel("narrow").once(selection.pointer, bins.pointer);
  }
  kernel("collect").overElements(
    count,
    selection.pointer,
    largest.pointer,
    list.pointer,
    ...data,
    TOP,
    CAPACITY,
  );
  const [low, low1, , , , , listed, listed1, , , offset, offset1, , , , greater, ties, over] =
    selection.take();
  const [limit, mean] = new Float32Array(selection.take().buffer).subarray(18);
  for (const memory of [sums, middle, list]) memory.take(); // for their guard zones
  assertSame(bins.take().findIndex((bin) => bin !== 0), -1, "the first bin that is not empty");
  return {
    median: low + offset,
    kth: low1 + offset1,
    listed: [listed === 1, listed1 === 1] as const,
    greater,
    ties,
    over,
    limit,
    mean,
    list: largest.take(),
  };
}

/** x, or what its entries are multiplied to with the means of its rows. */
function scaled(
  x: Float32Array<ArrayBuffer>,
  { means, columns = widest(x.length) }: SelectionOptions,
): Float32Array<ArrayBuffer> {
  if (!means) return x;
  return x.map((value, i) => {
    const mean = means[Math.floor(i / columns)];
    return mean > 0 ? value * Math.fround(1 / mean) : 0 * value;
  });
}

/**
 * Compares statistics over all values of x with sorting.
 *
 * @returns the largest error, and whether the median and the k-th largest were found in their lists
 */
export function checkSelection(
  device: Device,
  x: Float32Array<ArrayBuffer>,
  tau: number,
  what: string,
  options: SelectionOptions = {},
): { error: number; listed: readonly [median: boolean, kth: boolean] } {
  const all = scaled(x, options);
  const bits = magnitudes(all), sorted = bits.slice().sort();
  const result = select(device, x, tau, options);
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
  const signed = new Uint32Array(all.buffer);
  const seen = new Set<number>();
  for (const slot of slots) {
    const index = result.list[2 * slot], value = result.list[2 * slot + 1];
    if (index >= x.length || seen.has(index)) throw new Error(`${what}: index ${index} at ${slot}`);
    seen.add(index);
    expect(`bits of entry ${index}`, value, signed[index]);
    const right = slot < TOP ? bits[index] > kth : bits[index] === kth;
    if (!right) throw new Error(`${what}: entry ${index} stands in place ${slot}`);
  }
  return { error, listed: result.listed };
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

/** Compares statistics of multiples of rows' means with sorting; one mean is 0. */
export function checkMultiples(
  device: Device,
  rows: number,
  columns: number,
  random: Random,
  prefix = "",
): number {
  const means = random.normals(rows).map(Math.abs);
  means[0] = 0;
  const options = { columns, means, prefix };
  return checkSelection(device, random.normals(rows * columns), 2, "multiples", options).error;
}

/** Each kernel of statistics.cu. */
export const selfTests: SelfTest[] = [
  {
    kernels: ["sample", "bounds", "scan", "begin", "refine", "narrow", "collect"]
      .map((name) => `magnitude_${name}`),
    run: (device, random) => {
      const sampled = { columns: 569, every: 9, room: [20_000, 400] as [number, number] };
      const { error, listed } = checkSelection(
        device,
        random.normals(211 * 569),
        1.5,
        "normal values",
        sampled,
      );
      if (!listed[0] || !listed[1]) throw new Error("The sample of normal values misled");
      return Math.max(
        error,
        checkSelection(device, new Float32Array(4099).fill(-2.5), 0.5, "equal values").error,
        checkMultiples(device, 129, 577, random),
      );
    },
  },
  {
    kernels: ["row_magnitudes", "column_magnitudes"],
    run: (device, random) => checkAxes(device, random.normals(129 * 577), 129, 577),
  },
];
