// Rows of a table by index, of every dtype, repeated and in any order.

import { assertEquals } from "@std/assert";
import { type DType, Tensor } from "../../mod.ts";
import { gatherRows } from "../../src/tensor/gather.ts";
import { device, deviceTest, random } from "./on_device.ts";

const dtypes: DType[] = ["float64", "float32", "bfloat16", "int32", "uint32", "uint8"];

for (const [rows, columns, count] of [[1, 2, 3], [61, 33, 13], [7, 578, 100], [5, 2, 0]] as const) {
  deviceTest(`${count} rows of ${columns} are gathered from ${rows} in every dtype`, async () => {
    const ids = Array.from({ length: count }, () => Math.floor(random() * rows));
    using at = Tensor.from<"int32", 1>(device, "int32", [count], ids);
    for (const dtype of dtypes) {
      const data = Array.from({ length: rows * columns }, () => Math.floor(random() * 256));
      using table = Tensor.from<DType, 2>(device, dtype, [rows, columns], data);
      using y = gatherRows(table, at);
      assertEquals([y.dtype, ...y.shape], [dtype, count, columns]);
      const expected = ids.flatMap((id) => data.slice(id * columns, (id + 1) * columns));
      assertEquals([...await y.data()], expected, dtype);
    }
  });
}

deviceTest("an id beyond the table gives a row of NaN", async () => {
  using table = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
  using at = Tensor.from<"int32", 1>(device, "int32", [3], [-1, 1, 2]);
  using y = gatherRows(table, at);
  assertEquals([...await y.data()], [NaN, NaN, NaN, 0, 0, 0, NaN, NaN, NaN]);
});
