// statistics.cu against sorting: mean, lower median, k-th largest, the list of the largest, counts over a
// limit, and maxima and means by row and column. NaN counts as larger than infinity, whatever its sign.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import { Kernel } from "../../../src/cuda/kernel.ts";
import type { Random } from "../../random.ts";
import { TOLERANCE } from "../../tolerance.ts";
import { assertClose, faultsAreFound, given, kernelTest, wanted } from "./bench.ts";

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
  assertEquals(bins.take().findIndex((bin) => bin !== 0), -1, "bins are empty again");
  return { median, kth, greater, ties, over, limit, mean, list: list.take() };
}

function check(
  device: Device,
  x: Float32Array<ArrayBuffer>,
  tau: number,
  what: string,
  prefix = "",
) {
  const bits = magnitudes(x), sorted = bits.slice().sort();
  const result = select(device, x, tau, prefix);
  const expect = (name: string, actual: number, expected: number) =>
    assertEquals(actual, expected, `${what} (${x.length} values): ${name}`);
  const kth = sorted[Math.max(0, x.length - TOP)];
  expect("lower median", result.median, sorted[Math.floor((x.length - 1) / 2)]);
  expect("k-th largest", result.kth, kth);
  const greater = bits.filter((b) => b > kth).length, ties = bits.filter((b) => b === kth).length;
  expect("values that exceed the k-th largest", result.greater, greater);
  expect("values that equal it", result.ties, ties);

  const floats = new Float32Array(bits.buffer);
  const mean = floats.reduce((sum, value) => sum + value, 0) / x.length;
  assertClose([result.mean], [Math.fround(mean)], TOLERANCE.chunkedMean(x.length), `${what}: mean`);
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
    assert(index < x.length && !seen.has(index), `${what}: index ${index} at ${slot}`);
    seen.add(index);
    expect(`bits of entry ${index}`, value, signed[index]);
    const right = slot < TOP ? bits[index] > kth : bits[index] === kth;
    assert(right, `${what}: entry ${index} stands in place ${slot}`);
  }
}

kernelTest("order statistics and counts are exact at odd sizes", (device, random) => {
  const full = device.multiprocessors * 8 * Math.min(256, device.maxThreadsPerBlock);
  for (const count of [1, 2, 3, 15, 16, 17, 31, 33, 63, 65, 127, 255, 577, full + 1, 100_003]) {
    check(device, random.normals(count), 2, "normal values");
  }
});

kernelTest("values that share many leading bits are told apart", (device, random) => {
  const near = Float32Array.from({ length: 5001 }, () => 1 + random.below(600) * 2 ** -23);
  check(device, near, 1, "neighbours of 1");
  const tiny = new Float32Array(
    Uint32Array.from({ length: 3001 }, () => random.below(2000) | random.below(2) << 31).buffer,
  );
  check(device, tiny, 1.5, "denormal values");
  const any = new Float32Array(
    Uint32Array.from({ length: 4001 }, () => random.bits() & 0xbfffffff).buffer,
  );
  check(device, any, 3, "values of any exponent below 2");
});

kernelTest("ties, equal values and zeros are counted", (device, random) => {
  for (const count of [1, 5, 64, 1000, 4099]) {
    check(device, new Float32Array(count), 1000, "zeros");
    check(device, new Float32Array(count).fill(-2.5), 0.5, "equal values, all over the limit");
    check(device, new Float32Array(count).fill(-2.5), 1, "equal values, none over the limit");
  }
  const few = Float32Array.from({ length: 3001 }, () => (random.below(7) - 3) / 2);
  check(device, few, 1, "seven values");
  const one = new Float32Array(2051);
  one[2050] = -7;
  check(device, one, 1000, "one value among zeros");
});

kernelTest("NaN and infinity are the largest, and the limit follows the mean", (device, random) => {
  for (const special of [Infinity, -Infinity, NaN]) {
    const x = random.normals(999);
    x[0] = x[500] = x[998] = special;
    check(device, x, 2, `${special} among normal values`);
    check(device, x.fill(special), 2, `${special} alone`);
  }
  const negative = random.normals(77);
  new Uint32Array(negative.buffer)[76] = 0xffc00000;
  check(device, negative, 2, "a NaN with a sign");
});

function checkAxes(
  device: Device,
  x: Float32Array<ArrayBuffer>,
  rows: number,
  columns: number,
  prefix = "",
) {
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
  assertClose(rowMaxima.take(), each(rows, (r) => values[largest(row(r))]), exact, `${what} rows`);
  assertClose(rowMeans.take(), each(rows, (r) => mean(row(r))), sum(columns), `${what} row means`);
  const firsts = each(columns, (c) => largest(column(c)));
  assertClose(maxima.take(), firsts.map((i) => values[i]), exact, `${what} columns`);
  assertEquals(
    [...rowsOf.take()],
    firsts.map((i) => Math.floor(i / columns)),
    `${what} first rows`,
  );
  assertClose(means.take(), each(columns, (c) => mean(column(c))), sum(rows), `${what} means`);
}

kernelTest("maxima and means by row and by column equal the reference", (device, random) => {
  for (const rows of [1, 2, 33]) {
    for (const columns of [1, 2, 31, 33, 63, 64, 65, 127, 128, 577]) {
      checkAxes(device, random.normals(rows * columns), rows, columns);
    }
  }
  checkAxes(device, random.normals(5000), 5000, 1);
  checkAxes(device, random.normals(70_003), 1, 70_003);
});

kernelTest(
  "the first row wins among equals, and NaN and infinity win over numbers",
  (device, random) => {
    const x = Float32Array.from({ length: 40 * 65 }, () => random.below(3) - 1);
    checkAxes(device, x, 40, 65);
    checkAxes(device, new Float32Array(130), 2, 65);
    checkAxes(device, new Float32Array(130).fill(NaN), 2, 65);
    const mixed = random.normals(7 * 3);
    mixed[4] = NaN;
    mixed[8] = -Infinity;
    mixed[17] = Infinity;
    checkAxes(device, mixed, 7, 3);
  },
);

function checkRatios(device: Device, rows: number, columns: number, random: Random, prefix = "") {
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
  assertClose(y.take(), expected, TOLERANCE.elementwise(2), `ratios of [${rows}, ${columns}]`);
}

kernelTest(
  "ratios to a row's mean keep their sign, and are 0 in a row of mean 0",
  (device, random) => {
    for (const columns of [1, 2, 31, 33, 577]) checkRatios(device, 5, columns, random);
    checkRatios(device, device.multiprocessors * 8 * 8 + 1, 3, random);
  },
);

const selected = (device: Device, random: Random, prefix = "") => {
  check(device, random.normals(578), 2, "normal values", prefix);
  check(
    device,
    new Float32Array(new Uint32Array(578).fill(0x3f800201).buffer),
    2,
    "equal values, the last bit of each part set",
    prefix,
  );
};
const axes = (device: Device, random: Random, prefix = "") => {
  checkAxes(device, random.normals(3 * 65), 3, 65, prefix);
  checkAxes(device, new Float32Array(3 * 65).fill(-1), 3, 65, prefix);
};
const file = "statistics.cu";
faultsAreFound([
  {
    name: "the upper median is found",
    file,
    from: "(count - 1) / 2",
    to: "count / 2",
    check: selected,
  },
  {
    name: "the (k+1)-th largest is found",
    file,
    from: "count - top :",
    to: "count - top - 1 :",
    check: selected,
  },
  {
    name: "one bit is lost while refining",
    file,
    from: "(1u << width) - 1",
    to: "(1u << width) - 2",
    check: selected,
  },
  {
    name: "the limit itself counts as over it",
    file,
    from: /over \+= (bits|magnitude\(x\[i\]\)) > limit/g,
    to: "over += $1 >= limit - 1000000",
    check: selected,
  },
  {
    name: "the last row wins among equals",
    file,
    from: "bits > largest[t] ? row",
    to: "bits >= largest[t] ? row",
    check: axes,
  },
  { name: "bins are not emptied", file, from: "bins[i] = 0;\n", to: ";\n", check: selected },
]);
