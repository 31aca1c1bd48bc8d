// Models that are built: the paper's parameter counts, first values, the same by the same seed, and refusals.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { gpt2, llama, type Transformer } from "../../mod.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

const count = (model: Transformer, without: string[] = []) =>
  [...model.parameters].filter(([name]) => !without.includes(name))
    .reduce((sum, [, { size }]) => sum + size, 0);

const tiny = { layers: 2, heads: 4, hiddenSize: 64, vocabularySize: 512, contextLength: 32 };

deviceTest("gpt2() has the paper's number of parameters", async () => {
  using model = await gpt2();
  assertEquals(count(model, ["positions.weight"]), 123_587_328);
  const sizes = [...model.parameters].map(([name, { size }]) => ({
    size,
    decays: model.decays(name),
  }));
  const decayed = sizes.filter(({ decays }) => decays);
  assertEquals(decayed.length, 50);
  assertEquals(decayed.reduce((sum, { size }) => sum + size, 0), 124_354_560);
  assertEquals(sizes.length - decayed.length, 25);
});

deviceTest("llama() has TinyLLaMA-120M's number of parameters", async () => {
  using model = await llama();
  assertEquals(count(model), 121_129_728);
});

/** Mean and standard deviation. */
async function moments(model: Transformer, name: string): Promise<[number, number]> {
  const values = await model.parameters.get(name)!.numbers();
  const mean = values.reduce((a, b) => a + b) / values.length;
  return [mean, Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length)];
}

deviceTest("first values are spread as the families have them", async () => {
  using small = await gpt2({ ...tiny, bias: true });
  using other = await llama({ ...tiny, keyValueHeads: 2, intermediateSize: 128 });
  const expected: [Transformer, string, number, number][] = [
    [small, "embed.weight", 0, 0.02],
    [small, "positions.weight", 0, 0.02],
    [small, "layers.1.attn.qkv.weight", 0, 0.02],
    [small, "layers.1.attn.output.weight", 0, 0.01],
    [small, "layers.0.mlp.up.weight", 0, 0.02],
    [small, "layers.0.mlp.down.weight", 0, 0.01],
    [small, "layers.0.mlp.down.bias", 0, 0],
    [small, "norm.weight", 1, 0],
    [other, "embed.weight", 0, Math.sqrt(2 / (5 * 64))],
    [other, "layers.1.mlp.gate_up.weight", 0, Math.sqrt(2 / (5 * 64))],
    [other, "layers.1.mlp.down.weight", 0, 1 / Math.sqrt(128) / 2],
    [other, "layers.1.mlp.norm.weight", 1, 0],
  ];
  for (const [model, name, mean, deviation] of expected) {
    const { size } = model.parameters.get(name)!;
    const [m, d] = await moments(model, name);
    assertAlmostEquals(m, mean, 5 * deviation / Math.sqrt(size) + 1e-7, name);
    assertAlmostEquals(d, deviation, 5 * deviation / Math.sqrt(2 * size) + 1e-7, name);
  }
});

deviceTest("the same seed gives the same model, another another", async () => {
  const values = async (seed?: number) => {
    using model = await gpt2({ ...tiny, ...seed !== undefined && { seed } });
    return await model.parameters.get("layers.1.mlp.up.weight")!.numbers();
  };
  const first = await values();
  assertEquals(await values(1337), first);
  assert((await values(2)).every((value, i) => value !== first[i]));
});

deviceTest("numbers that do not go together are refused, and nothing is left", async () => {
  const before = device.liveBytes;
  await assertRejects(
    () => gpt2({ ...tiny, hiddenSize: 30 }),
    RangeError,
    "Cannot build the gpt2 model: its headDimension is 7.5",
  );
  await assertRejects(
    () => llama({ ...tiny, keyValueHeads: 3, intermediateSize: 8 }),
    RangeError,
    "4 heads cannot share 3 key-value heads evenly",
  );
  assertEquals(device.liveBytes, before);
});
