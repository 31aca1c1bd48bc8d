// Tensors: shapes and data in and out, views that share memory, and plain errors for what cannot be.

import { assertEquals, assertThrows } from "@std/assert";
import { checkShape, Tensor } from "../../src/tensor/tensor.ts";
import { kernelTest } from "../cuda/kernels/bench.ts";

kernelTest("data of each type comes back", (device) => {
  const values = [0, 1, 2, 200, 255, 7];
  for (const dtype of ["float32", "float64", "int32", "uint32", "uint8", "bfloat16"] as const) {
    const tensor = Tensor.from(device, dtype, [2, 3], values);
    assertEquals([...tensor.dataSync()], values, dtype);
    assertEquals([tensor.size, tensor.shape], [6, [2, 3]]);
  }
  assertEquals([...Tensor.zeros(device, "int32", [3]).dataSync()], [0, 0, 0]);
  assertEquals(Tensor.zeros(device, "float32", [0, 5]).dataSync().length, 0);
  assertEquals([...Tensor.from(device, "float32", [], [3]).dataSync()], [3]);
});

kernelTest("views share memory and keep it alive", (device) => {
  const before = device.liveBytes;
  const whole = Tensor.from(device, "float32", [4, 2], [0, 1, 2, 3, 4, 5, 6, 7]);
  const rows = whole.slice(1, 3), flat = rows.reshape([4]);
  whole.dispose();
  assertEquals(device.liveBytes, before + 32);
  assertEquals([...flat.dataSync()], [2, 3, 4, 5]);
  assertEquals([...flat.slice(3, 4).dataSync()], [5]);
  assertEquals(rows.slice(1, 1).size, 0);
  device.fill(rows.pointer, 0, 4);
  assertEquals([...flat.dataSync()], [0, 3, 4, 5]);
});

Deno.test("memory is freed with the last view, once", async () => {
  const { openDevice } = await import("../cuda/kernels/bench.ts");
  const device = await openDevice(), before = device.liveBytes;
  const tensor = Tensor.zeros(device, "float32", [4]), view = tensor.reshape([2, 2]);
  tensor.dispose();
  tensor.dispose();
  assertEquals(device.liveBytes, before + 16);
  view[Symbol.dispose]();
  assertEquals(device.liveBytes, before);
  assertEquals([tensor.disposed, view.disposed], [true, true]);
  const error = assertThrows(() => tensor.pointer, ReferenceError);
  assertEquals(
    error.message,
    "Cannot use a float32 tensor of shape [4]: it was freed, by its scope, by `using` or by dispose()",
  );
  for (
    const use of [() => tensor.slice(0, 1), () => tensor.reshape([4]), () => tensor.dataSync()]
  ) {
    assertThrows(use, ReferenceError, "it was freed");
  }
});

kernelTest("shapes that cannot be are refused with both sides", (device) => {
  const message = (run: () => unknown) => assertThrows(run, RangeError).message;
  assertEquals(
    message(() => Tensor.from(device, "float32", [2, 2], [1, 2, 3])),
    "Cannot make a tensor of shape [2,2] from 3 elements: it has 4",
  );
  for (const shape of [[-1], [1.5], [NaN], [2 ** 60]]) {
    assertEquals(
      message(() => Tensor.empty(device, "float32", shape)),
      `Cannot make a tensor of shape [${shape}]: extents must be whole and not negative`,
    );
  }
  const tensor = Tensor.zeros(device, "float32", [3, 2]);
  assertEquals(
    message(() => tensor.reshape([4])),
    "Cannot reshape [3,2] to [4]: 6 elements are not 4",
  );
  for (const [begin, end] of [[-1, 1], [2, 1], [0, 4], [0.5, 1], [0, NaN]]) {
    assertEquals(
      message(() => tensor.slice(begin, end)),
      `Cannot slice ${begin} to ${end} from a tensor of shape [3,2]`,
    );
  }
  assertEquals(
    message(() => checkShape("linear", "the weight", [2, 3], [2, 4])),
    "Cannot compute linear: the weight must have shape [2,4], got [2,3]",
  );
});
