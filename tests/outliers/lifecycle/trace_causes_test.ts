// The links of a planted outlier's life: taking its weight away takes all that follows, and a control takes nothing.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
	ablate,
	loadModel,
	PAPER_SENTENCE,
	traceCauses,
	traceDisappearance,
	traceEmergence,
	traceSpread,
} from "../../../mod.ts";
import { smolLM2Path } from "../../model.ts";
import { withModel } from "../../nn/tiny_llama.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { family, planted, tokenIds } from "./recorded.ts";

const TEXTS = ["xyzuvw quick brown fox", "the and xyz"];

deviceTest("a planted weight causes the outlier and what follows, random ones do not", async () => {
	await withModel(planted(), async (model) => {
		const sequences = TEXTS.map((text) => model.tokenizer.encode(text));
		const { layer, features, links, tokens } = await traceCauses(model, sequences, {
			tau: 20,
			controls: 2,
			tokens: [0],
			features: [9],
		});
		assertEquals([layer, features, tokens], [1, [9], [0]]);
		assertEquals(links.map(({ removed }) => removed), ["weight", "activation", "attention"]);
		const [weight, activation, attention] = links as [
			typeof links[0],
			typeof links[0],
			typeof links[0],
		];
		assertEquals(weight.ablation.interventions, [
			{ tap: "layers.1.mlp.down.weight", entries: [[9, 40]] },
		]);
		assert(weight.without.hiddenState < weight.clean.hiddenState / 20);
		assert(weight.control!.hiddenState > weight.clean.hiddenState * 0.9);
		assert(weight.without.change > 2 * weight.control!.change);
		for (const { clean } of links) assertEquals(clean, weight.clean);
		// Every token has the planted outlier; of the first alone it is taken.
		assertEquals(activation.ablation.ablated.entries, 2);
		assertEquals(attention.ablation.interventions.map(({ tap }) => tap), [
			"layers.2.attn.v",
			"layers.3.attn.v",
		]);
		assert(attention.without.change > 0 && attention.without.hiddenState > 0);
		assertAlmostEquals(attention.without.valueRatio!, 0, 1e-6); // that of layers 2 and 3
		// The numbers are those of the interventions by themselves.
		const alone = await ablate(model, sequences, {
			interventions: weight.ablation.interventions,
			controls: 2,
			tokens: [0],
		});
		assertEquals(weight.ablation, alone);
		assertEquals(weight.without.loss, alone.ablated.loss!.mean);
	});
});

deviceTest(
	"every trace tells each layer of each pass, also where others were made before",
	async () => {
		await withModel(planted(), async (model) => {
			const ids = model.tokenizer.encode(TEXTS[0]!), { layers } = model.config;
			const emergence = await traceEmergence(model, ids), { ledger } = emergence;
			type Told = { onProgress: (done: number, total: number) => void };
			const traces: [number, (told: Told) => Promise<unknown>][] = [
				...[traceEmergence, traceSpread, traceDisappearance].flatMap((
					trace,
				): [number, (told: Told) => Promise<unknown>][] => [
					[3, (told) => trace(model, ids, told)],
					[1, (told) => trace(model, ids, { ...told, ledger })],
				]),
				// Two texts, each with three links of a clean run, a changed one, and a control.
				[3 + 2 * 3 * 3, (told) => traceCauses(model, [ids, ids], { ...told, controls: 1 })],
				[3 * 2, (told) => traceCauses(model, [ids], { ...told, controls: 0, emergence })],
			];
			for (const [passes, trace] of traces) {
				const told: number[] = [], totals = new Set<number>();
				await trace({
					onProgress: (done, total) => {
						told.push(done);
						totals.add(total);
					},
				});
				assertEquals([...totals], [passes * layers]);
				assertEquals(
					[...new Set(told)],
					Array.from({ length: passes * layers }, (_, i) => i + 1),
				);
			}
		});
	},
);

deviceTest("experts, encoders and the last layer have their links", async () => {
	for (const name of ["mixtral", "bert", "gpt2"]) {
		using model = await loadModel(family(name));
		const { links, layer } = await traceCauses(model, [tokenIds], {
			controls: 1,
			controlLimit: 100,
		});
		assertEquals(links.length, layer === model.config.layers - 1 ? 2 : 3);
		if (name !== "mixtral") continue;
		for (const { tap } of links[0]!.ablation.interventions) {
			assert(/^layers\.\d\.mlp\.experts\.\d\.down\.weight$/.test(tap), tap);
		}
		assert(links[0]!.without.change > 0);
	}
	using model = await loadModel(family("llama"));
	await assertRejects(() => traceCauses(model, []), RangeError, "there is no sequence");
	await assertRejects(
		() => traceCauses(model, [tokenIds], { share: 0 }),
		RangeError,
		"Cannot use 0 as share",
	);
});

deviceTest("SmolLM2's two super weights cause its outlier, as docs/analyses tells", async () => {
	using model = await loadModel(smolLM2Path());
	const ids = model.tokenizer.encode(PAPER_SENTENCE.text);
	const { layer, tokens, features, links } = await traceCauses(model, [ids], { controls: 1 });
	assertEquals([layer, tokens, features], [11, [0], [507]]);
	const [weight, activation, attention] = links as [
		typeof links[0],
		typeof links[0],
		typeof links[0],
	];
	assertEquals(weight.ablation.interventions, [
		{ tap: "layers.11.mlp.down.weight", entries: [[507, 1229], [507, 1487]] },
	]);
	assert(weight.clean.hiddenState > 23000 && weight.without.hiddenState < 2000);
	assert(activation.without.hiddenState < 2000 && activation.control!.hiddenState > 23000);
	for (const { clean, without, control } of [weight, activation]) {
		assert(without.loss! > clean.loss! + 3 && Math.abs(control!.loss! - clean.loss!) < 0.01);
		assert(without.valueRatio! > 2 * clean.valueRatio!);
	}
	assert(attention.without.loss! < weight.without.loss!);
});
