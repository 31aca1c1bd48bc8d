// RMSNorm against float64, over odd widths and rows of very different size. The tolerance is a few
// float32 roundings: each element is a product of three numbers.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { rmsNorm } from "../../src/tensor/norm.ts";
import { assertClose, device, deviceTest, normal, normalMatrix } from "./on_device.ts";

const TOLERANCE = 1e-6;

for (const [rows, columns] of [[1, 1], [3, 31], [17, 65], [5, 576], [130, 33]] as const) {
  deviceTest(`rmsNorm of [${rows},${columns}] scales each row to mean square 1`, async () => {
    const { data, tensor } = normalMatrix(rows, columns);
    tensor.dispose();
    for (let i = 0; i < data.length; i++) data[i] *= 10 ** (Math.floor(i / columns) % 7 - 3);
    const gain = normal(columns);
    using x = Tensor.from<"float32", 2>(device, "float32", [rows, columns], data);
    using g = Tensor.from<"float32", 1>(device, "float32", [columns], gain);
    using y = rmsNorm(x, g, 1e-5);
    assertEquals([...y.shape], [rows, columns]);
    const actual = await y.data();
    for (let t = 0; t < rows; t++) {
      const row = Float64Array.from(data.subarray(t * columns, (t + 1) * columns));
      const square = row.reduce((sum, value) => sum + value ** 2, 0) / columns;
      const expected = row.map((value, i) => value / Math.sqrt(square + 1e-5) * gain[i]);
      const found = actual.subarray(t * columns, (t + 1) * columns);
      assertClose(found, expected, TOLERANCE, `row ${t}`);
    }
  });
}

deviceTest("rmsNorm of zeros is zero, by its ε", async () => {
  using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
  using g = Tensor.from<"float32", 1>(device, "float32", [5], [1, 2, 3, 4, 5]);
  using y = rmsNorm(x, g, 1e-6);
  assertEquals((await y.data()).every((value) => value === 0), true);
});

deviceTest("a gain of another width is refused with both shapes", () => {
  using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
  using g = Tensor.zeros<"float32", 1>(device, "float32", [4]);
  assertThrows(
    () => rmsNorm(x, g, 1e-6),
    RangeError,
    "Cannot compute rmsNorm: the gain must have shape [5], got [4]",
  );
});
