// y = x · Wᵀ and y += x · Wᵀ, with float32 and bfloat16 weights.

import { assertThrows } from "@std/assert";
import { addLinear, linear, type Weight } from "../../src/tensor/linear.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import {
  assertClose,
  bfloat16ToNumbers,
  kernelTest,
  numbersToBfloat16,
} from "../cuda/kernels/bench.ts";
import { TOLERANCE } from "../tolerance.ts";

kernelTest("linear equals the sums, and addLinear adds them", (device, random) => {
  for (const dtype of ["float32", "bfloat16"] as const) {
    for (const [rows, columns, inner] of [[1, 1, 1], [3, 33, 65], [31, 2, 577]]) {
      const xs = random.normals(rows * inner), ws = random.normals(columns * inner);
      const bits = numbersToBfloat16(ws), rounded = dtype === "bfloat16";
      const [a, b] = rounded ? [numbersToBfloat16(xs), bits].map(bfloat16ToNumbers) : [xs, ws];
      const x = Tensor.from<"float32", 2>(device, "float32", [rows, inner], xs);
      const weight = Tensor.from(device, dtype, [columns, inner], rounded ? bits : ws) as Weight;
      const expected = new Float64Array(rows * columns), sizes = new Float64Array(rows * columns);
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          for (let k = 0; k < inner; k++) {
            const product = a[r * inner + k] * b[c * inner + k];
            expected[r * columns + c] += product;
            sizes[r * columns + c] += Math.abs(product);
          }
        }
      }
      const y = linear(x, weight), what = `${dtype} [${rows}, ${columns}, ${inner}]`;
      assertClose(y.dataSync(), expected, TOLERANCE.product(inner), what, sizes);
      addLinear(y, x, weight);
      const twice = expected.map((value) => 2 * value);
      assertClose(y.dataSync(), twice, 2 * TOLERANCE.product(inner), `${what} added`, sizes);
    }
  }
});

kernelTest("shapes that do not fit are refused by name", (device) => {
  const of = (rows: number, columns: number) =>
    Tensor.zeros<"float32", 2>(device, "float32", [rows, columns]);
  assertThrows(
    () => linear(of(2, 3), of(4, 5)),
    RangeError,
    "the weight must have shape [4,3], got [4,5]",
  );
  assertThrows(
    () => addLinear(of(2, 5), of(2, 3), of(4, 3)),
    RangeError,
    "the result must have shape [2,4], got [2,5]",
  );
});
