// The findings drawn from statistics: layers, features, tokens and their classes, the largest of each.

import { assert, assertEquals } from "@std/assert";
import type {
	ActivationStatistics,
	ActivationValue,
	AnalyzedSequence,
	AttentionAnalysis,
	HeadAttention,
	WeightAnalysis,
} from "../../mod.ts";
import { summarize } from "../../src/outliers/summary.ts";

const sequence = (...tokenTexts: string[]): AnalyzedSequence => ({
	source: "text",
	tokenIds: tokenTexts.map((_, i) => 100 + i),
	tokenTexts,
});
const sequences = [sequence("Summer", " is", " warm", "."), sequence("The", "\n", " end")];

function statistics(of: number, mean: number, outliers: ActivationValue[]): ActivationStatistics {
	const top = outliers.length > 0 ? outliers : [{ value: -2 * mean, token: 0, feature: 0 }];
	return {
		sequence: of,
		mean,
		median: mean / 2,
		top,
		outlierCount: outliers.length,
		outliers,
		tokenMaxima: [],
		topFeatures: [],
	};
}
const at = (token: number, feature: number, value = 5000) => ({ value, token, feature });

function head(index: number, keys: Record<number, number>, attentionShare = 0.1): HeadAttention {
	const top = Object.entries(keys).map(([token, share]) => ({
		token: +token,
		value: 4 * share,
		share,
	}))
		.sort((a, b) => b.share - a.share);
	return {
		head: index,
		top,
		median: 0,
		outliers: top.filter(({ share }) => share >= attentionShare),
		tauOutlierCount: 0,
	};
}
const attentionOf = (layer: number, of: number, heads: HeadAttention[]): AttentionAnalysis => ({
	layer,
	sequence: of,
	heads,
	mean: heads[0],
	tokenShares: [],
});

function matrix(
	layer: number,
	projection: WeightAnalysis["projection"],
	ratio: number,
	columnRatio: number,
	outlierCount = 0,
): WeightAnalysis {
	return {
		layer,
		projection,
		shape: [2, 3],
		mean: 1,
		top: [{ value: -ratio, row: 1, column: 2, ratio }],
		outlierCount,
		outliers: [],
		topRows: [{ index: 1, ratio }],
		topColumns: [{ index: 2, ratio: columnRatio }],
		medianColumnRatio: 1,
	};
}

const quiet = {
	layers: [1, 2].map((layer) => ({
		layer,
		sequences: [statistics(0, 1, []), statistics(1, 2, [])],
	})),
};
const found = {
	layers: [
		{ layer: 1, sequences: [statistics(0, 1, []), statistics(1, 1, [])] },
		{ layer: 2, sequences: [statistics(0, 1, [at(0, 7, -9000), at(3, 7)]), statistics(1, 1, [])] },
		{ layer: 3, sequences: [statistics(0, 2, [at(0, 7), at(0, 9)]), statistics(1, 1, [at(1, 4)])] },
		{ layer: 4, sequences: [statistics(0, 1, []), statistics(1, 1, [at(1, 9), at(2, 9)])] },
		{ layer: 5, sequences: [statistics(0, 1, []), statistics(1, 1, [])] },
	],
};
const weights = [
	matrix(1, "query", 30, 900),
	matrix(1, "down", 20, 40),
	matrix(2, "gate", 70, 10, 2),
	matrix(2, "down", 50, 60, 1),
];
const attention = [
	attentionOf(1, 0, [head(0, { 0: 0.05, 1: 0.04 }), head(1, { 0: 0.09 })]),
	attentionOf(2, 0, [head(0, { 0: 0.5, 3: 0.3 }), head(1, { 0: 0.02 })]),
	attentionOf(2, 1, [head(0, { 1: 0.6 }), head(1, { 0: 0.01 })]),
];

Deno.test("layers with outliers are listed from the first to the last", () => {
	const { hiddenState } = summarize({ ...rest, hiddenState: found });
	assertEquals(hiddenState.layers, [2, 3, 4]);
	assertEquals([hiddenState.firstLayer, hiddenState.lastLayer], [2, 4]);
});

Deno.test("features count the layers and sequences in which they carry an outlier", () => {
	const { hiddenState } = summarize({ ...rest, hiddenState: found });
	// 7: layers 2 and 3 of sequence 0; 9: layer 3 of 0, layer 4 of 1; 4: layer 3 of 1
	assertEquals(hiddenState.features, [
		{ feature: 7, count: 2 },
		{ feature: 9, count: 2 },
		{ feature: 4, count: 1 },
	]);
});

Deno.test("tokens count once each: by layers, and by class", () => {
	const { hiddenState } = summarize({ ...rest, hiddenState: found });
	assertEquals(hiddenState.tokens, [
		{ sequence: 0, token: 0, id: 100, text: "Summer", layers: 2 },
		{ sequence: 1, token: 1, id: 101, text: "\n", layers: 2 },
		{ sequence: 0, token: 3, id: 103, text: ".", layers: 1 },
		{ sequence: 1, token: 2, id: 102, text: " end", layers: 1 },
	]);
	assertEquals(hiddenState.tokenClasses, {
		"initial token": 1,
		"strong delimiter": 2,
		"weak semantic": 0,
		"other": 1,
	});
});

Deno.test("the largest ratio is the largest |x| / mean, not the largest |x|, with its place", () => {
	const layers = [
		{ layer: 1, sequences: [statistics(0, 10, [at(1, 1, 9000)])] },
		{ layer: 2, sequences: [statistics(0, 1, [at(2, 5, -5000)])] },
	];
	const { hiddenState } = summarize({ ...rest, hiddenState: { layers } });
	assertEquals(hiddenState.largestRatio, {
		ratio: 5000,
		value: -5000,
		layer: 2,
		sequence: 0,
		token: 2,
		feature: 5,
	});
});

Deno.test("of more than 64 tokens the 64 with most layers are listed, and all counted", () => {
	const long = sequence(...Array(100).fill("x"));
	const outliers = Array.from({ length: 100 }, (_, token) => at(token, 3));
	const layers = [
		{ layer: 1, sequences: [statistics(0, 1, outliers)] },
		{ layer: 2, sequences: [statistics(0, 1, outliers.slice(90))] },
	];
	const { hiddenState } = summarize({
		...rest,
		sequences: [long],
		hiddenState: { layers },
		attention: [],
	});
	assertEquals(hiddenState.tokens.length, 64);
	assertEquals(hiddenState.tokens[0].token, 90);
	assertEquals(Object.values(hiddenState.tokenClasses).reduce((a, b) => a + b), 100);
});

Deno.test("without outliers there are no layers, features or tokens, but a largest ratio", () => {
	const { downInput } = summarize({ ...rest, hiddenState: found });
	assertEquals(downInput, {
		layers: [],
		firstLayer: null,
		lastLayer: null,
		features: [],
		tokenClasses: { "initial token": 0, "strong delimiter": 0, "weak semantic": 0, "other": 0 },
		tokens: [],
		largestRatio: { ratio: 2, value: -2, layer: 1, sequence: 0, token: 0, feature: 0 },
	});
});

Deno.test("a model that computes only zeros has a largest ratio of 0", () => {
	const layers = [{ layer: 1, sequences: [statistics(0, 0, [])] }];
	const { hiddenState } = summarize({ ...rest, hiddenState: { layers } });
	assertEquals(hiddenState.largestRatio.ratio, 0);
});

Deno.test("weights: outliers of all matrices, the largest by row, the largest down column", () => {
	const { weights: summary } = summarize(rest);
	assertEquals(summary.outlierCount, 3);
	assertEquals(summary.largestRowRatio, {
		value: -70,
		row: 1,
		column: 2,
		ratio: 70,
		layer: 2,
		projection: "gate",
	});
	assertEquals(summary.largestDownColumnRatio, { index: 2, ratio: 60, layer: 2 });
});

Deno.test("attention: layers and heads with an outlier key, classes of the keys, the largest share", () => {
	const long = sequences.map(({ tokenTexts }) => sequence(...tokenTexts, ...Array(50).fill("x")));
	const { attention: summary } = summarize({ ...rest, sequences: long });
	assertEquals(summary.sequences, 2);
	assertEquals(summary.layers, [2]);
	assertEquals(summary.headFraction, 2 / 6);
	assertEquals(summary.tokenClasses, {
		"initial token": 1,
		"strong delimiter": 2,
		"weak semantic": 0,
		"other": 0,
	});
	assertEquals(summary.largestShare, { share: 0.6, layer: 2, sequence: 1, head: 0, token: 1 });
});

Deno.test("sequences in which even uniform attention reaches the share do not count", () => {
	// (1 + 1/2 + … + 1/T) / T is 0.1012 for T = 43 and 0.0994 for T = 44.
	for (const [tokens, counted] of [[43, 0], [44, 1]] as const) {
		const { attention: summary } = summarize({
			...rest,
			sequences: [sequence(...Array(tokens).fill("x"))],
			attention: [attentionOf(3, 0, [head(0, { 5: 0.4 })])],
		});
		assertEquals([summary.sequences, summary.headFraction], [counted, counted]);
		assertEquals(summary.layers, counted ? [3] : []);
		assertEquals(summary.largestShare, { share: 0.4, layer: 3, sequence: 0, head: 0, token: 5 });
	}
});

Deno.test("a sequence of one token says nothing about attention", () => {
	const single = attentionOf(1, 0, [head(0, { 0: 1 })]);
	const { attention: summary } = summarize({
		...rest,
		sequences: [sequence("x")],
		attention: [single],
	});
	assertEquals([summary.layers, summary.headFraction], [[], 0]);
	assertEquals(Object.values(summary.tokenClasses), [0, 0, 0, 0]);
	assert(JSON.stringify(summary).includes("largestShare"));
});

const rest = {
	format: "outlierscope-analysis",
	version: 1,
	created: "",
	device: { name: "", kind: "host", dtype: "float32" },
	model: {
		name: "",
		file: "",
		architecture: "llama",
		layers: 5,
		hiddenSize: 10,
		intermediateSize: 10,
		heads: 2,
		keyValueHeads: 2,
		headDimension: 5,
		vocabularySize: 200,
		contextLength: 100,
		parameters: 1,
		storage: {},
	},
	criteria: { tau: 1000, attentionShare: 0.1, reachability: [] },
	sequences,
	hiddenState: quiet,
	downInput: quiet,
	weights,
	attention,
} satisfies Parameters<typeof summarize>[0];
