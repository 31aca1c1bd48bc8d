// gatherRows() on tensors of several types.

import { assertEquals, assertThrows } from "@std/assert";
import { gatherRows } from "../../src/tensor/gather.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { kernelTest } from "../cuda/kernels/bench.ts";

kernelTest("rows come in the order of the indices, in the table's type", (device) => {
  const ids = Tensor.from<"int32", 1>(device, "int32", [3], [2, 0, 2]);
  for (const dtype of ["float32", "bfloat16", "uint8"] as const) {
    const table = Tensor.from<typeof dtype, 2>(device, dtype, [3, 2], [1, 2, 3, 4, 5, 6]);
    const rows = gatherRows(table, ids);
    assertEquals([rows.dtype, rows.shape], [dtype, [3, 2]]);
    assertEquals([...rows.dataSync()], [5, 6, 1, 2, 5, 6]);
  }
  const odd = Tensor.zeros<"uint8", 2>(device, "uint8", [3, 3]);
  assertThrows(() => gatherRows(odd, ids), RangeError, "Cannot gather rows of 3 bytes: odd");
});
