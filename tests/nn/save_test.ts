// Saved models are what they were when they are loaded again, in every family's format; what has no place in it is
// refused, and nothing is left of a folder that cannot be written.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { gpt2, llama, loadModel, saveModel, type Tensor, type Transformer } from "../../mod.ts";
import { fromBfloat16, toBfloat16 } from "../../src/tensor/bfloat16.ts";
import { deviceTest } from "../tensor/on_device.ts";

const families = new URL("../fixtures/families", import.meta.url).pathname;
const names = [...Deno.readDirSync(families)].filter(({ isDirectory }) => isDirectory)
	.map(({ name }) => name).sort();

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
	const folder = await Deno.makeTempDir();
	try {
		await use(folder);
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
}

async function hidden(model: Transformer): Promise<Float32Array> {
	const [h] = await model.forward([[1, 5, 3, 2, 8, 13]]);
	using last = h;
	return await last.data();
}

for (const name of names) {
	deviceTest(`${name} is the same after it was saved and loaded`, async () => {
		await inFolder(async (folder) => {
			using model = await loadModel(`${families}/${name}`, { resident: "float32" });
			await saveModel(model, `${folder}/model`);
			using again = await loadModel(`${folder}/model`);
			assertEquals(again.config, model.config);
			assertEquals(await hidden(again), await hidden(model));
		});
	});
}

const tiny = { layers: 2, heads: 4, hiddenSize: 32, vocabularySize: 61, contextLength: 16 };
for (
	const [name, build] of Object.entries({
		"gpt2() without biases": () => gpt2(tiny),
		"gpt2() with biases": () => gpt2({ ...tiny, bias: true }),
		"llama()": () => llama({ ...tiny, keyValueHeads: 2, intermediateSize: 48 }),
		"llama() with a tied output": () => llama({ ...tiny, intermediateSize: 48, tied: true }),
	})
) {
	deviceTest(`${name} is the same after it was saved and loaded`, async () => {
		await inFolder(async (folder) => {
			using model = await build();
			await saveModel(model, folder);
			assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
				"config.json",
				"model.safetensors",
			]);
			using again = await loadModel(folder);
			assertEquals(await hidden(again), await hidden(model));
		});
	});
}

deviceTest("a model is saved in another type than its parameters have", async () => {
	await inFolder(async (folder) => {
		using model = await llama({ ...tiny, keyValueHeads: 2, intermediateSize: 48 });
		await saveModel(model, `${folder}/half`, { dtype: "bfloat16" });
		using half = await loadModel(`${folder}/half`, { resident: "bfloat16" });
		await saveModel(half, `${folder}/whole`, { dtype: "float32" });
		assertEquals(half.parameters.get("embed.weight")!.dtype, "bfloat16");
		using whole = await loadModel(`${folder}/whole`, { resident: "float32" });
		for (const [name, parameter] of model.parameters) {
			const values = await (parameter as Tensor<"float32">).data();
			assertEquals(
				await (whole.parameters.get(name) as Tensor<"float32">).data(),
				values.map((value) => fromBfloat16(toBfloat16(value))),
				name,
			);
		}
		const size = (name: string) => Deno.statSync(`${folder}/${name}/model.safetensors`).size;
		assert(size("half") < 0.7 * size("whole"));
	});
});

deviceTest("what cannot be saved is refused", async () => {
	using streamed = await loadModel(`${families}/gpt2`);
	await assertRejects(() => saveModel(streamed, "/proc/never"), Error, "resident");
	using model = await gpt2(tiny);
	await assertRejects(() => saveModel(model, "/proc/never"), Error);
});
