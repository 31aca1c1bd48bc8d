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
  device.kernel(`${prefix}attention_softmax_${dtype}`).overRows(
    heads * queries,
    to.pointer,
    from.pointer,
    0,
    0,
    heads * queries,
    heads,
    first,
    keys,
    stride,
    scale,
    0,
    1,
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

/** What a query sees beside the keys before it, for the kernels in their general form. */
export interface Visibility {
  /** How many keys; 0 for all. */
  window: number;
  causal: boolean;
  /** Whether logits fall with the distance. */
  sloped: boolean;
}

/** The logits of each row's visible keys, and where they begin, in float64. */
function logitsOf(
  scores: Float32Array,
  { heads, queries, first, keys, stride }: Scores,
  { window, causal }: Visibility,
  scale: number,
  slopes: Float32Array | null,
): { begin: number; logits: number[] }[] {
  return Array.from({ length: heads * queries }, (_, row) => {
    const position = first + Math.floor(row / heads);
    const end = causal ? Math.min(keys, position + 1) : keys;
    const begin = window ? Math.max(0, position + 1 - window) : 0;
    const logits = [...scores.subarray(row * stride + begin, row * stride + end)]
      .map((score, j) =>
        scale * score - (slopes?.[row % heads] ?? 0) * Math.abs(begin + j - position)
      );
    return { begin, logits };
  });
}

/** Compares weights of random scores, by softmax or each by its sigmoid, and the gradients, with their formulas. */
export function checkWeights(
  device: Device,
  random: Random,
  shape: Scores,
  { visibility, kind, dtype, prefix = "" }: {
    visibility: Visibility;
    kind: "softmax" | "sigmoid";
    dtype: FloatType;
    prefix?: string;
  },
): number {
  const { heads, queries, first, keys, stride } = shape, rows = heads * queries;
  const scale = Math.fround(0.25), bias = Math.fround(-1.5), size = rows * stride;
  const scores = random.normals(size, 4), upstream = random.normals(size);
  const deltas = random.normals(rows);
  const slopes = visibility.sloped
    ? Float32Array.from({ length: heads }, (_, head) => 2 ** -(head + 1))
    : null;
  const slopesAt = slopes ? given(device, "float32", slopes).pointer : 0;
  const sums = kind === "softmax" ? wanted(device, "float32", rows) : null;
  const weights = wanted(device, dtype, size);
  const seen = [keys, stride, scale, visibility.window, Number(visibility.causal)];
  const end = kind === "softmax" ? [] : [bias];
  const extra = kind === "softmax" ? [sums!.pointer, slopesAt] : [];
  device.kernel(`${prefix}attention_${kind}_${dtype}`).overRows(
    rows,
    weights.pointer,
    given(device, "float32", scores).pointer,
    ...extra,
    rows,
    heads,
    first,
    ...seen,
    ...end,
  );

  const expected = new Float64Array(size).fill(NaN), gradients = expected.slice();
  const logSums = new Float64Array(rows);
  let largest = 0;
  for (
    const [row, { begin, logits }] of logitsOf(scores, shape, visibility, scale, slopes).entries()
  ) {
    const at = row * stride;
    expected.fill(0, at, at + keys);
    gradients.fill(0, at, at + keys);
    const top = Math.max(...logits);
    const sum = logits.reduce((sum, x) => sum + Math.exp(x - top), 0);
    logSums[row] = top + Math.log(sum);
    for (const [j, x] of logits.entries()) {
      const dw = upstream[at + begin + j]!;
      largest = Math.max(largest, kind === "softmax" ? top - x : Math.abs(x + bias));
      const w = kind === "softmax" ? Math.exp(x - top) / sum : 1 / (1 + Math.exp(-(x + bias)));
      expected[at + begin + j] = w;
      gradients[at + begin + j] = scale * w *
        (kind === "softmax" ? dw - deltas[row]! : (1 - w) * dw);
    }
  }
  const tolerance = TOLERANCE.softmax(keys, largest + 8);
  const allowed = dtype === "float32" ? tolerance : thenBfloat16(tolerance);
  const what = `attention ${kind} ${JSON.stringify({ ...shape, ...visibility })} as ${dtype}`;
  const numbers = (y: Float32Array | Uint16Array) =>
    dtype === "float32" ? y as Float32Array : bfloat16ToNumbers(y as Uint16Array);
  let worst = assertClose(numbers(weights.take() as Uint16Array), expected, allowed, what);
  const given32 = logSums.map(Math.fround);
  if (sums) {
    const sizes = logSums.map((sum) => 1 + Math.abs(sum)); // of two terms, which may cancel
    const got = sums.take() as Float32Array;
    worst = Math.max(worst, assertClose(got, logSums, tolerance, `${what}: sums`, sizes));
  }

  const again = wanted(device, dtype, size), dScores = wanted(device, dtype, size);
  const more = kind === "softmax"
    ? [
      given(device, "float32", Float32Array.from(given32)).pointer,
      given(device, "float32", deltas).pointer,
      slopesAt,
    ]
    : [];
  device.kernel(`${prefix}attention_${kind}_backward_${dtype}`).overRows(
    rows,
    again.pointer,
    dScores.pointer,
    given(device, "float32", scores).pointer,
    given(device, "float32", upstream).pointer,
    ...more,
    rows,
    heads,
    first,
    ...seen,
    ...end,
  );
  const loose = TOLERANCE.softmax(keys, largest + 32); // log Σ exp was rounded
  const looser = dtype === "float32" ? loose : thenBfloat16(loose);
  assertClose(numbers(again.take() as Uint16Array), expected, looser, `${what}: weights again`);
  return Math.max(
    worst,
    assertClose(numbers(dScores.take() as Uint16Array), gradients, looser, `${what}: gradients`),
  );
}

/** All that visibility can be. */
export const VISIBILITIES: readonly Visibility[] = [
  { window: 0, causal: true, sloped: false },
  { window: 5, causal: true, sloped: true },
  { window: 0, causal: false, sloped: true },
  { window: 0, causal: false, sloped: false },
];

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
    kernels: [`attention_softmax_${dtype}`],
    run: (device, random) =>
      Math.max(...SHAPES.map((shape) => checkSoftmax(device, random, shape, dtype))),
  },
  ...(["softmax", "sigmoid"] as const).map((kind): SelfTest => ({
    kernels: [`attention_${kind}_${dtype}`, `attention_${kind}_backward_${dtype}`],
    run: (device, random) =>
      Math.max(
        ...SHAPES.flatMap((shape) =>
          VISIBILITIES.filter(({ sloped }) => kind === "softmax" || !sloped)
            .map((visibility) => checkWeights(device, random, shape, { visibility, kind, dtype }))
        ),
      ),
  })),
  {
    kernels: [`attention_column_sums_${dtype}`],
    run: (device, random) =>
      Math.max(...SHAPES.map((shape) => checkSums(device, random, shape, dtype))),
  },
]);
