// gather_rows.cu: rows of a table by index, as bytes, whatever their type.

import type { Device } from "../../../src/cuda/device.ts";
import { checkRows } from "../../../src/doctor/self_test/gather_rows.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("rows come in the order of the indices, repeated ones too", (device, random) => {
  for (const tableRows of [1, 7, 100]) {
    for (const rowBytes of [2, 4, 62, 66, 126, 2 * 577]) {
      for (const count of [1, 2, 33]) checkRows(device, random, [tableRows, count, rowBytes]);
    }
  }
  checkRows(device, random, [50, device.multiprocessors * 8 * 8 + 1, 6]);
});

const small = (device: Device, random: Random, prefix = "") =>
  checkRows(device, random, [9, 5, 66], prefix);
faultsAreFound([
  {
    name: "half of each row is copied",
    file: "gather_rows.cu",
    from: "row_bytes / 2",
    to: "row_bytes / 4",
    check: small,
  },
]);
