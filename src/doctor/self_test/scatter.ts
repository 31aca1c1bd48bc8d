// Sums by index against sums in float64.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { indices, type Taken } from "./gather.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

function draw(device: Device, random: Random, length: number, dtype: FloatType) {
  const values = random.normals(length), bits = numbersToBfloat16(values);
  return dtype === "float32"
    ? { values, memory: given(device, dtype, values) }
    : { values: bfloat16ToNumbers(bits), memory: given(device, dtype, bits) };
}

/** Compares sums of random rows by indices that all tables share, from zero or from what is there. */
export function checkAddRows(
  device: Device,
  random: Random,
  [outer, extent, count, inner]: Taken,
  dtype: FloatType,
  fresh: boolean,
  prefix = "",
): number {
  const ids = indices(random, count, extent), chosen = given(device, "int32", ids);
  const rows = draw(device, random, outer * count * inner, dtype);
  const start = random.normals(outer * extent * inner);
  const to = fresh ? wanted(device, "float32", start.length) : given(device, "float32", start);
  device.kernel(`${prefix}add_rows_${dtype}`).overRows(
    outer * extent,
    to.pointer,
    rows.memory.pointer,
    chosen.pointer,
    outer,
    count,
    extent,
    inner,
    Number(fresh),
  );
  const expected = fresh ? new Float64Array(start.length) : Float64Array.from(start);
  const sizes = expected.map(Math.abs);
  rows.values.forEach((value, i) => {
    const row = Math.floor(i / inner), id = ids[row % count];
    if (id < 0 || id >= extent) return;
    const at = (Math.floor(row / count) * extent + id) * inner + i % inner;
    expected[at] += value;
    sizes[at] += Math.abs(value);
  });
  const what = `add_rows_${dtype} [${outer}, ${count}, ${inner}] to ${extent} rows`;
  return assertClose(to.take(), expected, TOLERANCE.sum(count), what, sizes);
}

/** Compares sums of random elements by an index for each along the middle axis. */
export function checkAddAlong(
  device: Device,
  random: Random,
  [outer, extent, count, inner]: Taken,
  dtype: FloatType,
  prefix = "",
): number {
  const at = indices(random, outer * count * inner, extent), chosen = given(device, "int32", at);
  const from = draw(device, random, at.length, dtype);
  const start = random.normals(outer * extent * inner), to = given(device, "float32", start);
  device.kernel(`${prefix}add_along_${dtype}`).overElements(
    outer * inner,
    to.pointer,
    from.memory.pointer,
    chosen.pointer,
    outer,
    extent,
    count,
    inner,
  );
  const expected = Float64Array.from(start), sizes = expected.map(Math.abs);
  at.forEach((index, i) => {
    if (index < 0 || index >= extent) return;
    const place = (Math.floor(i / (count * inner)) * extent + index) * inner + i % inner;
    expected[place] += from.values[i];
    sizes[place] += Math.abs(from.values[i]);
  });
  const what = `add_along_${dtype} [${outer}, ${count} → ${extent}, ${inner}]`;
  return assertClose(to.take(), expected, TOLERANCE.sum(count), what, sizes);
}

/** Each kernel of scatter.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).flatMap(
  (dtype): SelfTest[] => [
    {
      kernels: [`add_rows_${dtype}`],
      run: (device, random) =>
        Math.max(
          ...[false, true].map((fresh) =>
            checkAddRows(device, random, [3, 100, 333, 97], dtype, fresh)
          ),
        ),
    },
    {
      kernels: [`add_along_${dtype}`],
      run: (device, random) => checkAddAlong(device, random, [5, 17, 23, 33], dtype),
    },
  ],
);
