// Findings in plain words: the numbers in the lines are those of an analysis that was put together by hand.

import { assertEquals } from "@std/assert";
import type { Analysis, AttentionAnalysis, Detection } from "../../../mod.ts";
import { detectionLine, findingLines } from "../../../src/outliers/report/lines.ts";
import { sampleAnalysis } from "./sample_analysis.ts";

const LENGTH = 60;
/** Sequences of “a” with “.” at some positions. */
const sequences = [[3, 9], [5], [7], []].map((dots, i) => ({
	source: `text ${i}`,
	tokenIds: new Array<number>(LENGTH).fill(0),
	tokenTexts: Array.from({ length: LENGTH }, (_, t) => dots.includes(t) ? "." : "a"),
}));

const statistics = (sequence: number, outliers: [number, number, number][]) => ({
	sequence,
	mean: 0.5,
	median: 0.4,
	top: [],
	outlierCount: outliers.length,
	outliers: outliers.map(([value, token, feature]) => ({ value, token, feature })),
	tokenMaxima: [],
	topFeatures: [],
});

const head = (outliers: number[]) => ({
	top: [],
	median: 0,
	outliers: outliers.map((token) => ({ token, value: 20, share: 0.3 })),
	tauOutlierCount: 0,
});

/** An analysis of these sequences with nothing found. */
function nothing(): Analysis {
	const analysis = sampleAnalysis({ layers: 4, heads: 2, texts: 1 });
	return {
		...analysis,
		sequences,
		hiddenState: { layers: [] },
		downInput: { layers: [] },
		weights: [],
		attention: [],
		summary: { ...analysis.summary, attention: { ...analysis.summary.attention, layers: [] } },
	};
}

Deno.test("a line for each feature: how far, in which layers, at which tokens", () => {
	const found = {
		...nothing(),
		hiddenState: {
			layers: [
				{ layer: 1, sequences: [statistics(0, [])] },
				{
					layer: 2,
					sequences: [
						statistics(0, [[-620, 0, 591], [100, 3, 591]]),
						statistics(1, [[400, 0, 591], [90, 5, 591], [80, 7, 12]]),
						statistics(2, [[300, 0, 591]]),
					],
				},
				{ layer: 3, sequences: [statistics(0, [[600, 0, 591]]), statistics(3, [[200, 0, 591]])] },
			],
		},
		downInput: { layers: [{ layer: 2, sequences: [statistics(1, [[700, 0, 4]])] }] },
	};
	assertEquals(findingLines(found), [
		"Feature 591 of h is up to 1,240 times the mean in layer 2, an outlier in 2 layers (2–3), at token 0 of all " +
		"4 sequences and the first “.” of 66.7% (2 of 3) of the sequences that have it.",
		"Feature 12 of h is up to 160 times the mean in layer 2, at 0.431% (1 of 232) of the tokens “a”.",
		"Feature 4 of x_down is up to 1,400 times the mean in layer 2, at token 0 of 25% (1 of 4) of the sequences.",
	]);
});

Deno.test("many features are counted, and nothing found is no line", () => {
	assertEquals(findingLines(nothing()), []);
	const many = Array.from({ length: 7 }, (_, i) => [100 + i, 0, i] as [number, number, number]);
	const found = {
		...nothing(),
		hiddenState: { layers: [{ layer: 1, sequences: [statistics(0, many)] }] },
	};
	const lines = findingLines(found);
	assertEquals(lines.map((line) => /^Feature (\d+)/.exec(line)?.[1]), [
		"6",
		"5",
		"4",
		"3",
		undefined,
	]);
	assertEquals(lines.at(-1), "3 further features of h have outliers.");
});

Deno.test("weights and attention have lines; short sequences tell nothing of attention", () => {
	const empty = nothing();
	const attention: AttentionAnalysis[] = [2, 3].flatMap((layer) =>
		[0, 1, 3].map((sequence) => ({
			layer,
			sequence,
			heads: [
				{ head: 0, ...head(layer === 3 && sequence === 0 ? [0, 3] : [0]) },
				{ head: 1, ...head(sequence === 3 ? [0] : []) },
			],
			mean: head([]),
			tokenShares: [],
		}))
	);
	const short = { source: "short", tokenIds: [1, 2], tokenTexts: ["a", "b"] };
	const found: Analysis = {
		...empty,
		sequences: [...sequences.slice(0, 3), short],
		weights: [{
			layer: 2,
			projection: "down",
			shape: [4, 8],
			mean: 1,
			top: [],
			outlierCount: 2,
			outliers: [
				{ value: -5, row: 3, column: 6, ratio: 1500 },
				{ value: 4, row: 3, column: 5, ratio: 1200 },
			],
			topRows: [],
			topColumns: [],
			medianColumnRatio: 1,
		}],
		attention,
		criteria: { ...empty.criteria, tau: 1000, attentionShare: 0.1 },
		summary: { ...empty.summary, attention: { ...empty.summary.attention, layers: [2, 3] } },
	};
	assertEquals(findingLines(found), [
		"2 weights of the down projection of layer 2 above τ = 1,000: the largest, row 3 and column 6, is 1,500 times " +
		"its row's mean.",
		"In layers 2–3, 50% of the heads give one key 10% or more of their attention: token 0 of 50% (2 of 4) of the " +
		"sequences and the first “.” of 33.3% (1 of 3) of the sequences that have it.",
	]);
});

Deno.test("what another criterion says is a line", () => {
	const detection: Detection = {
		...{ detector: "sink-rate", definition: "", source: "", thresholds: {} },
		...{ found: true, count: 1234, complete: false, findings: [], numbers: {}, notes: [] },
		statistic: {
			...{ name: "imp_0 of a head", of: "largest", value: 0.876 },
			at: { site: "layers.3.attn.cumulative", layer: 3, sequence: 2 },
		},
		measurements: [],
	};
	assertEquals(
		detectionLine(detection),
		"sink-rate: at least 1,234 found; largest imp_0 of a head = 0.876 (layers.3.attn.cumulative, sequence 2).",
	);
	const { statistic } = detection;
	assertEquals(
		detectionLine({ ...detection, found: null, statistic: { ...statistic, of: "mean", at: null } }),
		"sink-rate: mean over places of imp_0 of a head = 0.876.",
	);
	assertEquals(
		detectionLine({ ...detection, found: false, statistic: { ...statistic, of: "smallest" } }),
		"sink-rate: none found; smallest imp_0 of a head = 0.876 (layers.3.attn.cumulative, sequence 2).",
	);
	assertEquals(
		detectionLine({ ...detection, statistic: { ...statistic, value: null, at: null } }),
		"sink-rate: nothing could be measured.",
	);
});
