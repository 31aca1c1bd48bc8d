// The study of sequence length: keys of each layer against NumPy, what is summed up of them, and other lengths.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { beginnings, LENGTH_SENTENCES, loadModel, studySequenceLength } from "../../mod.ts";
import { smolLM2Path } from "../model.ts";
import { deviceTest } from "../tensor/on_device.ts";
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { assertNear, lab, openRecorded, recordedLab } from "./lab.ts";

const { sequences, cases } = lab["lab/planted"]!;

deviceTest("keys by layer are NumPy's, and are summed up over the layers that count", async () => {
	const { hiddenState } = cases.visible!;
	const definition = { ...cases.visible!.definition, visibleShare: 0.22 };
	using model = await openRecorded("lab/planted");
	const found = await studySequenceLength(model, sequences, { definition });
	const firsts = hiddenState.tokens!.flatMap(({ firstLayer }) => firstLayer ?? []);
	assertEquals(found.fromLayer, Math.min(...firsts) + 1);
	assertEquals(found.countedLayers, 4 - found.fromLayer);
	let compared = 0, halves = 0;
	for (const fromLayer of [found.fromLayer, 0, 2]) {
		const { texts, countedLayers } = await studySequenceLength(model, sequences, {
			definition,
			fromLayer,
		});
		assertEquals(countedLayers, 4 - fromLayer);
		for (const [i, text] of texts.entries()) {
			const recorded = recordedLab.keysByLayer[i]!;
			assertEquals(
				text.byLayer,
				recorded.map((keys, layer) => ({ layer, tokens: keys.map(([key]) => key) })),
			);
			for (const { token, layers, persistent, visibleShare, share } of text.keys) {
				const own = recorded.slice(fromLayer).flat().filter(([key]) => key === token);
				assertEquals([layers, persistent], [own.length, own.length >= countedLayers / 2]);
				const mean = (at: 1 | 2) => own.reduce((sum, row) => sum + row[at], 0) / own.length;
				assertNear(visibleShare, mean(1), "the visible share");
				assertNear(share, mean(2), "the share");
				compared++;
				if (own.length === countedLayers / 2) halves++;
			}
			const keys = new Set(recorded.slice(fromLayer).flat().map(([key]) => key));
			assertEquals(new Set(text.keys.map(({ token }) => token)), keys);
		}
	}
	assert(compared > 15 && halves > 0);
	for (const [i, { kept, gained, lost }] of found.changes.entries()) {
		const persistent = [i, i + 1].map((text) =>
			found.texts[text]!.keys.filter((key) => key.persistent).map(({ token }) => token)
				.sort((a, b) => a - b)
		);
		assertEquals([...kept, ...lost].sort((a, b) => a - b), persistent[0]);
		assertEquals([...kept, ...gained].sort((a, b) => a - b), persistent[1]);
	}
	assertEquals(JSON.parse(JSON.stringify(found)), found);
});

deviceTest("without an outlier of h all layers count, and the layer can be given", async () => {
	using model = await openRecorded("lab/planted");
	const definition = { attentionRule: "visible share" } as const; // τ = 1000
	const found = await studySequenceLength(model, [[5], [5, 8]], { definition });
	assertEquals([found.fromLayer, found.countedLayers], [0, 4]);
	assertEquals(
		found.texts[0]!.keys.map(({ token, layers, visibleShare }) => [token, layers, visibleShare]),
		[
			[0, 4, 1],
		],
	);
	assertEquals([found.texts[0]!.uniform, found.texts[1]!.uniform], [1, 0.75]);
	const last = await studySequenceLength(model, [[5]], { fromLayer: 3 });
	assertEquals([last.fromLayer, last.countedLayers, last.texts[0]!.keys[0]!.layers], [3, 1, 1]);
	await assertRejects(
		() => studySequenceLength(model, [[5]], { fromLayer: 4 }),
		RangeError,
		"Cannot begin at layer 4: the model has 0 to 3",
	);
});

deviceTest("beginnings of a text are its first tokens", async () => {
	await withModel(randomContents(), (model) => {
		const all = model.tokenizer.encode("quick brown");
		const found = beginnings(model, "quick brown", [1, 3, 1000]);
		assertEquals(found.map(({ tokenIds }) => tokenIds), [all.slice(0, 1), all.slice(0, 3)]);
		assertEquals(found[1]!.source, "text, 3 tokens");
	});
});

deviceTest(
	"SmolLM2 has its outlier on the first word of all four sentences of the paper",
	async () => {
		using model = await loadModel(smolLM2Path());
		const { texts, fromLayer } = await studySequenceLength(model);
		assertEquals(texts.map(({ source }) => source), LENGTH_SENTENCES.map(({ source }) => source));
		assertEquals(fromLayer, 12);
		for (const { keys } of texts) {
			assertEquals(keys.filter((key) => key.persistent).map(({ text }) => text), ["Summer"]);
			assertEquals([keys[0]!.layers, keys[0]!.class], [18, "initial token"]);
		}
	},
);
