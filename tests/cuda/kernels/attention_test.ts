// attention.cu: causal softmax over rows of scores, and the sums over queries of its probabilities.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import {
  checkSoftmax,
  checkSums,
  checkWeights,
  type Scores,
  softmax,
  VISIBILITIES,
} from "../../../src/doctor/self_test/attention.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, given, kernelTest } from "./bench.ts";

for (const dtype of ["float32", "bfloat16"] as const) {
  kernelTest(`causal softmax equals its formula as ${dtype}`, (device, random) => {
    for (const keys of [1, 2, 31, 33, 63, 65, 127, 577]) {
      checkSoftmax(
        device,
        random,
        { heads: 2, queries: 3, first: keys - 1, keys, stride: keys },
        dtype,
      );
      checkSoftmax(
        device,
        random,
        { heads: 3, queries: keys, first: 0, keys, stride: keys + 3 },
        dtype,
      );
    }
    // A block of queries in the middle; the last of them see all keys.
    checkSoftmax(device, random, { heads: 2, queries: 31, first: 17, keys: 40, stride: 48 }, dtype);
    checkSoftmax(device, random, { heads: 700, queries: 2, first: 0, keys: 2, stride: 2 }, dtype);
  });
}

kernelTest("softmax may overwrite its scores as float32", (device, random) => {
  const shape = { heads: 2, queries: 33, first: 0, keys: 33, stride: 33 };
  const scores = random.normals(2 * 33 * 33);
  const expected = softmax(device, scores, shape, "float32", 1);
  const memory = given(device, "float32", scores);
  device.kernel("attention_softmax_float32")
    .overRows(66, memory.pointer, memory.pointer, 0, 0, 66, 2, 0, 33, 33, 1, 0, 1);
  assertEquals(memory.take(), expected);
});

kernelTest("softmax gives a key at -∞ nothing, and one visible key everything", (device) => {
  const row = { heads: 1, queries: 1, first: 2, keys: 3, stride: 3 };
  const of = (
    ...scores: number[]
  ) => [...softmax(device, Float32Array.from(scores), row, "float32", 1)];
  assertEquals(of(-Infinity, 5, -Infinity), [0, 1, 0]);
  assertEquals(of(3e38, 3e38, -3e38), [0.5, 0.5, 0]);
  assertEquals(of(-3e38, -3e38, -3e38).map((p) => Math.abs(p - 1 / 3) < 1e-7), [true, true, true]);
  const single = { ...row, first: 0 };
  assertEquals([...softmax(device, Float32Array.of(-1e30, NaN, 1), single, "float32", 1)], [
    1,
    0,
    0,
  ]);
});

kernelTest("softmax has no answer where it sees NaN, +∞, or -∞ alone", (device) => {
  const row = { heads: 1, queries: 1, first: 2, keys: 3, stride: 3 };
  const of = (
    ...words: number[]
  ) => [...softmax(device, Float32Array.from(words), row, "float32", 1)];
  assertEquals(of(1, NaN, 2), [NaN, NaN, NaN]);
  assertEquals(of(-Infinity, -Infinity, -Infinity), [NaN, NaN, NaN]);
  assert(of(1, Infinity, 2).some(Number.isNaN));
  const negative = new Float32Array(Uint32Array.of(0, 0xffc00000, 0).buffer);
  assertEquals([...softmax(device, negative, row, "float32", 1)], [NaN, NaN, NaN]);
});

for (const dtype of ["float32", "bfloat16"] as const) {
  kernelTest(`sums over queries are added to what was there, from ${dtype}`, (device, random) => {
    for (const keys of [1, 31, 33, 63, 64, 65, 127, 128, 577]) {
      for (const queries of [1, 2, 33]) {
        checkSums(device, random, { heads: 3, queries, first: 0, keys, stride: keys + 1 }, dtype);
      }
    }
    checkSums(device, random, { heads: 300, queries: 2, first: 0, keys: 65, stride: 65 }, dtype);
  });
}

for (const dtype of ["float32", "bfloat16"] as const) {
  for (const kind of ["softmax", "sigmoid"] as const) {
    kernelTest(
      `${kind} weights and their gradients equal their formulas as ${dtype}`,
      (device, random) => {
        for (const visibility of VISIBILITIES) {
          if (kind === "sigmoid" && visibility.sloped) continue;
          for (const keys of [1, 2, 31, 33, 64, 131]) {
            const all = { heads: 3, queries: keys, first: 0, keys, stride: keys + 2 };
            checkWeights(device, random, all, { visibility, kind, dtype });
            const some = { heads: 2, queries: 1, first: keys - 1, keys, stride: keys };
            checkWeights(device, random, some, { visibility, kind, dtype });
          }
        }
      },
    );
  }
}

const shape: Scores = { heads: 2, queries: 5, first: 0, keys: 5, stride: 7 };
const small = (device: Device, random: Random, prefix = "") =>
  checkSoftmax(device, random, shape, "float32", prefix);
const sums = (device: Device, random: Random, prefix = "") =>
  checkSums(device, random, shape, "float32", prefix);
const [, windowed] = VISIBILITIES;
const general = (kind: "softmax" | "sigmoid") => (device: Device, random: Random, prefix = "") =>
  checkWeights(device, random, { heads: 2, queries: 9, first: 2, keys: 11, stride: 12 }, {
    visibility: kind === "softmax" ? windowed : { ...windowed, sloped: false },
    kind,
    dtype: "float32",
    prefix,
  });
faultsAreFound([
  {
    name: "a window is one key too long",
    file: "attention.cu",
    from: "position + 1 - window : 0",
    to: "position - window : 0",
    check: general("softmax"),
  },
  {
    name: "slopes are scaled as scores are",
    file: "attention.cu",
    from: "slopes[row % group] / scale",
    to: "slopes[row % group]",
    check: general("softmax"),
  },
  {
    name: "the sums leave out the largest score",
    file: "attention.cu",
    from: "largest * scale + logf(sum)",
    to: "logf(sum)",
    check: general("softmax"),
  },
  {
    name: "gradients leave out the rows' means",
    file: "attention.cu",
    from: "(gradient[j] - delta)",
    to: "gradient[j]",
    check: general("softmax"),
  },
  {
    name: "gradients of sigmoids are those of exponentials",
    file: "attention.cu",
    from: "weight * (1.0f - weight) * gradient[j]",
    to: "weight * gradient[j]",
    check: general("sigmoid"),
  },
  {
    name: "a query does not see itself",
    file: "attention.cu",
    from: "position < keys ? position + 1 : keys",
    to: "position < keys ? position : keys",
    check: small,
  },
  {
    name: "hidden keys are not cleared",
    file: "attention.cu",
    from: "clear_hidden(to, begin, end, keys);\n    if (log_sums",
    to: "if (log_sums",
    check: small,
  },
  {
    name: "sums replace what was there",
    file: "attention.cu",
    from: "to[t * WARP + lane()] += partial[t]",
    to: "to[t * WARP + lane()] = partial[t]",
    check: sums,
  },
]);
