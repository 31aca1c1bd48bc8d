// cast() on tensors; its numbers are tested with the kernel, in tests/cuda/kernels/cast_test.ts.

import { assertEquals, assertThrows } from "@std/assert";
import { cast } from "../../src/tensor/cast.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { kernelTest } from "../cuda/kernels/bench.ts";

kernelTest("there and back rounds to bfloat16 and keeps the shape", (device) => {
  const x = Tensor.from<"float32", 2>(device, "float32", [1, 3], [1, -2.5, 1 + 2 ** -7 + 2 ** -12]);
  const y = cast(x, "bfloat16"), back = cast(y, "float32");
  assertEquals([y.dtype, y.shape, back.dtype], ["bfloat16", [1, 3], "float32"]);
  assertEquals([...back.dataSync()], [1, -2.5, 1 + 2 ** -7]);
  assertEquals(cast(Tensor.zeros<"float32", 1>(device, "float32", [0]), "bfloat16").size, 0);
  const same = x as unknown as Tensor<"bfloat16", 2>;
  assertThrows(() => cast(same, "float32"), TypeError, "the tensor is float32 already");
});
