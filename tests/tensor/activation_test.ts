// swiglu() on tensors; its numbers are tested with the kernel, in tests/cuda/kernels/swiglu_test.ts.

import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { swiglu } from "../../src/tensor/activation.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { kernelTest } from "../cuda/kernels/bench.ts";

kernelTest("gate comes first in a row, then up", (device) => {
  const gateUp = Tensor.from<"float32", 2>(device, "float32", [1, 4], [0, 1, 5, 10]);
  const y = swiglu(gateUp), [first, second] = y.dataSync();
  assertEquals([y.shape, first], [[1, 2], 0]);
  assertAlmostEquals(second, 10 / (1 + Math.exp(-1)), 1e-6); // silu(1) · 10
  const odd = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
  assertThrows(() => swiglu(odd), RangeError, "the width 3 of [2,3] is odd");
});
