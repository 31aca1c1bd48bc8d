// Rows of a table by index, as bytes, whatever their type.

import type { Device } from "../../cuda/device.ts";
import { assertAllSame } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";

/** Compares gathered rows of a random table with the rows themselves. */
export function checkRows(
  device: Device,
  random: Random,
  [tableRows, count, rowBytes]: readonly number[],
  prefix = "",
): number {
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
  assertAllSame(to.take(), expected, `${count} of ${tableRows} rows of ${rowBytes} bytes`);
  return 0;
}

/** Each kernel of gather_rows.cu. */
export const selfTests: SelfTest[] = [
  { kernels: ["gather_rows"], run: (device, random) => checkRows(device, random, [100, 33, 1154]) },
];
