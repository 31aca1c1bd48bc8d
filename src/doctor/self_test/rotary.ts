// The fused projection split into heads, queries and keys turned by their position's angles.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** Tokens, heads, heads of keys and values, features of a head. */
export type Sizes = readonly [tokens: number, heads: number, kvHeads: number, d: number];

/** Compares heads split from a random projection with the definition of rotary positions. */
export function checkHeads(
  device: Device,
  random: Random,
  [tokens, heads, kvHeads, d]: Sizes,
  dtype: FloatType,
  prefix = "",
): number {
  const all = heads + 2 * kvHeads, half = d / 2, group = heads / kvHeads;
  let qkv: Float32Array = random.normals(tokens * all * d);
  const angles = random.normals(tokens * half, 3);
  const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
  const bits = numbersToBfloat16(qkv);
  const x = given(device, dtype, dtype === "float32" ? qkv : bits);
  if (dtype === "bfloat16") qkv = bfloat16ToNumbers(bits);
  const cosine = given(device, "float32", cosines), sine = given(device, "float32", sines);
  const outputs = [heads, kvHeads, kvHeads].map((n) => wanted(device, dtype, n * tokens * d));
  device.kernel(`${prefix}split_heads_rotary_${dtype}`).overRows(
    tokens,
    ...outputs.map((output) => output.pointer),
    x.pointer,
    cosine.pointer,
    sine.pointer,
    tokens,
    heads,
    kvHeads,
    d,
  );
  let first = 0; // head of qkv
  let error = 0;
  outputs.forEach((output, which) => {
    const count = [heads, kvHeads, kvHeads][which];
    const expected = new Float64Array(count * tokens * d);
    const sizes = new Float64Array(expected.length);
    for (let h = 0; h < count; h++) {
      for (let t = 0; t < tokens; t++) {
        for (let i = 0; i < d; i++) {
          const from = (t * all + first + h) * d;
          const kv = Math.floor(h / group); // of a query; they stand by key-value head, then token
          const to = i + d * (which === 0 ? (kv * tokens + t) * group + h % group : h * tokens + t);
          const pair = qkv[from + (i + half) % d], value = qkv[from + i];
          const cos = cosines[t * half + i % half], sin = sines[t * half + i % half];
          const turned = value * cos + (i < half ? -pair : pair) * sin;
          expected[to] = which === 2 ? value : turned;
          sizes[to] = which === 2 ? Math.abs(value) : Math.abs(value) + Math.abs(pair);
        }
      }
    }
    first += count;
    const exact = which === 2 ? TOLERANCE.exact : TOLERANCE.elementwise(3);
    const what = `${"qkv"[which]} of [${tokens}, ${all}·${d}] as ${dtype}`;
    const taken = output.take();
    error = Math.max(
      error,
      dtype === "float32"
        ? assertClose(taken, expected, exact, what, sizes)
        : assertClose(bfloat16ToNumbers(taken), expected, thenBfloat16(exact), what, sizes),
    );
  });
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
    {
      kernels: [`split_heads_rotary_${dtype}`],
      run: (device, random) => checkHeads(device, random, [33, 9, 3, 64], dtype),
    },
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
