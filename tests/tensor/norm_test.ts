// rmsNorm() on tensors; its numbers are tested with the kernel, in tests/cuda/kernels/norm_test.ts.

import { assertEquals, assertThrows } from "@std/assert";
import { rmsNorm } from "../../src/tensor/norm.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { kernelTest } from "../cuda/kernels/bench.ts";

kernelTest("a row is divided by its root mean square and multiplied by the gain", (device) => {
  // mean(x²) is 4 and 1, ε is 0: the roots are 2 and 1.
  const x = Tensor.from<"float32", 2>(device, "float32", [2, 2], [2, -2, 1, 1]);
  const gain = Tensor.from<"float32", 1>(device, "float32", [2], [1, 3]);
  assertEquals([...rmsNorm(x, gain, 0).dataSync()], [1, -3, 1, 3]);
  const short = Tensor.zeros<"float32", 1>(device, "float32", [1]);
  assertThrows(() => rmsNorm(x, short, 0), RangeError, "the gain must have shape [2], got [1]");
});
