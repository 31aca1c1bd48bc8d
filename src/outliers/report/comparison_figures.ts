// One model beside another (the paper's Fig. 20 to 22): what they share in words, as figures, and the outlier features of
// either as a table.

import type {
	ActivationComparison,
	Change,
	FeaturePlace,
	ModelComparison,
	SetComparison,
} from "../compare_models.ts";
import { COLORS } from "./chart.ts";
import { barsFigure, type LaboratoryFigure, linesFigure } from "./marks.ts";
import { type Cell, table } from "./tables.ts";
import { count, formatNumber, formatRanges, formatShare, join, plainText } from "./text.ts";

/** Two models of one name are told apart by their order. */
export function modelNames({ models }: ModelComparison): [first: string, second: string] {
	const [first, second] = models.map(plainText) as [string, string];
	return first === second ? [`${first} (1)`, `${second} (2)`] : [first, second];
}

/** `4 of both and 1 of the second alone`. */
function shares<T>({ shared, onlyFirst, onlySecond }: SetComparison<T>): string {
	const parts = [[shared, "both"], [onlyFirst, "the first alone"], [onlySecond, "the second alone"]]
		.filter(([list]) => list!.length > 0)
		.map(([list, who]) => `${formatNumber(list!.length)} of ${who}`);
	return parts.length > 0 ? join(parts) : "none";
}

const layerName = ({ layer, expert }: { layer: number; expert?: number }) =>
	expert === undefined ? layer + 1 : `${layer + 1}.${expert}`;

/** The largest of a series in either model, and where. */
function peak(series: readonly ({ layer: number } & Change)[], side: "first" | "second") {
	const top = series.reduce((a, b) => b[side] > a[side] ? b : a);
	return `${formatNumber(top[side])} (layer ${top.layer + 1})`;
}

/** What two models share, a sentence for each kind of outlier. */
export function comparisonWords(comparison: ModelComparison): string[] {
	const { weights, attention } = comparison;
	const activations = (of: ActivationComparison, symbol: string) => {
		const { shared, onlyFirst, onlySecond } = of.layers;
		const found = ([[shared, "both models"], [onlyFirst, "the first alone"], [
			onlySecond,
			"the second alone",
		]] as const).filter(([list]) => list.length > 0).map(([list, who]) =>
			`in layer${list.length > 1 ? "s" : ""} ${
				formatRanges(list.map((layer) => layer + 1).sort((a, b) => a - b))
			} of ${who}`
		);
		return [
			`${symbol}: ${found.length > 0 ? `outliers ${join(found)}` : "no outliers"}`,
			`their features, layer by layer: ${shares(of.features)}`,
			...of.tokens ? [`tokens that carry them: ${shares(of.tokens)}`] : [],
			...of.largest.length > 0
				? [
					`the largest is ${peak(of.largest, "first")} in the first and ` +
					`${peak(of.largest, "second")} in the second`,
				]
				: [],
		].join("; ") + ".";
	};
	const matrices = (of: typeof weights.columns.shared) =>
		join(of.slice(0, 4).map((at) => `${at.projection} ${at.column} of layer ${layerName(at)}`)) +
		(of.length > 4 ? " and others" : "");
	const { onlyFirst, onlySecond, shared } = weights.columns;
	const apart = ([[onlyFirst, "first"], [onlySecond, "second"]] as const)
		.filter(([list]) => list.length > 0);
	const mean = (side: "first" | "second") =>
		formatShare(
			attention.outlierHeads.reduce((sum, each) => sum + each[side], 0) /
				attention.outlierHeads.length,
		);
	return [
		activations(comparison.hiddenState, "|h|"),
		activations(comparison.downInput, "|x_down|"),
		`Weights: of the ${
			shared.length + onlyFirst.length
		} columns with the largest max / mean of each model, ${shared.length} are the same` +
		apart.map(([list, side]) => `; of the ${side} alone: ${matrices(list)}`).join("") + ".",
		`Attention: keys that are outliers in some layer: ${shares(attention.keys)}` +
		(attention.outlierHeads.length > 0
			? `; the share of heads with such a key, mean over layers, is ${
				mean("first")
			} in the first ` +
				`and ${mean("second")} in the second.`
			: "."),
	];
}

/** The outlier features of either model: how large each is in both. */
export function comparisonTable(comparison: ModelComparison, file: string): string {
	const names = modelNames(comparison);
	const rows = [
		["h", comparison.hiddenState],
		["x_down", comparison.downInput],
	] as const;
	const id = ({ layer, expert, feature }: FeaturePlace) => `${layer} ${expert ?? ""} ${feature}`;
	return table(
		"Outlier features of either model: their largest magnitude in both, means over sequences",
		["Of", "Layer", "Feature", ...names, "Ratio", "Outlier in"],
		rows.flatMap(([place, { features, featureMaxima }]) => {
			const who = new Map([
				...features.shared.map((each) => [id(each), "both"] as const),
				...features.onlyFirst.map((each) => [id(each), names[0]] as const),
				...features.onlySecond.map((each) => [id(each), names[1]] as const),
			]);
			return featureMaxima.filter((each) => who.has(id(each))).map((each): Cell[] => [
				place,
				each.expert === undefined ? { index: each.layer + 1 } : String(layerName(each)),
				{ index: each.feature },
				each.first,
				each.second,
				each.ratio ?? "–",
				who.get(id(each))!,
			]);
		}),
		file,
	);
}

/** The figures of one model beside another. */
export function comparisonFigures(comparison: ModelComparison): LaboratoryFigure[] {
	const names = modelNames(comparison);
	const pair = (all: readonly { first: number; second: number }[]) => [
		{ name: names[0], color: COLORS.blue, values: all.map(({ first }) => ({ value: first })) },
		{
			name: names[1],
			color: COLORS.vermilion,
			symbol: "emptyRect",
			values: all.map(({ second }) => ({ value: second })),
		},
	];
	const subtitle = `mean over ${count(comparison.sequences, "sequence")}`;
	const activations = (of: ActivationComparison, name: string, symbol: string) =>
		linesFigure({
			name: `comparison_${name}`,
			title: `Both models: the largest ${symbol} of each layer`,
			subtitle,
			caption: `Outlier features, layer by layer: ${shares(of.features)}. ` +
				"Where marks lie over each other, both models have the same.",
			across: "Layer",
			categories: of.largest.map(layerName),
			upward: symbol,
			log: true,
			values: pair(of.largest),
		});
	const { columns, ratios } = comparison.weights, { attention } = comparison;
	const shown = [...ratios]
		.sort((a, b) => Math.max(b.first, b.second) - Math.max(a.first, a.second)).slice(0, 24);
	return [
		activations(comparison.hiddenState, "hidden", "|h|"),
		activations(comparison.downInput, "down_input", "|x_down|"),
		barsFigure({
			name: "comparison_columns",
			title: "Both models: the columns of weights with the largest max / mean",
			subtitle: `the first ${shown.length}, by the larger of both`,
			caption: `Of the ${
				columns.shared.length + columns.onlyFirst.length
			} columns with the largest max|w| / mean|w| of each model, ${columns.shared.length} are the same.`,
			across: "Layer, projection, column",
			categories: shown.map((at) => `${layerName(at)} ${at.projection} ${at.column}`),
			upward: "max / mean",
			values: pair(shown),
		}),
		linesFigure({
			name: "comparison_attention",
			title: "Both models: the largest cumulative attention of each layer",
			subtitle: `${subtitle} and heads`,
			caption:
				"Cumulative attention Â is what a key receives from all queries, the sum of its column. " +
				`Keys that are outliers in some layer: ${shares(attention.keys)}.`,
			across: "Layer",
			categories: attention.largest.map(({ layer }) => layer + 1),
			upward: "Â of the key with the most",
			values: pair(attention.largest),
		}),
		linesFigure({
			name: "comparison_heads",
			title: "Both models: the share of heads with an outlier key",
			subtitle,
			caption: "A head has one if a key gets so much of its attention as the definition asks for.",
			nothing: "no text is long enough to tell",
			across: "Layer",
			categories: attention.outlierHeads.map(({ layer }) => layer + 1),
			upward: "Share of heads",
			formatter: formatShare,
			values: pair(attention.outlierHeads),
		}),
	];
}
