// The linear map against sums in float64, in both weight types. Tolerances are of max|y|: a float32 sum of
// n terms of random sign errs by about √n · 2⁻²⁴ of its size; bfloat16 inputs are rounded in the reference
// too, so that only the order of the same float32 sum differs.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { cast } from "../../src/tensor/cast.ts";
import { addLinear, linear } from "../../src/tensor/linear.ts";
import { assertClose, device, deviceTest, normalMatrix, roundToBfloat16 } from "./on_device.ts";

const TOLERANCE = 3e-6;

function reference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  [rows, inner, columns]: readonly [number, number, number],
): Float64Array {
  const y = new Float64Array(rows * columns);
  for (let t = 0; t < rows; t++) {
    for (let o = 0; o < columns; o++) {
      for (let i = 0; i < inner; i++) y[t * columns + o] += x[t * inner + i] * w[o * inner + i];
    }
  }
  return y;
}

// rows (tokens), inner, columns: one of each, odd ones, ones beside a power of two
const SIZES = [[1, 1, 1], [1, 576, 3], [5, 7, 11], [33, 65, 17], [127, 129, 31], [
  3,
  1,
  130,
]] as const;

for (const size of SIZES) {
  const [rows, inner, columns] = size;
  deviceTest(
    `linear and addLinear of ${rows}×${inner} by ${columns}×${inner} are x·Wᵀ`,
    async () => {
      const x = normalMatrix(rows, inner);
      const w = normalMatrix(columns, inner);
      const start = normalMatrix(rows, columns);
      using xt = x.tensor;
      using wt = w.tensor;
      using sum = start.tensor;
      const expected = reference(x.data, w.data, size);
      using y = linear(xt, wt);
      assertEquals([...y.shape], [rows, columns]);
      assertClose(await y.data(), expected, TOLERANCE, "float32");
      addLinear(sum, xt, wt);
      const added = expected.map((value, i) => value + start.data[i]);
      assertClose(await sum.data(), added, TOLERANCE, "float32, added");

      using half = cast(wt, "bfloat16");
      const rounded = reference(x.data.map(roundToBfloat16), w.data.map(roundToBfloat16), size);
      using z = linear(xt, half);
      assertEquals(z.dtype, "float32");
      assertClose(await z.data(), rounded, TOLERANCE, "bfloat16");
      addLinear(z, xt, half);
      assertClose(await z.data(), rounded.map((value) => 2 * value), TOLERANCE, "bfloat16, added");
      assertClose(await xt.data(), x.data, 0, "x is left as it was");
    },
  );
}

deviceTest("two products of the same operands are identical to the bit", async () => {
  using x = normalMatrix(70, 130).tensor;
  using w = normalMatrix(45, 130).tensor;
  using first = linear(x, w);
  using second = linear(x, w);
  assertEquals(await first.data(), await second.data());
});

deviceTest("shapes that do not fit are refused with both, and nothing is left behind", () => {
  using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
  using w = Tensor.zeros<"float32", 2>(device, "float32", [5, 4]);
  using fitting = Tensor.zeros<"float32", 2>(device, "float32", [5, 3]);
  const before = device.liveBytes;
  assertThrows(
    () => linear(x, w),
    RangeError,
    "Cannot compute linear: the weight must have shape [5,3], got [5,4]",
  );
  assertThrows(
    () => addLinear(w, x, fitting),
    RangeError,
    "Cannot compute addLinear: the sum must have shape [2,5], got [5,4]",
  );
  assertThrows(
    () => addLinear(w, x, w),
    RangeError,
    "Cannot compute addLinear: the weight must have shape [5,3], got [5,4]",
  );
  assertEquals(device.liveBytes, before);
});
