// Draws the findings from the statistics of an analysis.

import type {
	ActivationAnalysis,
	ActivationSummary,
	Analysis,
	AnalyzedSequence,
	AttentionAnalysis,
	Summary,
	WeightAnalysis,
} from "./analysis.ts";
import { uniformShare } from "./outlier_sets.ts";
import { noTokens, tokenClass } from "./token_class.ts";

const LISTED_TOKENS = 64;

function summarizeActivations(
	{ layers }: ActivationAnalysis,
	sequences: AnalyzedSequence[],
): ActivationSummary {
	const outlierLayers: number[] = [];
	const features = new Map<number, number>();
	const tokens = new Map<string, { sequence: number; token: number; layers: Set<number> }>();
	let largest: ActivationSummary["largestRatio"] | undefined;
	for (const { layer, sequences: all } of layers) {
		for (const { sequence, mean, top, outliers } of all) {
			const [first] = top;
			const ratio = first && mean > 0 ? Math.abs(first.value) / mean : 0;
			if (first && (!largest || ratio > largest.ratio)) {
				largest = { ratio, layer, sequence, ...first };
			}
			if (outliers.length > 0 && outlierLayers.at(-1) !== layer) outlierLayers.push(layer);
			for (const feature of new Set(outliers.map((outlier) => outlier.feature))) {
				features.set(feature, (features.get(feature) ?? 0) + 1);
			}
			for (const { token } of outliers) {
				const key = `${sequence} ${token}`;
				const entry = tokens.get(key) ?? { sequence, token, layers: new Set() };
				entry.layers.add(layer);
				tokens.set(key, entry);
			}
		}
	}
	const tokenClasses = noTokens();
	for (const { sequence, token } of tokens.values()) {
		tokenClasses[tokenClass(token, sequences[sequence]!.tokenTexts[token]!)]++;
	}
	return {
		layers: outlierLayers,
		firstLayer: outlierLayers[0] ?? null,
		lastLayer: outlierLayers.at(-1) ?? null,
		features: [...features].map(([feature, count]) => ({ feature, count }))
			.sort((a, b) => b.count - a.count || a.feature - b.feature),
		tokenClasses,
		tokens: [...tokens.values()]
			.sort((a, b) => b.layers.size - a.layers.size || a.sequence - b.sequence || a.token - b.token)
			.slice(0, LISTED_TOKENS)
			.map(({ sequence, token, layers }) => ({
				sequence,
				token,
				id: sequences[sequence]!.tokenIds[token]!,
				text: sequences[sequence]!.tokenTexts[token]!,
				layers: layers.size,
			})),
		largestRatio: largest!,
	};
}

function summarizeWeights(weights: WeightAnalysis[]): Summary["weights"] {
	const byRow = weights.map(({ layer, projection, top }) => ({ ...top[0]!, layer, projection }));
	const byColumn = weights.filter(({ projection }) => projection === "down")
		.map(({ layer, topColumns }) => ({ ...topColumns[0]!, layer }));
	const largest = <T extends { ratio: number }>(list: T[]) =>
		list.reduce((best, item) => item.ratio > best.ratio ? item : best);
	return {
		outlierCount: weights.reduce((sum, { outlierCount }) => sum + outlierCount, 0),
		largestRowRatio: largest(byRow),
		largestDownColumnRatio: largest(byColumn),
	};
}

function summarizeAttention(
	attention: AttentionAnalysis[],
	sequences: AnalyzedSequence[],
	attentionShare: number,
): Summary["attention"] {
	const telling = sequences.map(({ tokenIds }) =>
		uniformShare(tokenIds.length, { causal: true }) < attentionShare
	);
	const none = !telling.includes(true);
	const layers = new Set<number>();
	const keys = new Set<string>();
	let heads = 0;
	let withOutlier = 0;
	let largest: Summary["attention"]["largestShare"] | undefined;
	for (const { layer, sequence, heads: all } of attention) {
		if (!telling[sequence] && !none) continue;
		for (const { head, top, outliers } of all) {
			const { share, token } = top[0]!;
			if (!largest || share > largest.share) largest = { share, layer, sequence, head, token };
			if (none) continue;
			heads++;
			if (outliers.length === 0) continue;
			withOutlier++;
			layers.add(layer);
			for (const outlier of outliers) keys.add(`${sequence} ${outlier.token}`);
		}
	}
	const tokenClasses = noTokens();
	for (const key of keys) {
		const [sequence, token] = key.split(" ").map(Number);
		tokenClasses[tokenClass(token!, sequences[sequence!]!.tokenTexts[token!]!)]++;
	}
	return {
		sequences: telling.filter(Boolean).length,
		layers: [...layers],
		headFraction: heads > 0 ? withOutlier / heads : 0,
		tokenClasses,
		largestShare: largest!,
	};
}

/** The findings of an analysis. */
export function summarize(
	{ hiddenState, downInput, weights, attention, sequences, criteria }: Omit<
		Analysis,
		"summary" | "manifest"
	>,
): Summary {
	return {
		hiddenState: summarizeActivations(hiddenState, sequences),
		downInput: summarizeActivations(downInput, sequences),
		weights: summarizeWeights(weights),
		attention: summarizeAttention(attention, sequences, criteria.attentionShare),
	};
}
