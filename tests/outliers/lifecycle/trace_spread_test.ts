// How keys draw attention, against NumPy, which computes the maps from queries and keys and compares them with PyTorch's;
// and the sum of a gap over all dimensions on random vectors.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { alignmentOf, type HeadVectors, loadModel, traceSpread } from "../../../mod.ts";
import { deviceTest, normal } from "../../tensor/on_device.ts";
import { family, recorded, type RecordedKey, tokenIds } from "./recorded.ts";

const KEYS = ["queries", "gap", "distance", "logit", "cosine", "otherCosine"] as const;

for (const [name, { tokens, features, spread }] of Object.entries(recorded)) {
	deviceTest(`${name}: layer 1's heads go together as in NumPy`, async () => {
		using model = await loadModel(family(name));
		const found = await traceSpread(model, tokenIds, { tokens, features, layer: 1, head: 1 });
		const { attention, layers } = found;
		assertEquals(attention.heads.length, spread.length);
		const near = (actual: number | null, expected: number, what: string) =>
			assert(
				Math.abs(actual! - expected) <= 3e-5 * Math.max(1, Math.abs(expected)),
				`${what}: ${actual} is not ${expected}`,
			);
		for (const { head, keyValueHead, tokens: keys, share } of attention.heads) {
			assertEquals(keyValueHead, Math.floor(head * model.config.keyValueHeads / spread.length));
			for (const [i, key] of keys.entries()) {
				const expected = spread[head]![i] as RecordedKey, what = `head ${head}, key ${key.token}`;
				assertEquals(key.token, expected.token);
				for (const each of KEYS) near(key.alignment![each], expected[each], `${what} ${each}`);
				near(key.share, expected.share, `${what} share`);
				near(key.attention, expected.attention, `${what} attention`);
				near(key.valueRatio, expected.valueRatio, `${what} value`);
				// Dimensions are told by pairs that turn together, the largest first.
				const [, { config }] = [0, model];
				const turning = config.positions.kind === "rotary" ? config.positions.dimensions : 0;
				const sums = expected.dimensions.flatMap((gap, p) => {
					if (p >= turning) return [gap];
					return p < turning / 2 ? [gap + expected.dimensions[p + turning / 2]!] : [];
				}).sort((a, b) => Math.abs(b) - Math.abs(a));
				key.alignment!.dimensions.forEach(({ gap, dimensions, query, otherKeys }, at) => {
					near(gap, sums[at]!, `${what} dimensions ${dimensions}`);
					const parts = dimensions.reduce((sum, p) => sum + expected.dimensions[p]!, 0);
					near(gap, parts, `${what} dimensions ${dimensions}`);
					assertEquals([query.length, otherKeys.length], [dimensions.length, dimensions.length]);
				});
			}
			near(share, keys.reduce((sum, key) => sum + key.share, 0), "share");
		}
		const drained = spread.filter(([first]) => first!.valueRatio < 0.5).length;
		assertAlmostEquals(attention.drainedHeads, drained / spread.length, 1e-9);
		// All layers' shares hold the traced layer's.
		const mean = spread.reduce((sum, keys) => sum + keys[0]!.share + keys[1]!.share, 0);
		near(layers[1]!.share.mean, mean / spread.length, "share of the layer");
		// Drawn: rows of attention sum to 1, and go with the logits.
		const stage = (name: string) => attention.stages.find((each) => each.name === name)!;
		const { rows, columns, values } = stage("attention");
		assertEquals([rows, columns], [[...tokenIds.keys()], [...tokenIds.keys()]]);
		for (const [i, row] of values.entries()) {
			near(row.reduce((a, b) => a + b, 0), 1, `row ${i}`);
			const logits = stage("logits").values[i]!;
			for (const [j, share] of row.entries()) {
				if (share > 0) {
					const ratio = Math.log(share / row[i]!), gap = logits[j]! - logits[i]!;
					assertAlmostEquals(ratio, gap, 1e-4);
				} else assertEquals(logits[j], 0);
			}
		}
		const d = model.config.headDimension;
		assertEquals(stage("query").columns, [...Array(d).keys()]);
		const sizes = stage("value").values.map((row) => Math.hypot(...row));
		const [, , key] = sizes, others = sizes.filter((_, t) => !tokens.includes(t));
		near(
			attention.heads[1]!.tokens[0]!.valueRatio,
			key! / (others.reduce((a, b) => a + b) / others.length),
			"drawn values",
		);
		assertEquals(stage("residual").rows, stage("attn.input").rows);
		assertEquals(JSON.parse(JSON.stringify(found)), found);
	});
}

Deno.test("a gap is the sum over all its dimensions and what distance adds", () => {
	const T = 9, d = 5;
	const head: HeadVectors = {
		queries: normal(T * d),
		keys: normal(T * d),
		tokens: T,
		dimension: d,
		pairs: 2,
		causal: true,
		window: 6,
		slope: 0.3,
	};
	const { gap, dimensions, distance, queries } = alignmentOf(head, 1, [1, 4])!;
	assertEquals(dimensions.map(({ dimensions }) => dimensions).sort(), [[0, 2], [1, 3], [4]]);
	assertAlmostEquals(dimensions.reduce((sum, { gap }) => sum + gap, 0) + distance, gap, 1e-12);
	assertEquals(queries, 4); // 2, 3, 5, 6 see key 1 and others; 7 is too far
	assertEquals(alignmentOf(head, 0, [0, 1]) !== null, true);
	assertEquals(alignmentOf({ ...head, tokens: 1 }, 0, [0]), null);
});

deviceTest("one token, long windows, encoders: heads can always be traced", async () => {
	for (const name of ["bert", "falcon_7b", "mistral"]) {
		using model = await loadModel(family(name));
		const one = await traceSpread(model, [7]);
		for (const { tokens: [key], share } of one.attention.heads) {
			assertEquals([key!.alignment, key!.valueRatio], [null, null]);
			assertAlmostEquals(share, 1, 1e-6);
		}
		const { attention: { layer, heads, drawnHead } } = await traceSpread(model, tokenIds);
		assert(layer >= 0 && layer < 2);
		assertEquals(Math.max(...heads.map(({ share }) => share)), heads[drawnHead]!.share);
	}
	using model = await loadModel(family("llama"));
	await assertRejects(
		() => traceSpread(model, tokenIds, { head: 4 }),
		RangeError,
		"Cannot trace head 4: the model has 4, the first is 0",
	);
});
