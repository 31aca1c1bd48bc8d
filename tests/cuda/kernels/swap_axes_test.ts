// swap_axes.cu: rows to their exchanged places, rounded where the type asks for it.

import type { Device } from "../../../src/cuda/device.ts";
import { checkSwap, PAIRS } from "../../../src/doctor/self_test/swap_axes.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("each row goes to its exchanged place, between all types", (device, random) => {
  for (const types of PAIRS) {
    for (
      const shape of [[1, 1, 1, 1], [1, 3, 5, 64], [2, 1, 7, 33], [3, 31, 2, 65], [2, 5, 9, 127]]
    ) {
      checkSwap(device, random, shape, types);
    }
    checkSwap(device, random, [1, device.multiprocessors * 64 + 1, 3, 2], types);
  }
});

const small = (device: Device, random: Random, prefix = "") =>
  checkSwap(device, random, [2, 3, 5, 33], ["float32", "float32"], prefix);
faultsAreFound([
  {
    name: "the axes keep their places",
    file: "swap_axes.cu",
    from: "(static_cast<long long>(matrix) * c + second) * b + first",
    to: "static_cast<long long>(row)",
    check: small,
  },
  {
    name: "the last column is left out",
    file: "swap_axes.cu",
    from: "i < d",
    to: "i < d - 1",
    check: small,
  },
]);
