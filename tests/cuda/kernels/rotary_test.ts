// rotary.cu: the fused projection split into heads, queries and keys turned by their position's angles; and any
// rows turned, forth and back.

import type { Device } from "../../../src/cuda/device.ts";
import { checkHeads, checkRotate } from "../../../src/doctor/self_test/rotary.ts";
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

for (const dtype of ["float32", "bfloat16"] as const) {
  for (const adjacent of [false, true]) {
    kernelTest(
      `${adjacent ? "adjacent features" : "halves"} turn as ${dtype}`,
      (device, random) => {
        for (const direction of [1, -1]) {
          for (const [batch, tokens, heads] of [[1, 1, 1], [2, 3, 1], [2, 31, 5]]) {
            for (const [d, pairs] of [[2, 1], [5, 2], [7, 0], [66, 33], [64, 16]]) {
              const kind = { dtype, adjacent, direction };
              checkRotate(device, random, [batch, tokens, heads, d, pairs], kind);
            }
          }
        }
        const kind = { dtype, adjacent, direction: 1 };
        checkRotate(device, random, [0, 3, 2, 8, 4], kind);
        checkRotate(device, random, [1, device.multiprocessors * 64 + 1, 1, 6, 3], kind);
      },
    );
  }
}

const turned = (adjacent: boolean) => (device: Device, random: Random, prefix = "") => {
  const kind = { dtype: "float32", adjacent, direction: -1 } as const;
  checkRotate(device, random, [2, 5, 3, 9, 4], kind, prefix);
};
const small = (device: Device, random: Random, prefix = "") =>
  checkHeads(device, random, [3, 2, 1, 8], "float32", prefix);
faultsAreFound([
  {
    name: "values are turned as keys are",
    file: "rotary.cu",
    from: "for (int i = lane(); i < d; i += WARP) to[i] = from[i];",
    to:
      "for (int i = lane(); i < d; i += WARP) to[i] = from_float<T>(to_float(from[i]) * c[i % half]);",
    check: small,
  },
  {
    name: "the angle turns the other way",
    file: "rotary.cu",
    from: "first * c[i] - second * s[i]",
    to: "first * c[i] + second * s[i]",
    check: small,
  },
  {
    name: "heads count as tokens",
    file: "rotary.cu",
    from: "row / heads % tokens",
    to: "row % tokens",
    check: turned(false),
  },
  {
    name: "adjacent features turn always forth",
    file: "rotary.cu",
    from: "direction * s[i]",
    to: "s[i]",
    check: turned(true),
  },
  {
    name: "features without a pair are left out",
    file: "rotary.cu",
    from: "i < d; i += WARP) to[i] = from[i];\n  }\n}",
    to: "i < d - 1; i += WARP) to[i] = from[i];\n  }\n}",
    check: turned(false),
  },
]);
