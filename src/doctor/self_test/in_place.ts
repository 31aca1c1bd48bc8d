// Changes in place against the same sum and product in float64.

import type { Device } from "../../cuda/device.ts";
import type { DType, FloatType } from "../../tensor/dtype.ts";
import { compareElements, input } from "./elementwise.ts";
import { type Guarded, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** Compares y += x, and then y *= factor, with the formulas. */
export function checkInPlace(
  device: Device,
  random: Random,
  dtype: FloatType,
  count: number,
  prefix = "",
): number {
  const x = input(device, dtype, random.normals(count)),
    before = input(device, dtype, random.normals(count));
  const results = ["add", "mul"].map((name): Guarded<DType> => {
    const y = wanted(device, dtype, count), bytes = count * (dtype === "float32" ? 4 : 2);
    device.copy(y.pointer, before.pointer, bytes);
    const operand = name === "add" ? x.pointer : -1.25;
    device.kernel(`${prefix}in_place_${name}_${dtype}`)
      .overElements(count, y.pointer, operand, count);
    return y;
  });
  const y = Float64Array.from(before.numbers), tolerance = TOLERANCE.elementwise(1);
  return Math.max(
    compareElements(results[0]!, dtype, y.map((y, i) => y + x.numbers[i]!), tolerance, "y += x"),
    compareElements(results[1]!, dtype, y.map((y) => y * -1.25), tolerance, "y *= factor"),
  );
}

/** Each kernel of in_place.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).map((dtype) => ({
  kernels: [`in_place_add_${dtype}`, `in_place_mul_${dtype}`],
  run: (device, random) => checkInPlace(device, random, dtype, 5003),
}));
