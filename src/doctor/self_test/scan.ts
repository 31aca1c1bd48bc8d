// Cumulative sums against sums in float64.

import type { Device } from "../../cuda/device.ts";
import { assertClose } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** Compares cumulative sums of random numbers with their definition. */
export function checkScan(
  device: Device,
  random: Random,
  [outer, count, inner]: readonly [number, number, number],
  reverse: boolean,
  by: "rows" | "columns" = inner === 1 ? "rows" : "columns",
  prefix = "",
): number {
  const x = random.normals(outer * count * inner), y = wanted(device, "float32", x.length);
  const expected = new Float64Array(x.length), sizes = new Float64Array(x.length);
  for (let line = 0; line < outer * inner; line++) {
    let sum = 0, size = 0;
    for (let j = 0; j < count; j++) {
      const row = Math.floor(line / inner) * count + (reverse ? count - 1 - j : j);
      const at = row * inner + line % inner;
      expected[at] = sum += x[at]!;
      sizes[at] = size += Math.abs(x[at]!);
    }
  }
  const sizesOf = by === "rows" ? [outer, count] : [outer, count, inner];
  device.kernel(`${prefix}scan_${by}`)
    .overRows(
      outer * inner,
      y.pointer,
      given(device, "float32", x).pointer,
      ...sizesOf,
      reverse ? 1 : 0,
    );
  // Only the lanes of one warp add in float32.
  return assertClose(
    y.take(),
    expected,
    TOLERANCE.sum(32),
    `scan [${outer}, ${count}, ${inner}]`,
    sizes,
  );
}

/** Each kernel of scan.cu. */
export const selfTests: SelfTest[] = (["rows", "columns"] as const).map((by) => ({
  kernels: [`scan_${by}`],
  run: (device, random) => {
    const shape = [7, 301, by === "rows" ? 1 : 67] as const;
    return Math.max(
      checkScan(device, random, shape, false, by),
      checkScan(device, random, shape, true, by),
    );
  },
}));
