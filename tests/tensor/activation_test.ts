// SwiGLU against float64, also where e^(-z) overflows or vanishes.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { swiglu } from "../../src/tensor/activation.ts";
import { assertClose, device, deviceTest, normalMatrix } from "./on_device.ts";

/** The polynomial e^x of the kernels errs by about 2⁻²³, and three roundings follow. */
const TOLERANCE = 5e-7;

const silu = (z: number) => z / (1 + Math.exp(-z));

for (const [rows, width] of [[1, 1], [3, 33], [65, 7], [4, 1536]] as const) {
  deviceTest(`swiglu of [${rows},${2 * width}] is silu(gate) · up`, async () => {
    const { data, tensor } = normalMatrix(rows, 2 * width, 4);
    using x = tensor;
    using y = swiglu(x);
    assertEquals([...y.shape], [rows, width]);
    const expected = Float64Array.from({ length: rows * width }, (_, i) => {
      const at = Math.floor(i / width) * 2 * width + i % width;
      return silu(data[at]) * data[at + width];
    });
    assertClose(await y.data(), expected, TOLERANCE, "swiglu");
  });
}

deviceTest("swiglu is finite at the ends: 0 far below, the product far above", async () => {
  const gate = [-1000, -100, -88, 0, 88, 100, 1000];
  using x = Tensor.from<"float32", 2>(device, "float32", [1, 14], [...gate, ...gate.map(() => 2)]);
  using y = swiglu(x);
  const actual = await y.data();
  const expected = gate.map((z) => 2 * silu(z));
  expected.forEach((value, i) =>
    assertClose([actual[i]], [value], Math.abs(value) < 1e-30 ? 1 : TOLERANCE, `gate ${gate[i]}`)
  );
});

deviceTest("an odd width has no gate and up", () => {
  using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
  assertThrows(() => swiglu(x), RangeError, "Cannot compute swiglu: the width 5 of [2,5] is odd");
});
