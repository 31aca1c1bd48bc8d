// Sorted rows, the first of them, quantiles of them, and gradients, against sorting in TypeScript.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertAllSame, assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** Compares the first `top` elements of each sorted row, and where they come from, with stable sorting. */
export function checkSort(
  device: Device,
  x: ArrayLike<number>,
  columns: number,
  top: number,
  descending: boolean,
  dtype: FloatType = "float32",
  prefix = "",
): number {
  const rows = x.length / columns, bits = dtype === "bfloat16" ? numbersToBfloat16(x) : x;
  const numbers = dtype === "bfloat16" ? bfloat16ToNumbers(bits) : Float32Array.from(x);
  const from = given(device, dtype, bits);
  const values = wanted(device, dtype, rows * top), indices = wanted(device, "int32", rows * top);
  const scratch = wanted(device, "uint32", rows * columns * 4);
  device.kernel(`${prefix}sort_${dtype}`).overRows(
    rows,
    values.pointer,
    indices.pointer,
    from.pointer,
    scratch.pointer,
    rows,
    columns,
    top,
    descending ? 1 : 0,
  );
  // NaN as the largest.
  const compare = (a: number, b: number) =>
    a !== a ? (b !== b ? 0 : 1) : b !== b ? -1 : a < b ? -1 : a > b ? 1 : 0;
  const expected = Array.from({ length: rows }, (_, row) => {
    const at = (i: number) => numbers[row * columns + i]!;
    return Array.from({ length: columns }, (_, i) => i)
      .sort((i, j) => (descending ? -1 : 1) * compare(at(i), at(j)) || i - j).slice(0, top);
  });
  const what = `sort of [${rows}, ${columns}], first ${top}`;
  assertAllSame(indices.take(), expected.flat(), `${what}: indices`);
  const taken = dtype === "bfloat16" ? bfloat16ToNumbers(values.take()) : values.take();
  assertAllSame(
    taken,
    expected.flatMap((line, row) => line.map((i) => numbers[row * columns + i]!)),
    `${what}: values`,
  );
  scratch.take(); // for its guard zones
  return 0;
}

/** Compares the gradient of sorted elements with where it belongs. */
export function checkUnsort(
  device: Device,
  random: Random,
  rows: number,
  columns: number,
  top: number,
  dtype: FloatType,
  prefix = "",
): number {
  const indices = Array.from({ length: rows }, () => {
    const keys = Array.from(random.normals(columns));
    return keys.map((_, i) => i).sort((i, j) => keys[i]! - keys[j]!).slice(0, top);
  });
  const dy = dtype === "float32"
    ? random.normals(rows * top)
    : numbersToBfloat16(random.normals(rows * top));
  const expected = new (dtype === "float32" ? Float32Array : Uint16Array)(rows * columns);
  indices.forEach((line, row) =>
    line.forEach((i, j) => expected[row * columns + i] = dy[row * top + j]!)
  );
  const dx = given(device, dtype, new Uint16Array(rows * columns));
  device.kernel(`${prefix}unsort_${dtype}`).overRows(
    rows,
    dx.pointer,
    given(device, dtype, dy).pointer,
    given(device, "int32", indices.flat()).pointer,
    rows,
    columns,
    top,
  );
  assertAllSame(dx.take(), expected, `unsort to [${rows}, ${columns}] of ${top}`);
  return 0;
}

/** Compares quantiles of sorted rows, and their gradients, with interpolation in float64. */
export function checkQuantile(
  device: Device,
  random: Random,
  rows: number,
  columns: number,
  position: number,
  prefix = "",
): number {
  const lower = Math.floor(position), weight = Math.fround(position - lower);
  const x = random.normals(rows * columns), g = random.normals(rows);
  for (let first = 0; first < x.length; first += columns) x.subarray(first, first + columns).sort();
  x[columns - 1] = NaN; // the last of the first row
  const indices = Int32Array.from(x, (_, i) => columns - 1 - i % columns);
  const y = wanted(device, "float32", rows),
    dx = given(device, "float32", new Float32Array(x.length));
  device.kernel(`${prefix}quantile`)
    .overElements(
      rows,
      y.pointer,
      given(device, "float32", x).pointer,
      rows,
      columns,
      lower,
      weight,
    );
  device.kernel(`${prefix}quantile_backward`).overElements(
    rows,
    dx.pointer,
    given(device, "float32", g).pointer,
    given(device, "int32", indices).pointer,
    rows,
    columns,
    lower,
    weight,
  );
  const expected: number[] = [], sizes: number[] = [], gradient = new Float64Array(x.length);
  for (let row = 0; row < rows; row++) {
    const below = x[row * columns + lower]!,
      above = weight > 0 ? x[row * columns + lower + 1]! : below;
    expected.push(row === 0 ? NaN : below + weight * (above - below));
    sizes.push(Math.abs(below) + Math.abs(above));
    gradient[row * columns + columns - 1 - lower] = (1 - weight) * g[row]!;
    if (weight > 0) gradient[row * columns + columns - 2 - lower] = weight * g[row]!;
  }
  const tolerance = TOLERANCE.elementwise(4);
  return Math.max(
    assertClose(y.take(), expected, tolerance, `quantile at ${position}`, sizes),
    assertClose(dx.take(), gradient, tolerance, `gradient of the quantile at ${position}`),
  );
}

/** Each kernel of sort.cu. */
export const selfTests: SelfTest[] = [
  ...(["float32", "bfloat16"] as const).flatMap((dtype): SelfTest[] => [
    {
      kernels: [`sort_${dtype}`],
      run: (device, random) => {
        const x = random.normals(5 * 3001);
        checkSort(device, x, 3001, 3001, false, dtype);
        return checkSort(device, x, 3001, 20, true, dtype);
      },
    },
    {
      kernels: [`unsort_${dtype}`],
      run: (device, random) => checkUnsort(device, random, 5, 301, 67, dtype),
    },
  ]),
  {
    kernels: ["quantile", "quantile_backward"],
    run: (device, random) =>
      Math.max(
        checkQuantile(device, random, 67, 33, 7.25),
        checkQuantile(device, random, 67, 33, 32),
      ),
  },
];
