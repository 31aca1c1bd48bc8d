// The fused projection split into heads, queries and keys turned by their position's angles.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** Sequences, tokens of each, heads, heads of keys and values, features of a head, and how many pairs turn. */
export type Sizes = readonly [
  batch: number,
  length: number,
  heads: number,
  kvHeads: number,
  d: number,
  pairs: number,
];

/**
 * Compares heads split from a random projection with the definition of rotary positions, or with `merge` the
 * projection merged from random heads, which turn back.
 */
export function checkHeads(
  device: Device,
  random: Random,
  [batch, length, heads, kvHeads, d, pairs]: Sizes,
  { dtype, merge }: { dtype: "float32" | "bfloat16"; merge: boolean },
  prefix = "",
): number {
  const all = heads + 2 * kvHeads, group = heads / kvHeads, tokens = batch * length;
  const angles = random.normals(length * pairs, 3);
  const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
  const cosine = given(device, "float32", cosines), sine = given(device, "float32", sines);
  const numbers = (values: ArrayLike<number>) =>
    dtype === "float32" ? values as Float32Array : bfloat16ToNumbers(values);
  const drawn = (count: number) => {
    const values = random.normals(count), bits = numbersToBfloat16(values);
    return dtype === "float32" ? values : bits;
  };
  const counts = [heads, kvHeads, kvHeads].map((count) => count * tokens * d);
  const parts = counts.map((count) => {
    const data = merge ? drawn(count) : null;
    return { data, memory: data ? given(device, dtype, data) : wanted(device, dtype, count) };
  });
  const whole = merge ? null : drawn(tokens * all * d);
  const qkv = whole ? given(device, dtype, whole) : wanted(device, dtype, tokens * all * d);
  device.kernel(`${prefix}${merge ? "merge" : "split"}_heads_rotary_${dtype}`).overRows(
    tokens,
    ...parts.map(({ memory }) => memory.pointer),
    qkv.pointer,
    cosine.pointer,
    sine.pointer,
    tokens,
    length,
    heads,
    kvHeads,
    d,
    pairs,
  );
  const sources = merge ? parts.map(({ data }) => numbers(data!)) : numbers(whole!);
  const taken = merge
    ? numbers(qkv.take() as Float32Array)
    : parts.map(({ memory }) => numbers(memory.take() as Float32Array));
  let error = 0;
  for (const [which, count] of [heads, kvHeads, kvHeads].entries()) {
    const expected = new Float64Array(count * tokens * d), sizes = expected.slice();
    const actual = new Float32Array(expected.length);
    const before = [0, heads, heads + kvHeads][which]!;
    for (let h = 0; h < count; h++) {
      for (let token = 0; token < tokens; token++) {
        const b = Math.floor(token / length), t = token % length;
        // Where the head's features lie in its part, and in the projection.
        const kv = which === 0 ? Math.floor(h / group) : h;
        const place = (b * kvHeads + kv) * length + t;
        const inPart = d * (which === 0 ? place * group + h % group : place);
        const inWhole = (token * all + before + h) * d;
        const from = merge ? (sources as Float32Array[])[which]! : sources as Float32Array;
        const to = merge ? taken as Float32Array : (taken as Float32Array[])[which]!;
        const start = merge ? inPart : inWhole, end = merge ? inWhole : inPart;
        for (let i = 0; i < d; i++) {
          const at = inPart + i, value = from[start + i]!;
          actual[at] = to[end + i]!;
          if (which === 2 || i >= 2 * pairs) {
            expected[at] = value;
            sizes[at] = 0;
            continue;
          }
          const pair = from[start + (i + pairs) % (2 * pairs)]!, angle = t * pairs + i % pairs;
          const sin = (merge ? -1 : 1) * sines[angle]!;
          expected[at] = value * cosines[angle]! + (i < pairs ? -pair : pair) * sin;
          sizes[at] = Math.abs(value) + Math.abs(pair);
        }
      }
    }
    const tolerance = TOLERANCE.elementwise(3);
    const what = `${"qkv"[which]} of [${batch}, ${length}, ${all}·${d}] as ${dtype}`;
    const allowed = dtype === "float32" ? tolerance : thenBfloat16(tolerance);
    error = Math.max(error, assertClose(actual, expected, allowed, what, sizes));
  }
  return error;
}

/** Rows as they lie: tokens, heads of each, features, and how many pairs of these turn. */
export type Turned = readonly [
  batch: number,
  tokens: number,
  heads: number,
  d: number,
  pairs: number,
];

/** Compares rows turned by random angles, forth or back, with the definition. */
export function checkRotate(
  device: Device,
  random: Random,
  [batch, tokens, heads, d, pairs]: Turned,
  { dtype, adjacent, direction }: {
    dtype: FloatType;
    adjacent: boolean;
    direction: number;
  },
  prefix = "",
): number {
  const rows = batch * tokens * heads, bits = numbersToBfloat16(random.normals(rows * d));
  const values = dtype === "float32" ? random.normals(rows * d) : bfloat16ToNumbers(bits);
  const x = given(device, dtype, dtype === "float32" ? values : bits);
  const angles = random.normals(tokens * pairs, 3);
  const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
  const cosine = given(device, "float32", cosines), sine = given(device, "float32", sines);
  const y = wanted(device, dtype, rows * d);
  device.kernel(`${prefix}rotate_${dtype}`).overRows(
    rows,
    y.pointer,
    x.pointer,
    cosine.pointer,
    sine.pointer,
    rows,
    tokens,
    heads,
    d,
    pairs,
    Number(adjacent),
    direction,
  );
  const expected = Float64Array.from(values), sizes = expected.map(Math.abs);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < pairs; i++) {
      const at = Math.floor(row / heads) % tokens * pairs + i;
      const [a, b] = (adjacent ? [2 * i, 2 * i + 1] : [i, i + pairs]).map((c) => row * d + c);
      const cos = cosines[at], sin = direction * sines[at];
      expected[a] = values[a] * cos - values[b] * sin;
      expected[b] = values[b] * cos + values[a] * sin;
      sizes[a] = sizes[b] = Math.abs(values[a]) + Math.abs(values[b]);
    }
  }
  const tolerance = TOLERANCE.elementwise(3),
    what = `rows of [${batch}, ${tokens}, ${heads}, ${d}]`;
  const taken = y.take();
  return dtype === "float32"
    ? assertClose(taken, expected, tolerance, what, sizes)
    : assertClose(bfloat16ToNumbers(taken), expected, thenBfloat16(tolerance), what, sizes);
}

/** Each kernel of rotary.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).flatMap(
  (dtype): SelfTest[] => [
    ...[false, true].map((merge): SelfTest => ({
      kernels: [`${merge ? "merge" : "split"}_heads_rotary_${dtype}`],
      run: (device, random) => checkHeads(device, random, [2, 33, 9, 3, 64, 30], { dtype, merge }),
    })),
    {
      kernels: [`rotate_${dtype}`],
      run: (device, random) =>
        Math.max(
          ...[false, true].map((adjacent) =>
            checkRotate(device, random, [2, 33, 3, 65, 31], { dtype, adjacent, direction: -1 })
          ),
        ),
    },
  ],
);
