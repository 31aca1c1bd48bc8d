// Exchange of the two middle axes against an index by index copy.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertAllSame, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";

/** The pairs of types that there are kernels for. */
export const PAIRS: (readonly [FloatType, FloatType])[] = [
  ["float32", "float32"],
  ["float32", "bfloat16"],
  ["bfloat16", "float32"],
];

/** Compares [a, c, b, d] made of random [a, b, c, d] with the elements that belong there, to the bit. */
export function checkSwap(
  device: Device,
  random: Random,
  [a, b, c, d]: readonly number[],
  [from, to]: readonly [FloatType, FloatType],
  prefix = "",
): number {
  const bits = numbersToBfloat16(random.normals(a * b * c * d));
  const numbers = from === "float32" ? random.normals(bits.length) : bfloat16ToNumbers(bits);
  const x = given(device, from, from === "float32" ? numbers : bits);
  const y = wanted(device, to, bits.length);
  device.kernel(`${prefix}swap_axes_${from}_to_${to}`)
    .overRows(a * b * c, y.pointer, x.pointer, a, b, c, d);
  const expected = new Float32Array(bits.length);
  for (let row = 0; row < a * b * c; row++) {
    const k = row % c, j = Math.floor(row / c) % b, i = Math.floor(row / c / b);
    expected.set(numbers.subarray(row * d, (row + 1) * d), ((i * c + k) * b + j) * d);
  }
  const what = `[${a}, ${b}, ${c}, ${d}] from ${from} to ${to}`;
  assertAllSame(y.take(), to === "float32" ? expected : numbersToBfloat16(expected), what);
  return 0;
}

/** Each kernel of swap_axes.cu. */
export const selfTests: SelfTest[] = PAIRS.map((types) => ({
  kernels: [`swap_axes_${types[0]}_to_${types[1]}`],
  run: (device, random) => checkSwap(device, random, [2, 3, 17, 65], types),
}));
