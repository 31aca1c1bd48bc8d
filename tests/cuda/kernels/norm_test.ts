// norm.cu against x / √(mean(x²) + ε) · g in float64.

import { assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import type { Random } from "../../random.ts";
import { TOLERANCE } from "../../tolerance.ts";
import { assertClose, faultsAreFound, given, kernelTest, wanted } from "./bench.ts";

function normalize(
  device: Device,
  data: Float32Array,
  gains: Float32Array,
  epsilon: number,
  prefix = "",
): Float32Array {
  const columns = gains.length, rows = data.length / columns;
  const x = given(device, "float32", data), gain = given(device, "float32", gains);
  const y = wanted(device, "float32", data.length);
  device.kernel(`${prefix}rms_norm_float32`)
    .overRows(rows, y.pointer, x.pointer, gain.pointer, rows, columns, epsilon);
  return y.take();
}

function check(device: Device, random: Random, rows: number, columns: number, prefix = "") {
  const x = random.normals(rows * columns, 3), gains = random.normals(columns);
  const epsilon = Math.fround(0.5); // large enough to see that it is there
  const expected = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += columns) {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += x[first + c] ** 2;
    const norm = Math.sqrt(sum / columns + epsilon);
    for (let c = 0; c < columns; c++) expected[first + c] = x[first + c] / norm * gains[c];
  }
  const actual = normalize(device, x, gains, epsilon, prefix);
  assertClose(actual, expected, TOLERANCE.sum(columns), `rms_norm [${rows}, ${columns}]`);
}

kernelTest("rms_norm equals its formula at odd sizes", (device, random) => {
  for (const rows of [1, 2, 31]) {
    for (const columns of [1, 2, 31, 33, 63, 65, 127, 577]) check(device, random, rows, columns);
  }
  check(device, random, device.multiprocessors * 8 * 8 + 1, 3);
  check(device, random, 1, 100_003);
});

kernelTest("a row of zeros stays zero, and NaN and infinity stay in their row", (device) => {
  const x = Float32Array.of(0, -0, 0, 1, NaN, 2, 3, Infinity, 4, 1e-30, 1e-30, 1e-30);
  const y = normalize(device, x, Float32Array.of(1, 1, 1), 1e-6);
  assertEquals([...y.subarray(0, 3)].map(Math.abs), [0, 0, 0]);
  assertEquals([...y.subarray(3, 6)], [NaN, NaN, NaN]);
  assertEquals([...y.subarray(6, 9)], [0, NaN, 0]); // ∞ / ∞ beside finite / ∞
  assertEquals([...y.subarray(9)].every((value) => Math.abs(value) < 1e-26), true);
});

const small = (device: Device, random: Random, prefix = "") => check(device, random, 3, 33, prefix);
faultsAreFound([
  { name: "ε is forgotten", file: "norm.cu", from: " + epsilon", to: "", check: small },
  {
    name: "the sum starts a column late",
    file: "norm.cu",
    from: "float sum = 0;",
    to: "float sum = -from[0] * from[0];",
    check: small,
  },
]);
