// Taps by name: a probe gets those it names, of one layer or of any.

import { assertEquals } from "@std/assert";
import { type Probe, type TapContext, Tensor } from "../../mod.ts";
import { Probes } from "../../src/nn/probe.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

class Names implements Probe {
  readonly seen: TapContext[] = [];
  constructor(readonly taps: readonly string[]) {}
  receive(_: Tensor<"float32">, context: TapContext): void {
    this.seen.push(context);
  }
}

deviceTest("a tap goes to the probes that name it, by layer or by `*`", () => {
  using tensor = Tensor.zeros<"float32", 1>(device, "float32", [1]);
  const any = new Names(["layers.*.output", "embed"]);
  const one = new Names(["layers.12.output"]);
  const other = new Names(["layers.*.mlp.down.input"]);
  const probes = new Probes([any, one, other]);
  probes.emit("embed", tensor, -1, 3);
  probes.emit("output", tensor, 1, 0);
  probes.emit("output", tensor, 12, 2);
  assertEquals(any.seen, [
    { name: "embed", layer: -1, sequence: 3 },
    { name: "layers.1.output", layer: 1, sequence: 0 },
    { name: "layers.12.output", layer: 12, sequence: 2 },
  ]);
  assertEquals(one.seen, [{ name: "layers.12.output", layer: 12, sequence: 2 }]);
  assertEquals(other.seen, []);
});

Deno.test("wants() says whether a tap is worth computing", () => {
  const probes = new Probes([new Names(["layers.*.attn.v", "layers.3.output", "embed"])]);
  assertEquals([0, 3, 12].map((layer) => probes.wants("attn.v", layer)), [true, true, true]);
  assertEquals([2, 3, 30].map((layer) => probes.wants("output", layer)), [false, true, false]);
  assertEquals([probes.wants("embed"), probes.wants("embed", 0)], [true, false]);
  assertEquals(new Probes([]).wants("embed"), false);
});
