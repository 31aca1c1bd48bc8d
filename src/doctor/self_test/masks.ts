// Masks and biases of attention against their definitions, element by element.

import type { Device } from "../../cuda/device.ts";
import { assertAllSame, assertClose } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** Compares a mask of [queries, keys] with what each query sees; no window is 0. */
export function checkMask(
  device: Device,
  [queries, keys, first, window]: readonly number[],
  dtype: "uint8" | "float32",
  prefix = "",
): number {
  const y = wanted(device, dtype, queries * keys);
  device.kernel(`${prefix}causal_mask_${dtype}`)
    .overRows(queries, y.pointer, queries, keys, first, window);
  const [yes, no] = dtype === "uint8" ? [1, 0] : [0, -Infinity];
  const expected = Float64Array.from({ length: queries * keys }, (_, at) => {
    const before = first + Math.floor(at / keys) - at % keys;
    return before >= 0 && (window === 0 || before < window) ? yes : no;
  });
  assertAllSame(y.take(), expected, `mask [${queries}, ${keys}] from ${first}, window ${window}`);
  return 0;
}

/** Compares biases of random slopes with their formula. */
export function checkAlibi(
  device: Device,
  random: Random,
  [heads, queries, keys, first]: readonly number[],
  prefix = "",
): number {
  const slopes = random.normals(heads), factors = given(device, "float32", slopes);
  const y = wanted(device, "float32", heads * queries * keys);
  device.kernel(`${prefix}alibi_bias`)
    .overRows(heads * queries, y.pointer, factors.pointer, heads, queries, keys, first);
  const expected = Float64Array.from({ length: heads * queries * keys }, (_, at) => {
    const query = first + Math.floor(at / keys) % queries;
    return -slopes[Math.floor(at / keys / queries)] * Math.abs(query - at % keys);
  });
  const what = `biases [${heads}, ${queries}, ${keys}] from ${first}`;
  return assertClose(y.take(), expected, TOLERANCE.elementwise(1), what);
}

/** Each kernel of masks.cu. */
export const selfTests: SelfTest[] = [
  ...(["uint8", "float32"] as const).map((dtype): SelfTest => ({
    kernels: [`causal_mask_${dtype}`],
    run: (device) => checkMask(device, [33, 129, 96, 17], dtype),
  })),
  {
    kernels: ["alibi_bias"],
    run: (device, random) => checkAlibi(device, random, [5, 33, 65, 32]),
  },
];
