// norm.cu against x / √(mean(x²) + ε) · g in float64.

import { assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import { checkNorm, normalize } from "../../../src/doctor/self_test/norm.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("rms_norm equals its formula at odd sizes", (device, random) => {
  for (const rows of [1, 2, 31]) {
    for (const columns of [1, 2, 31, 33, 63, 65, 127, 577]) {
      for (const dtype of ["float32", "bfloat16"] as const) {
        checkNorm(device, random, rows, columns, dtype);
      }
    }
  }
  checkNorm(device, random, device.multiprocessors * 8 * 8 + 1, 3);
  checkNorm(device, random, 1, 100_003);
});

kernelTest("a row of zeros stays zero, and NaN and infinity stay in their row", (device) => {
  const x = Float32Array.of(0, -0, 0, 1, NaN, 2, 3, Infinity, 4, 1e-30, 1e-30, 1e-30);
  const y = normalize(device, x, Float32Array.of(1, 1, 1), 1e-6);
  assertEquals([...y.subarray(0, 3)].map(Math.abs), [0, 0, 0]);
  assertEquals([...y.subarray(3, 6)], [NaN, NaN, NaN]);
  assertEquals([...y.subarray(6, 9)], [0, NaN, 0]); // ∞ / ∞ beside finite / ∞
  assertEquals([...y.subarray(9)].every((value) => Math.abs(value) < 1e-26), true);
});

const small = (device: Device, random: Random, prefix = "") =>
  checkNorm(device, random, 3, 33, "float32", prefix);
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
