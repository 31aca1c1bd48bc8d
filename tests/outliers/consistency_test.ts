// Table 1 by every definition recorded, against NumPy: each set's size, what two share, and the averages.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { ConsistencyProbe, type Definition, measureConsistency, Tensor } from "../../mod.ts";
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { device, deviceTest } from "../tensor/on_device.ts";
import { lab, openRecorded } from "./lab.ts";

for (const [name, { sequences, cases }] of Object.entries(lab)) {
	for (const [caseName, { definition, consistency, attention }] of Object.entries(cases)) {
		deviceTest(`consistency in ${name} by "${caseName}" is NumPy's`, async () => {
			using model = await openRecorded(name);
			const found = await measureConsistency(model, sequences, { definition });
			assertEquals(found.sequences, sequences.length);
			assertEquals(found.indistinct, attention.indistinct);
			assertEquals(found.unreachable, attention.unreachable);
			assertEquals(
				found.pairs.map(({ first, second, dimension }) => `${first} ${second} ${dimension}`),
				[
					"downWeight downInput feature",
					"downWeight hiddenState feature",
					"downInput hiddenState sequence",
					"hiddenState attention sequence",
				],
			);
			for (const [i, pair] of found.pairs.entries()) {
				const expected = consistency[i]!, what = `pair ${i}`;
				assertEquals(pair.records as unknown[], expected.records, what);
				for (const figure of ["count", "withoutFirst", "withoutSecond"] as const) {
					assertEquals(pair[figure], expected[figure], `${what}: ${figure}`);
				}
				for (const figure of ["overlap", "reverse", "jaccard"] as const) {
					assertEquals(pair[figure] === null, expected[figure] === null, `${what}: ${figure}`);
					assertAlmostEquals(pair[figure] ?? 0, expected[figure] ?? 0, 1e-7, `${what}: ${figure}`);
				}
			}
			assertEquals(JSON.parse(JSON.stringify(found)), found);
		});
	}
}

/** h of sequences with the given outlier tokens, and Â of two heads with the given outlier keys, of 40 tokens. */
async function planted(sequences: { tokens: number[]; keys: [number[], number[]] }[]) {
	const T = 40, C = 100, probe = new ConsistencyProbe({ tau: 30, attentionShare: 0.2 });
	const give = (tap: string, shape: [number, number], data: Float32Array, sequence: number) => {
		using tensor = Tensor.from<"float32", 2>(device, "float32", shape, data);
		const layer = Number(/\d/.exec(tap)![0]);
		probe.receive(tensor, { name: tap, layer, sequence });
	};
	for (const [sequence, { tokens, keys }] of sequences.entries()) {
		const h = new Float32Array(T * C).fill(1);
		for (const token of tokens) h[token * C + 7] = 500;
		give("layers.0.output", [T, C], h, sequence);
		give("layers.0.mlp.down.input", [T, C], new Float32Array(T * C).fill(1), sequence);
		const scores = new Float32Array(2 * T).fill(0.1);
		keys.forEach((list, head) => list.forEach((token) => scores[head * T + token] = 20));
		give("layers.1.attn.cumulative", [2, T], scores, sequence);
	}
	const { pairs } = await probe.result();
	return pairs[3]!;
}

deviceTest(
	"the overall overlap is the mean over samples and heads, as appendix B.2 has it",
	async () => {
		const pair = await planted([
			{ tokens: [0, 5], keys: [[0, 5], [0]] }, // 1 and 1/2
			{ tokens: [0], keys: [[3], [0]] }, // 0 and 1
			{ tokens: [2], keys: [[], []] }, // no head has any: left out
			{ tokens: [], keys: [[0], [0]] }, // no overlap is defined
		]);
		assertEquals(pair.overlap, (1 + 1 / 2 + 0 + 1) / 4);
		assertEquals(pair.reverse, (1 + 1 + 0 + 1) / 4);
		assertEquals(pair.jaccard, (1 + 1 / 2 + 0 + 1) / 4);
		assertEquals([pair.minimum, pair.maximum, pair.count], [0, 1, 4]);
		assertEquals([pair.withoutFirst, pair.withoutSecond], [1, 1]);
		assertEquals(pair.bySequence, [{ sequence: 0, overlap: 0.75 }, { sequence: 1, overlap: 0.5 }]);
		assertEquals(pair.byLayer, [{ layer: 0, overlap: 0.625 }]);
		assertEquals(pair.byHead, [{ head: 0, overlap: 0.5 }, { head: 1, overlap: 0.75 }]);
		assertEquals(pair.interval, [0.5, 0.75]);
	},
);

deviceTest("one sample has no interval, and many have one around the mean", async () => {
	const one = await planted([{ tokens: [0], keys: [[0], []] }]);
	assertEquals([one.overlap, one.interval], [0.5, null]);
	const many = await planted(
		Array.from({ length: 40 }, (_, i) => ({ tokens: [0], keys: [i % 4 ? [0] : [1], [0]] })),
	);
	assertAlmostEquals(many.overlap!, 0.875, 1e-12);
	const [low, high] = many.interval!;
	// The standard error is 0.5 · √(0.75 · 0.25 / 40) = 0.034.
	assert(low < 0.875 - 0.03 && low > 0.875 - 0.12 && high > 0.875 + 0.03 && high < 0.875 + 0.12);
});

deviceTest("what τ can reach at all is told", async () => {
	using model = await openRecorded("lab/planted"); // H = 32, I = 48
	const of = async (change: Partial<Definition>) => {
		const given = [[1, 2, 3], [4]];
		const { reachability } = await measureConsistency(model, given, { definition: change });
		return reachability.map(({ test, limit, reachable }) => `${test} ${limit} ${reachable}`);
	};
	assertEquals(await of({ tau: 100, weightTau: 48 }), [
		"downInput 144 true",
		"downWeight 48 false",
		"hiddenState 96 false",
	]);
	assertEquals(await of({ tau: 2.5, weightTau: 30, weightAxis: "column", attentionRule: "tau" }), [
		"attention 3 true",
		"downInput 144 true",
		"downWeight 32 true",
		"hiddenState 96 true",
	]);
	assertEquals(await of({ activationRule: "massive", weightTop: 2 }), []);
});

deviceTest("without sequences there is nothing to measure", async () => {
	await withModel(randomContents(), async (model) => {
		await assertRejects(() => measureConsistency(model, []), RangeError, "there is no sequence");
	});
});
