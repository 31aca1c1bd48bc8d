// Generation: transformers' greedy tokens for every family, the same with and without what came before in one pass,
// the same draws by the same seed, and refusals.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	ConfigError,
	generate,
	KeyValueCache,
	loadModel,
	Safetensors,
	type Transformer,
} from "../../mod.ts";
import { deviceTest, difference } from "../tensor/on_device.ts";

const folder = new URL("../fixtures/families", import.meta.url).pathname;
const sequences: number[][] = JSON.parse(Deno.readTextFileSync(`${folder}/sequences.json`));
const names = [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory)
	.map(({ name }) => name).filter((name) => !name.startsWith("bert")).sort();

const collect = (model: Transformer, prompt: number[], options = {}) =>
	Array.fromAsync(generate(model, prompt, options));

for (const name of names) {
	deviceTest(`${name} writes the tokens that transformers writes`, async () => {
		using recorded = await Safetensors.open(`${folder}/${name}/recorded.safetensors`);
		const expected = [...new Int32Array(recorded.read("greedy").buffer)];
		const prompt = sequences[1], maxTokens = expected.length - prompt.length;
		using model = await loadModel(`${folder}/${name}`, { resident: "float32" });
		assertEquals(await collect(model, prompt, { maxTokens }), expected.slice(prompt.length));
	});
}

for (const name of ["gpt2", "mistral", "mpt"]) {
	deviceTest(`${name} in steps gives the logits of one pass`, async () => {
		const [tokens] = sequences;
		using model = await loadModel(`${folder}/${name}`);
		const [h] = await model.forward([tokens]);
		using hidden = h;
		using last = hidden.slice(tokens.length - 1);
		using whole = model.logits(last);
		using cache = new KeyValueCache(tokens.length);
		for (const [begin, end] of [[0, 4], [4, 5], [5, 12]]) {
			using _ = model.nextLogits(tokens.slice(begin, end), cache);
		}
		using steps = model.nextLogits(tokens.slice(12), cache);
		assertEquals(cache.tokens, tokens.length);
		assert(difference(steps.dataSync(), whole.dataSync()).largest < 1e-5);
	});
}

deviceTest("the same seed draws the same tokens, another another", async () => {
	using model = await loadModel(`${folder}/llama`, { resident: "bfloat16" });
	const draw = (seed: number, options = {}) =>
		collect(model, [5], { maxTokens: 24, temperature: 3, seed, dtype: "bfloat16", ...options });
	const first = await draw(1);
	assertEquals(first.length, 24);
	assertEquals(await draw(1), first);
	assert((await draw(2)).some((token, i) => token !== first[i]));
	assertEquals(await draw(1, { topK: 1 }), await draw(2, { temperature: 0 }));
	assertEquals(await draw(1, { stop: [first[3]] }), first.slice(0, first.indexOf(first[3]) + 1));
});

/** Runs `use` with a model that has a generation_config.json. */
async function withGeneration(settings: object, use: (path: string) => Promise<void>) {
	const path = await Deno.makeTempDir();
	try {
		for (const { name } of Deno.readDirSync(`${folder}/gpt2`)) {
			await Deno.copyFile(`${folder}/gpt2/${name}`, `${path}/${name}`);
		}
		await Deno.writeTextFile(`${path}/generation_config.json`, JSON.stringify(settings));
		await use(path);
	} finally {
		await Deno.remove(path, { recursive: true });
	}
}

deviceTest("generation_config.json says what the user does not", async () => {
	using plain = await loadModel(`${folder}/gpt2`);
	const greedy = await collect(plain, [5], { maxTokens: 12 });
	const sampled = (options: object) => collect(plain, [5], { maxTokens: 12, seed: 3, ...options });
	await withGeneration({ eos_token_id: [greedy[2], 60] }, async (path) => {
		using model = await loadModel(path);
		const first = greedy.indexOf(greedy[2]!) + 1;
		assertEquals(await collect(model, [5], { maxTokens: 12 }), greedy.slice(0, first));
		assertEquals(await collect(model, [5], { maxTokens: 12, stop: [] }), greedy);
	});
	const settings = { do_sample: true, temperature: 2.5, top_k: 20, top_p: 0.9, eos_token_id: null };
	await withGeneration(settings, async (path) => {
		using model = await loadModel(path);
		assertEquals(model.generation, { stop: [], temperature: 2.5, topK: 20, topP: 0.9 });
		const drawn = await collect(model, [5], { maxTokens: 12, seed: 3 });
		assertEquals(drawn, await sampled({ temperature: 2.5, topK: 20, topP: 0.9 }));
		assert(drawn.some((token, i) => token !== greedy[i]));
		assertEquals(await collect(model, [5], { maxTokens: 12, temperature: 0 }), greedy);
	});
	// Without do_sample a temperature is for those who ask to sample, as transformers has it.
	await withGeneration({ temperature: 2.5, eos_token_id: 60 }, async (path) => {
		using model = await loadModel(path);
		assertEquals(model.generation, { stop: [60] });
	});
	await withGeneration({ do_sample: true }, async (path) => {
		using model = await loadModel(path);
		assertEquals(model.generation, { stop: [], temperature: 1, topK: 50 });
	});
	for (const wrong of [{ top_p: 2 }, { eos_token_id: "end" }, { do_sample: 1 }]) {
		await withGeneration(wrong, async (path) => {
			await assertRejects(() => loadModel(path), ConfigError, "generation_config.json");
		});
	}
});

deviceTest("what does not fit is refused", async () => {
	using model = await loadModel(`${folder}/gpt2`);
	const refused = (prompt: number[], options: object, words: string) =>
		assertRejects(() => collect(model, prompt, options), RangeError, words);
	await refused([], { maxTokens: 3 }, "there must be a prompt");
	await refused([1, 2], { maxTokens: 31 }, "the model's context is 32");
	await refused([1], { maxTokens: -1 }, "a whole number is needed");
	await refused([1], { temperature: -1 }, "Cannot sample with temperature -1");
	await refused([99], { maxTokens: 3 }, "token id 99 is not in 0 to 60");
	const stopped = AbortSignal.abort(new Error("enough"));
	await assertRejects(
		() => collect(model, [1], { maxTokens: 3, signal: stopped }),
		Error,
		"enough",
	);
	using bert = await loadModel(`${folder}/bert`);
	await assertRejects(() => collect(bert, [1], { maxTokens: 3 }), RangeError, "is an encoder");
});
