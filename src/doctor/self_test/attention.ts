// Causal softmax and the sums over queries of its probabilities, against their formulas in float64.

import type { Device } from "../../cuda/device.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** One launch for the heads that share a key-value head: `stride` ≥ `keys` elements lie between rows. */
export interface Scores {
  heads: number;
  queries: number;
  first: number;
  keys: number;
  stride: number;
}

/** Type of the probabilities. */
export type FloatType = "float32" | "bfloat16";

/** Launches the softmax of scores [queries, heads, stride]. */
export function softmax(
  device: Device,
  scores: Float32Array,
  { heads, queries, first, keys, stride }: Scores,
  dtype: FloatType,
  scale: number,
  prefix = "",
): Float32Array {
  const from = given(device, "float32", scores), to = wanted(device, dtype, scores.length);
  device.kernel(`${prefix}softmax_causal_${dtype}`).overRows(
    heads * queries,
    to.pointer,
    from.pointer,
    heads * queries,
    heads,
    first,
    keys,
    stride,
    scale,
  );
  const y = to.take();
  return dtype === "float32" ? y as Float32Array : bfloat16ToNumbers(y);
}

/** Compares the softmax of random scores with its formula. */
export function checkSoftmax(
  device: Device,
  random: Random,
  shape: Scores,
  dtype: FloatType,
  prefix = "",
): number {
  const { heads, queries, first, keys, stride } = shape;
  const scores = random.normals(heads * queries * stride, 20);
  const scale = Math.fround(0.125);
  const actual = softmax(device, scores, shape, dtype, scale, prefix);
  const expected = new Float64Array(scores.length).fill(NaN); // what lies beyond `keys` stays poisoned
  let largest = 0;
  for (let row = 0; row < heads * queries; row++) {
    const visible = Math.min(keys, first + Math.floor(row / heads) + 1);
    const seen = [...scores.subarray(row * stride, row * stride + visible)];
    const top = Math.max(...seen);
    const parts = seen.map((score) => Math.exp((score - top) * scale));
    const sum = parts.reduce((a, b) => a + b);
    expected.fill(0, row * stride, row * stride + keys);
    expected.set(parts.map((part) => part / sum), row * stride);
    largest = Math.max(largest, ...seen.map((score) => (top - score) * scale));
  }
  const tolerance = TOLERANCE.softmax(keys, largest);
  const what = `softmax ${JSON.stringify(shape)} as ${dtype}`;
  const allowed = dtype === "float32" ? tolerance : thenBfloat16(tolerance);
  return assertClose(actual, expected, allowed, what);
}

/** Compares the sums over queries of random probabilities with sums in float64. */
export function checkSums(
  device: Device,
  random: Random,
  { heads, queries, keys, stride }: Scores,
  dtype: FloatType,
  prefix = "",
): number {
  const rounded = numbersToBfloat16(random.normals(heads * queries * stride).map(Math.abs));
  const numbers = bfloat16ToNumbers(rounded);
  const sumsStride = keys + 2;
  const before = random.normals(heads * sumsStride).map(Math.abs);
  const from = given(device, dtype, dtype === "float32" ? numbers : rounded);
  const sums = given(device, "float32", before);
  device.kernel(`${prefix}attention_column_sums_${dtype}`).overRows(
    heads * Math.ceil(keys / 32),
    sums.pointer,
    from.pointer,
    heads,
    queries,
    keys,
    stride,
    sumsStride,
  );
  const expected = Float64Array.from(before);
  for (let head = 0; head < heads; head++) {
    for (let query = 0; query < queries; query++) {
      for (let key = 0; key < keys; key++) {
        expected[head * sumsStride + key] += numbers[(query * heads + head) * stride + key];
      }
    }
  }
  const what = `sums of [${heads}, ${queries}, ${keys}] as ${dtype}`;
  return assertClose(sums.take(), expected, TOLERANCE.sum(queries), what);
}

const SHAPES: Scores[] = [
  { heads: 2, queries: 33, first: 0, keys: 33, stride: 36 },
  { heads: 3, queries: 31, first: 100, keys: 131, stride: 131 },
];

/** Each kernel of attention.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).flatMap((dtype) => [
  {
    kernels: [`softmax_causal_${dtype}`],
    run: (device, random) =>
      Math.max(...SHAPES.map((shape) => checkSoftmax(device, random, shape, dtype))),
  },
  {
    kernels: [`attention_column_sums_${dtype}`],
    run: (device, random) =>
      Math.max(...SHAPES.map((shape) => checkSums(device, random, shape, dtype))),
  },
]);
