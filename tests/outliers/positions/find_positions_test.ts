// Where outliers stand, by every definition recorded, against NumPy: layers, tokens, features, keys, heads, weights.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	type ActivationPositions,
	DEFINITIONS,
	findPositions,
	HeadSharesProbe,
	type OutlierPositions,
	Tensor,
} from "../../../mod.ts";
import { device, deviceTest } from "../../tensor/on_device.ts";
import { randomContents, withModel } from "../../nn/tiny_llama.ts";
import {
	assertNear,
	assertSpread,
	lab,
	openRecorded,
	type RecordedActivations,
	type RecordedCase,
} from "../lab.ts";

function compareActivations(found: ActivationPositions, expected: RecordedActivations) {
	const at = (what: { layer: number; expert?: number }) => `${what.layer} ${what.expert}`;
	assertEquals(found.layers.map(at), expected.layers.map(at));
	for (const [i, layer] of found.layers.entries()) {
		const other = expected.layers[i]!, what = `${found.place} of layer ${at(layer)}`;
		assertEquals(layer.withOutliers, other.withOutliers, what);
		assertEquals(layer.top.length, 3);
		layer.top.forEach((spread, rank) => assertSpread(spread, other.top[rank]!, what));
		assertSpread(layer.median, other.median, what);
		assertSpread(layer.mean, other.mean, what);
		assertSpread(layer.maxOverMean, other.maxOverMean, what);
	}
	for (const [i, layer] of found.features.entries()) {
		const other = expected.features[i]!.features;
		assertEquals(layer.features.length, Object.keys(other).length);
		for (const { feature, ranks, outlierSequences, maximum } of layer.features) {
			const recorded = other[feature]!, what = `feature ${feature} of ${at(layer)}`;
			assertEquals([ranks, outlierSequences], [recorded.ranks, recorded.outlierSequences], what);
			assertSpread(maximum, recorded.maximum, what);
		}
		const order = layer.features.map(({ outlierSequences }) => outlierSequences);
		assertEquals(order, order.toSorted((a, b) => b - a));
	}
	assertEquals(
		found.tokens?.bySequence.map(({ firstLayer, counted }) => ({ firstLayer, counted })) ?? null,
		expected.tokens,
	);
}

function compareAttention(
	{ attention, heads }: OutlierPositions,
	{ attention: expected }: RecordedCase,
) {
	for (const [i, layer] of attention.layers.entries()) {
		const other = expected.layers[i]!, what = `attention of layer ${layer.layer}`;
		assertEquals([layer.layer, layer.top.length], [other.layer, other.top.length]);
		layer.top.forEach((spread, rank) => assertSpread(spread, other.top[rank]!, what));
		assertSpread(layer.median, other.median, what);
		assertSpread(layer.outlierHeads, other.outlierHeads, what);
	}
	for (const which of ["keys", "headKeys"] as const) {
		assertEquals(
			attention[which].bySequence.map(({ sequence, firstLayer, counted }) => ({
				sequence,
				firstLayer,
				counted,
			})),
			expected[which],
		);
	}
	assertEquals(attention.indistinct, expected.indistinct);
	assertEquals(attention.unreachable, expected.unreachable);
	assertEquals(heads.withoutKeys, expected.withoutKeys);
	assertEquals(heads.layers.length, expected.heads.length);
	for (const [i, layer] of heads.layers.entries()) {
		layer.heads.forEach((spread, head) => assertSpread(spread, expected.heads[i]![head]!, "head"));
		const means = expected.heads[i]!.map(([, mean]) => mean);
		assertNear(layer.overHeads.maximum, Math.max(...means), "the upper bound over heads");
		assertNear(layer.overHeads.minimum, Math.min(...means), "the lower bound over heads");
	}
}

function compareWeights({ weights }: OutlierPositions, { weights: expected }: RecordedCase) {
	weights.reference.forEach(({ layer, ratio }) =>
		assertNear(ratio, expected.reference[layer]!, "the reference")
	);
	const id = (matrix: { layer: number; projection: string; expert?: number }) =>
		`${matrix.layer} ${matrix.expert} ${matrix.projection}`;
	if (!expected.matrices) return;
	const recorded = new Map(expected.matrices.map((matrix) => [id(matrix), matrix]));
	assertEquals(weights.matrices.length, recorded.size);
	for (const matrix of weights.matrices) {
		const other = recorded.get(id(matrix))!, { shape, ratio, columns, rows, rowNorms } = matrix;
		assertEquals([shape[0], shape[1]], other.shape);
		assertEquals([columns.limit, rows.limit], other.shape);
		assertNear(ratio, other.ratio, id(matrix));
		for (
			const [list, all] of [
				[columns.top, other.columns],
				[rows.top, other.rows],
				[rowNorms.top, other.rowNorms],
			] as const
		) {
			assertEquals(list.length, all.length); // all are asked for
			assertEquals(list.map(({ index }) => index).sort((a, b) => a - b), [...all.keys()]);
			list.forEach(({ index, ratio }, i) => {
				assertNear(ratio, all[index]!, id(matrix));
				assert(i === 0 || list[i - 1]!.ratio >= ratio);
			});
		}
		const middle = (all: number[]) => all.toSorted((a, b) => a - b)[(all.length - 1) >> 1]!;
		assertNear(columns.median, middle(other.columns), id(matrix));
		assertNear(rows.median, middle(other.rows), id(matrix));
	}
}

for (const [name, { sequences, cases }] of Object.entries(lab)) {
	for (const [caseName, recorded] of Object.entries(cases)) {
		deviceTest(`positions in ${name} by "${caseName}" are NumPy's`, async () => {
			using model = await openRecorded(name);
			const { definition } = recorded;
			const found = await findPositions(model, sequences, { definition, columns: Infinity });
			compareActivations(found.hiddenState, recorded.hiddenState);
			compareActivations(found.downInput, recorded.downInput);
			compareAttention(found, recorded);
			// The most values of a tensor: of h T · H, of an expert's x_down less than T · I.
			const { tau = 1000, activationRule } = definition, { hiddenSize } = model.config;
			assertEquals(
				found.hiddenState.unreachable,
				[...sequences.keys()].filter((i) =>
					activationRule !== "massive" && sequences[i]!.length * hiddenSize <= tau
				),
			);
			compareWeights(found, recorded);
			assertEquals(JSON.parse(JSON.stringify(found)), found);
		});
	}
}

deviceTest(
	"texts of tokens are ranked and classed, sequences of one token among them",
	async () => {
		const { sequences, cases } = lab["lab/planted"]!;
		const words: Record<number, string> = { 5: ".", 11: "Winter", 2: "the" };
		const given = sequences.map((tokenIds) => ({
			source: "planted",
			tokenIds,
			tokenTexts: tokenIds.map((id) => words[id] ?? `word${id}`),
		}));
		using model = await openRecorded("lab/planted");
		const { definition } = cases.share!;
		const { hiddenState: { tokens } } = await findPositions(model, given, { definition });
		const counted = cases.share!.hiddenState.tokens!.map((found) => found.counted);
		const dots = counted.flatMap((list, i) => list.filter((token) => sequences[i]![token] === 5));
		assertEquals(tokens!.ranked[0], {
			text: ".",
			id: 5,
			count: dots.length,
			sequences: counted.filter((list, i) =>
				list.some((token) => sequences[i]![token] === 5)
			).length,
			initial: dots.filter((token) => token === 0).length,
		});
		const total = counted.flat().length;
		assertEquals(Object.values(tokens!.classes).reduce((a, b) => a + b), total);
		assertEquals(tokens!.ranked.reduce((sum, { count }) => sum + count, 0), total);
		assertEquals(tokens!.classes["strong delimiter"], dots.filter((token) => token > 0).length);
		assertEquals(
			tokens!.tokensPerSequence.map((_, n) => counted.filter(({ length }) => length === n).length),
			tokens!.tokensPerSequence,
		);
	},
);

deviceTest(
	"each figure is made of the sequences that the definition names, cut as it says",
	async () => {
		const { sequences } = lab["lab/planted"]!;
		using model = await openRecorded("lab/planted");
		const figures = {
			layers: { sequences: 2, length: null },
			tokens: { sequences: null, length: null },
			features: { sequences: 1, length: 7 },
			attention: { sequences: 2, length: 6 },
		};
		const given = sequences.filter((_, i) => i !== 2);
		const definition = { ...DEFINITIONS.code, tau: 8, figures };
		const found = await findPositions(model, given, { definition });
		assertEquals(
			found.sequences.map(({ given, tokens }) => [given, tokens]),
			[[0, 20], [1, 12], [2, 1], [3, 8], [4, 20], [0, 7], [0, 6], [1, 6]],
		);
		assertEquals(found.hiddenState.layers[0]!.sequences, 2);
		assertEquals(found.hiddenState.features[0]!.sequences, 1);
		assertEquals(found.hiddenState.tokens!.bySequence.map(({ sequence }) => sequence), [
			0,
			1,
			2,
			3,
			4,
		]);
		assertEquals(found.attention.layers[0]!.sequences, 2);
		// Causal attention: what the first tokens do is the same by themselves.
		const short = await findPositions(model, given.slice(0, 2).map((ids) => ids.slice(0, 6)), {
			definition: { ...definition, figures: DEFINITIONS.default.figures },
		});
		assertEquals(found.attention.layers, short.attention.layers);
		assertEquals(found.heads.layers, short.heads.layers);
	},
);

deviceTest(
	"shares of heads are of what a head gives in all, also where rows do not sum to 1",
	async () => {
		const probe = new HeadSharesProbe("outliers", (sequence) => sequence === 1 ? [] : [1, 7]);
		for (const sequence of [0, 1]) {
			using sums = Tensor.from<"float32", 2>(device, "float32", [2, 3], [1, 4, 3, 0, 0.5, 0.5]);
			probe.receive(sums, { name: "layers.2.attn.cumulative", layer: 2, sequence });
		}
		const { layers, sequences, withoutKeys } = await probe.result();
		assertEquals([sequences, withoutKeys], [1, [1]]);
		assertEquals(layers[0]!.heads.map(({ mean }) => mean), [0.5, 0.5]);
		assertEquals([layers[0]!.layer, layers[0]!.overHeads.mean], [2, 0.5]);
	},
);

deviceTest("what is no number is told where it is", async () => {
	const { sequences } = lab["lab/planted"]!;
	const contents = randomContents({}, (name, data) => {
		if (name === "blk.1.ffn_up.weight") data[5] = NaN;
	});
	await withModel(contents, async (model) => {
		await assertRejects(
			() => findPositions(model, sequences),
			Error,
			"Cannot analyze layers.1.output of sequence 0: it holds NaN (row 0, column 0)",
		);
	});
});

deviceTest(
	"without sequences, with an empty one, or without columns there is nothing to find",
	async () => {
		await withModel(randomContents(), async (model) => {
			await assertRejects(() => findPositions(model, []), RangeError, "there is no sequence");
			await assertRejects(() => findPositions(model, [[]]), RangeError, "sequence 0: it is empty");
			await assertRejects(() => findPositions(model, [""]), RangeError, "the text: it is empty");
			await assertRejects(
				() => findPositions(model, [[1]], { columns: 0 }),
				RangeError,
				"Cannot list 0 columns",
			);
		});
	},
);
