// What the self-tests of elementwise kernels share: inputs of a type, as the kernel and as the reference have
// them, and the comparison of each element with a formula in float64.

import type { Device } from "../../cuda/device.ts";
import type { DType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, type Guarded, wanted } from "./guarded.ts";
import { thenBfloat16 } from "./tolerance.ts";

/** An input: guarded memory, and the numbers in it. */
export interface Input {
  /** Device pointer of the first element. */
  pointer: number;
  /** Its elements. */
  numbers: ArrayLike<number>;
}

/** Puts numbers into guarded memory, rounded to `dtype`. */
export function input(device: Device, dtype: DType, data: ArrayLike<number>): Input {
  if (dtype !== "bfloat16") return { pointer: given(device, dtype, data).pointer, numbers: data };
  const bits = numbersToBfloat16(data);
  return { pointer: given(device, dtype, bits).pointer, numbers: bfloat16ToNumbers(bits) };
}

/** A poisoned output of `length` elements. */
export function output(device: Device, dtype: DType, length: number): Guarded<DType> {
  return wanted(device, dtype, length);
}

/**
 * Compares what a kernel wrote with `expected`.
 *
 * @param tolerance of float32 results; those of bfloat16 are rounded once more, and whole numbers are the same
 * @param sizes what errors are relative to; by default the expected values
 */
export function compareElements(
  result: Guarded<DType>,
  dtype: DType,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
  sizes: ArrayLike<number> = Float64Array.from(expected, Math.abs),
): number {
  const taken = result.take();
  if (dtype === "float32") return assertClose(taken, expected, tolerance, what, sizes);
  if (dtype !== "bfloat16") return assertClose(taken, expected, 0, what);
  // The last place of denormal numbers, which bfloat16 has fewer of than float32.
  const normal = Float64Array.from(sizes, (size) => Math.max(size, 2 ** -126));
  return assertClose(bfloat16ToNumbers(taken), expected, thenBfloat16(tolerance), what, normal);
}
