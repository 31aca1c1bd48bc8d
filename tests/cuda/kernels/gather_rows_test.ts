// gather_rows.cu: rows of a table by index, as bytes, whatever their type.

import { assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, given, kernelTest, wanted } from "./bench.ts";

function check(
  device: Device,
  random: Random,
  [tableRows, count, rowBytes]: readonly number[],
  prefix = "",
) {
  const bytes = random.bytes(tableRows * rowBytes);
  const ids = Int32Array.from({ length: count }, () => random.below(tableRows));
  ids[0] = tableRows - 1;
  const table = given(device, "uint8", bytes), chosen = given(device, "int32", ids);
  const to = wanted(device, "uint8", count * rowBytes);
  device.kernel(`${prefix}gather_rows`)
    .overRows(count, to.pointer, table.pointer, chosen.pointer, count, rowBytes);
  const expected = new Uint8Array(count * rowBytes);
  ids.forEach((id, i) =>
    expected.set(bytes.subarray(id * rowBytes, (id + 1) * rowBytes), i * rowBytes)
  );
  assertEquals(to.take(), expected, `${count} of ${tableRows} rows of ${rowBytes} bytes`);
}

kernelTest("rows come in the order of the indices, repeated ones too", (device, random) => {
  for (const tableRows of [1, 7, 100]) {
    for (const rowBytes of [2, 4, 62, 66, 126, 2 * 577]) {
      for (const count of [1, 2, 33]) check(device, random, [tableRows, count, rowBytes]);
    }
  }
  check(device, random, [50, device.multiprocessors * 8 * 8 + 1, 6]);
});

const small = (device: Device, random: Random, prefix = "") =>
  check(device, random, [9, 5, 66], prefix);
faultsAreFound([
  {
    name: "half of each row is copied",
    file: "gather_rows.cu",
    from: "row_bytes / 2",
    to: "row_bytes / 4",
    check: small,
  },
]);
