// scan.cu against sums in float64.

import type { Device } from "../../../src/cuda/device.ts";
import { checkScan } from "../../../src/doctor/self_test/scan.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

kernelTest(
  "cumulative sums equal their definition at odd sizes, from either end",
  (device, random) => {
    for (const reverse of [false, true]) {
      for (const size of [1, 2, 31, 32, 33, 63, 64, 65, 577]) {
        checkScan(device, random, [3, size, 1], reverse);
        checkScan(device, random, [2, 7, size], reverse, "columns");
      }
      checkScan(device, random, [3, 0, 1], reverse);
      checkScan(device, random, [1, 30_011, 1], reverse);
      checkScan(device, random, [device.multiprocessors * 8 * 8 + 3, 2, 1], reverse);
      checkScan(device, random, [device.multiprocessors * 8 * 8 + 3, 2, 3], reverse);
    }
  },
);

const check = (inner: number) => (device: Device, random: Random, prefix: string) => {
  checkScan(device, random, [3, 65, inner], true, undefined, prefix);
};
faultsAreFound([
  {
    name: "rows are summed from the wrong end",
    file: "scan.cu",
    from: "reverse ? count - 1 - j : j",
    to: "j",
    check: check(1),
  },
  {
    name: "columns forget the first row",
    file: "scan.cu",
    from: "int r = 0; r < count",
    to: "int r = 1; r < count",
    check: check(5),
  },
]);
