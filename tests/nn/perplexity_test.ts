// Perplexity: SmolLM2's is PyTorch's on recorded windows (tests/fixtures/record_perplexity.py), and so are those of
// tiny models (tests/fixtures/record_families.py); what is left out of a text, and refusals.

import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { DEFAULT_TEXT, loadModel, perplexity } from "../../mod.ts";
import { smolLM2Path } from "../model.ts";
import { deviceTest, random } from "../tensor/on_device.ts";
import { randomContents, withModel } from "./tiny_llama.ts";

interface Recorded {
	tokens?: number[];
	window: number;
	perplexity: number;
	losses: number[];
}
const recorded: Recorded = JSON.parse(
	Deno.readTextFileSync(new URL("../fixtures/smollm2_perplexity.json", import.meta.url)),
);

deviceTest("SmolLM2's perplexity is PyTorch's, window by window", async () => {
	using model = await loadModel(smolLM2Path());
	const ids = model.tokenizer.encode(DEFAULT_TEXT.text), { window, losses } = recorded;
	const exact = await perplexity(model, ids, { window });
	assertEquals([exact.window, exact.losses.length], [window, losses.length]);
	for (const [i, loss] of exact.losses.entries()) assertAlmostEquals(loss, losses[i]!, 1e-4);
	assertAlmostEquals(exact.perplexity / recorded.perplexity, 1, 1e-4);
	// Inputs of products rounded at 2⁻⁹ move each window's loss by some thousandths.
	const rounded = await perplexity(model, ids, { window, windows: 2, dtype: "bfloat16" });
	for (const [i, loss] of rounded.losses.entries()) assertAlmostEquals(loss, losses[i]!, 0.03);
});

for (const name of ["gpt2", "llama"]) {
	deviceTest(`a tiny ${name}'s perplexity is PyTorch's, whatever the window`, async () => {
		const folder = new URL(`../fixtures/families/${name}`, import.meta.url).pathname;
		using model = await loadModel(folder);
		const cases: Recorded[] = JSON.parse(await Deno.readTextFile(`${folder}/perplexity.json`));
		assertEquals(cases.map(({ window }) => window), [7, 32]);
		for (const { tokens, window, losses, perplexity: expected } of cases) {
			const found = await perplexity(model, tokens!, { window });
			assertEquals(found.losses.length, losses.length);
			for (const [i, loss] of found.losses.entries()) assertAlmostEquals(loss, losses[i]!, 1e-5);
			assertAlmostEquals(found.perplexity / expected, 1, 1e-5);
		}
	});
}

deviceTest("only whole windows count, each by itself, and progress is told", async () => {
	await withModel(randomContents(), async (model) => {
		const V = model.config.vocabularySize;
		const ids = Array.from({ length: 50 }, () => Math.floor(random() * V));
		const told: [number, number][] = [];
		const all = await perplexity(model, ids, {
			window: 16,
			onProgress: (done, total) => told.push([done, total]),
		});
		assertEquals(told, [1, 2, 3, 4, 5, 6].map((done) => [done, 6]));
		assertEquals(all.losses.length, 3);
		const second = await perplexity(model, ids.slice(16, 32), { window: 16 });
		assertEquals(second.losses, [all.losses[1]]);
		const mean = all.losses.reduce((a, b) => a + b) / 3;
		assertAlmostEquals(all.perplexity, Math.exp(mean), 1e-9);
		assertEquals((await perplexity(model, ids, { window: 16, windows: 2 })).losses.length, 2);
	});
});

deviceTest("too few tokens and windows that cannot be are refused", async () => {
	await withModel(randomContents(), async (model) => {
		const refused = (count: number, window: number, words: string) =>
			assertRejects(
				() => perplexity(model, new Array(count).fill(1), { window }),
				RangeError,
				words,
			);
		await refused(15, 16, "15 tokens do not fill a window of 16");
		await refused(600, 513, "2 to 512 will do");
		await refused(600, 1, "2 to 512 will do");
	});
});
