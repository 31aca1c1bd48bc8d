// Scopes free what was made in them and keep what they return.

import { assertEquals, assertThrows } from "@std/assert";
import { scope } from "../../src/tensor/scope.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { kernelTest } from "../cuda/kernels/bench.ts";

kernelTest("a scope frees its tensors, except those it returns, however nested", (device) => {
  const before = device.liveBytes;
  const make = () => Tensor.zeros(device, "uint8", [10]);
  const kept = scope(() => {
    make();
    return { one: make(), list: [make(), { deep: make() }], text: "x", nothing: null };
  });
  assertEquals(device.liveBytes, before + 30);
  assertEquals(kept.one.disposed, false);
  scope(() => {
    const inner = scope(() => make()); // now owned by this scope
    assertEquals(inner.disposed, false);
  });
  assertEquals(device.liveBytes, before + 30);
});

kernelTest("a view that is returned keeps the memory of what was freed", (device) => {
  const view = scope(() => Tensor.from(device, "float32", [3], [1, 2, 3]).slice(1, 3));
  assertEquals([...view.dataSync()], [2, 3]);
});

kernelTest("an error frees everything, and the enclosing scope goes on", (device) => {
  const before = device.liveBytes;
  assertThrows(
    () =>
      scope(() => {
        Tensor.zeros(device, "uint8", [10]);
        throw new Error("stop");
      }),
    Error,
    "stop",
  );
  assertEquals(device.liveBytes, before);
  scope(() => Tensor.zeros(device, "uint8", [1]).dispose()); // freed twice is freed once
  assertEquals(device.liveBytes, before);
});

Deno.test("asynchronous bodies are refused, and cycles in a result do no harm", () => {
  const error = assertThrows(() => scope(() => Promise.resolve(1)), TypeError);
  assertEquals(error.message.startsWith("Cannot run an asynchronous function in a scope"), true);
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  assertEquals(scope(() => cycle), cycle);
});
