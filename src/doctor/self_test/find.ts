// The first place of a value along the middle axis of [outer, reduced, inner] against a search.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertAllSame, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given } from "./guarded.ts";
import { lines, type Reduced } from "./reduce.ts";
import type { SelfTest } from "./self_test.ts";

/** What `index` holds before: larger than any index, and a repeated byte. */
const NOWHERE = 0x7f7f7f7f;

/** Compares the first place of `value(line)` in each line of x with a search. */
export function checkFind(
  device: Device,
  dtype: FloatType,
  x: ArrayLike<number>,
  shape: Reduced,
  value: (line: number[]) => number,
  by: "rows" | "columns" = shape.inner === 1 ? "rows" : "columns",
  prefix = "",
): number {
  const { outer, reduced, inner, parts } = shape;
  const bits = dtype === "bfloat16" ? numbersToBfloat16(x) : x;
  const each = lines(dtype === "bfloat16" ? bfloat16ToNumbers(bits) : x, shape);
  const targets = each.map(value);
  const expected = each.map((line, i) => {
    const at = line.findIndex((v) => v === targets[i] || (v !== v && targets[i] !== targets[i]));
    return at < 0 ? NOWHERE : at;
  });
  const index = given(device, "int32", Int32Array.from(targets, () => NOWHERE));
  const sizes = by === "rows" ? [outer, reduced] : [outer, reduced, inner];
  device.kernel(`${prefix}find_${by}_${dtype}`).overRows(
    outer * parts * inner,
    index.pointer,
    given(device, dtype, bits).pointer,
    given(device, "float32", targets).pointer,
    ...sizes,
    parts,
  );
  assertAllSame(index.take(), expected, `find in ${by} [${outer}, ${reduced}, ${inner}]`);
  return 0;
}

/** Each kernel of find.cu. */
export const selfTests: SelfTest[] = (["rows", "columns"] as const).flatMap((by) =>
  (["float32", "bfloat16"] as const).map((dtype): SelfTest => ({
    kernels: [`find_${by}_${dtype}`],
    run: (device, random) => {
      const [outer, inner] = by === "rows" ? [33, 1] : [2, 67];
      const shape = { outer, reduced: 301, inner, parts: 3 };
      const x = random.normals(outer * 301 * inner);
      return checkFind(device, dtype, x, shape, (line) => Math.max(...line), by);
    },
  }))
);
