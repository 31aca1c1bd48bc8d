// Elements and rows by index, as bytes, whatever their type.

import type { Device } from "../../cuda/device.ts";
import { assertAllSame } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";

/** Extents of what is taken from: [outer, extent, inner], and how many entries are taken of `extent`. */
export type Taken = readonly [outer: number, extent: number, count: number, inner: number];

/** Indices from 0 to `extent` - 1, and now and then one beyond on either side. */
export function indices(random: Random, length: number, extent: number): Int32Array<ArrayBuffer> {
  const beyond = () => [-1, extent, -(2 ** 31), 2 ** 31 - 1][random.below(4)];
  return Int32Array.from(
    { length },
    (_, i) => i % 7 === 6 || extent === 0 ? beyond() : random.below(extent),
  );
}

/** Bytes of the entry at `from`, or of `beyond` where `index` is beyond `extent`. */
function entry(
  bytes: Uint8Array,
  from: number,
  width: number,
  index: number,
  extent: number,
  beyond = 0xff,
) {
  if (index < 0 || index >= extent) return new Uint8Array(width).fill(beyond);
  return bytes.subarray(from * width, (from + 1) * width);
}

/** Compares rows of random tables, by indices that all tables share, with the rows themselves. */
export function checkRows(
  device: Device,
  random: Random,
  [outer, extent, count, inner]: Taken,
  unit: number,
  prefix = "",
): number {
  const width = inner * unit, bytes = random.bytes(outer * extent * width);
  const ids = indices(random, count, extent);
  const tables = given(device, "uint8", bytes), chosen = given(device, "int32", ids);
  const to = wanted(device, "uint8", outer * count * width);
  device.kernel(`${prefix}gather_rows_${unit}`).overRows(
    outer * count,
    to.pointer,
    tables.pointer,
    chosen.pointer,
    outer,
    count,
    extent,
    inner,
  );
  const expected = new Uint8Array(outer * count * width);
  for (let row = 0; row < outer * count; row++) {
    const id = ids[row % count], from = Math.floor(row / count) * extent + id;
    expected.set(entry(bytes, from, width, id, extent), row * width);
  }
  assertAllSame(to.take(), expected, `${count} of ${outer} · ${extent} rows of ${width} bytes`);
  return 0;
}

/** Compares elements taken along the middle axis, by an index for each, with the elements themselves. */
export function checkTaken(
  device: Device,
  random: Random,
  [outer, extent, count, inner]: Taken,
  unit: number,
  prefix = "",
  zeroBeyond = false,
): number {
  const bytes = random.bytes(outer * extent * inner * unit);
  const at = indices(random, outer * count * inner, extent);
  const from = given(device, "uint8", bytes), chosen = given(device, "int32", at);
  const to = wanted(device, "uint8", at.length * unit);
  device.kernel(`${prefix}take_along_${unit}`).overElements(
    at.length,
    to.pointer,
    from.pointer,
    chosen.pointer,
    outer,
    extent,
    count,
    inner,
    Number(zeroBeyond),
  );
  const expected = new Uint8Array(at.length * unit);
  at.forEach((index, i) => {
    const place = (Math.floor(i / (count * inner)) * extent + index) * inner + i % inner;
    expected.set(entry(bytes, place, unit, index, extent, zeroBeyond ? 0 : 0xff), i * unit);
  });
  assertAllSame(to.take(), expected, `${at.length} of [${outer}, ${extent}, ${inner}]`);
  return 0;
}

/** Each kernel of gather.cu. */
export const selfTests: SelfTest[] = [1, 2, 4, 8].flatMap((unit): SelfTest[] => [
  {
    kernels: [`gather_rows_${unit}`],
    run: (device, random) => checkRows(device, random, [3, 100, 33, 97], unit),
  },
  {
    kernels: [`take_along_${unit}`],
    run: (device, random) => checkTaken(device, random, [5, 17, 23, 33], unit),
  },
]);
