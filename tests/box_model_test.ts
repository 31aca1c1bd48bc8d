// The trained model in models/box: `transformers` reads it and finds the same (tests/fixtures/record_box_model.py),
// and it carries the outliers that docs/box-model.md describes.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { loadModel, perplexity } from "../mod.ts";
import { EmergenceWatch } from "../src/outliers/emergence.ts";
import { root } from "../tools/project.ts";
import recorded from "./fixtures/box_model.json" with { type: "json" };
import { deviceTest } from "./tensor/on_device.ts";

const folder = `${root}/models/box`;

interface Peak {
	value: number;
	overMean: number;
	position: number;
	channel: number;
}
interface RecordedLayer {
	hidden?: Peak;
	down: Peak;
	shares: number[];
}
const windows = recorded.windows as { tokens: number[]; loss: number; layers: RecordedLayer[] }[];

deviceTest("the model in the box has the ids and the logits that transformers finds", async () => {
	using model = await loadModel(folder);
	const { text, ids, every, logits } = recorded;
	assertEquals(model.tokenizer!.encode(text), ids);
	assertEquals(model.tokenizer!.decode(ids), text);
	const [hidden] = await model.forward([ids]);
	using last = hidden!;
	using row = last.slice(ids.length - 1);
	using found = model.logits(row);
	const values = await found.data();
	assertEquals(Math.ceil(values.length / every), logits.length);
	for (const [i, expected] of logits.entries()) {
		assertAlmostEquals(values[i * every]!, expected, 1e-3);
	}
});

deviceTest("the model in the box predicts text as well as transformers says", async () => {
	using model = await loadModel(folder);
	const tokens = windows.flatMap(({ tokens }) => tokens), window = windows[0]!.tokens.length;
	const found = await perplexity(model, tokens, { window });
	assertEquals(found.losses.length, windows.length);
	for (const [i, loss] of found.losses.entries()) {
		assertAlmostEquals(loss, windows[i]!.loss, 1e-4);
	}
	assertAlmostEquals(found.perplexity / recorded.perplexity, 1, 1e-4);
});

deviceTest("the model in the box has its peaks where transformers finds them", async () => {
	using model = await loadModel(folder);
	const close = (found: number, expected: number, what: string) =>
		assert(Math.abs(found / expected - 1) < 1e-3, `${what}: ${found} is not ${expected}`);
	for (const { tokens, layers } of windows) {
		const watch = new EmergenceWatch();
		const [last] = await model.forward([tokens], { probes: [watch] });
		last!.dispose();
		const found = (await watch.take()).layers;
		assertEquals(found.length, layers.length);
		for (const [i, expected] of layers.entries()) {
			const { hiddenState, downInput, attention } = found[i]!;
			if (expected.hidden) {
				close(hiddenState.max, expected.hidden.value, `layer ${i}'s hidden state`);
				close(
					hiddenState.maxOverMean,
					expected.hidden.overMean,
					`layer ${i}'s hidden state / mean`,
				);
				assertEquals(hiddenState.channel, expected.hidden.channel);
				assertEquals(hiddenState.atFirst, Number(expected.hidden.position === 0));
			}
			close(downInput.max, expected.down.value, `layer ${i}'s down input`);
			assertEquals(downInput.channel, expected.down.channel);
			assertAlmostEquals(attention.strongest, Math.max(...expected.shares), 2e-4);
		}
		// As docs/box-model.md has it; of these windows the weakest head has a share of 0.29.
		const [, second, third] = found;
		assertEquals([second!.downInput.atFirst, second!.downInput.channel], [1, 15]);
		assertEquals([second!.hiddenState.atFirst, second!.hiddenState.channel], [1, 45]);
		assert(second!.downInput.maxOverMean > 100 && second!.hiddenState.maxOverMean > 25);
		assert(third!.attention.rate >= 0.75 && third!.attention.strongest > 0.4);
		assert(third!.attention.valueRatio < 0.25, `${third!.attention.valueRatio}`);
	}
});
