// rotary.cu: the fused projection split into heads, queries and keys turned by their position's angles.

import type { Device } from "../../../src/cuda/device.ts";
import type { Random } from "../../random.ts";
import { thenBfloat16, TOLERANCE } from "../../tolerance.ts";
import {
  assertClose,
  bfloat16ToNumbers,
  faultsAreFound,
  given,
  kernelTest,
  wanted,
} from "./bench.ts";

/** Tokens, heads, heads of keys and values, features of a head. */
type Sizes = readonly [tokens: number, heads: number, kvHeads: number, d: number];

function check(
  device: Device,
  random: Random,
  [tokens, heads, kvHeads, d]: Sizes,
  dtype: "float32" | "bfloat16",
  prefix = "",
) {
  const all = heads + 2 * kvHeads, half = d / 2;
  const qkv = random.normals(tokens * all * d);
  const angles = random.normals(tokens * half, 3);
  const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
  const x = given(device, "float32", qkv);
  const cosine = given(device, "float32", cosines), sine = given(device, "float32", sines);
  const outputs = [heads, kvHeads, kvHeads].map((n) => wanted(device, dtype, n * tokens * d));
  device.kernel(`${prefix}split_heads_rotary_${dtype}`).overRows(
    tokens * all,
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
  outputs.forEach((output, which) => {
    const count = [heads, kvHeads, kvHeads][which];
    const expected = new Float64Array(count * tokens * d);
    const sizes = new Float64Array(expected.length);
    for (let h = 0; h < count; h++) {
      for (let t = 0; t < tokens; t++) {
        for (let i = 0; i < d; i++) {
          const from = (t * all + first + h) * d, to = (h * tokens + t) * d + i;
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
    if (dtype === "float32") assertClose(taken, expected, exact, what, sizes);
    else assertClose(bfloat16ToNumbers(taken), expected, thenBfloat16(exact), what, sizes);
  });
}

for (const dtype of ["float32", "bfloat16"] as const) {
  kernelTest(`heads are split and turned as ${dtype}`, (device, random) => {
    for (const tokens of [1, 2, 31]) {
      for (const [heads, kvHeads] of [[1, 1], [9, 3], [4, 4]]) {
        for (const d of [2, 6, 64, 66]) check(device, random, [tokens, heads, kvHeads, d], dtype);
      }
    }
  });
}

const small = (device: Device, random: Random, prefix = "") =>
  check(device, random, [3, 2, 1, 8], "float32", prefix);
faultsAreFound([
  {
    name: "values are turned as keys are",
    file: "rotary.cu",
    from: "if (head < heads + kv_heads) {",
    to: "if (head < all) {",
    check: small,
  },
  {
    name: "the angle turns the other way",
    file: "rotary.cu",
    from: "first * c[i] - second * s[i]",
    to: "first * c[i] + second * s[i]",
    check: small,
  },
]);
