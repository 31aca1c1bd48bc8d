// rotary.cu: the fused projection split into heads, queries and keys turned by their position's angles.

import type { Device } from "../../../src/cuda/device.ts";
import { checkHeads } from "../../../src/doctor/self_test/rotary.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

for (const dtype of ["float32", "bfloat16"] as const) {
  kernelTest(`heads are split and turned as ${dtype}`, (device, random) => {
    for (const tokens of [1, 2, 31]) {
      for (const [heads, kvHeads] of [[1, 1], [9, 3], [4, 4]]) {
        for (const d of [2, 6, 64, 66]) {
          checkHeads(device, random, [tokens, heads, kvHeads, d], dtype);
        }
      }
    }
  });
}

const small = (device: Device, random: Random, prefix = "") =>
  checkHeads(device, random, [3, 2, 1, 8], "float32", prefix);
faultsAreFound([
  {
    name: "values are turned as keys are",
    file: "rotary.cu",
    from: "to[i] = from[i];",
    to: "to[i] = from_float<T>(to_float(from[i]) * c[i % half]);",
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
