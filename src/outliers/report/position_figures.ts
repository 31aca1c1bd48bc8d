// Figures of where outliers stand, and whether the kinds coincide: the counterparts of the paper's Fig. 3 to 6 and Table 1.

import type { TokenClass } from "../analysis.ts";
import type { Consistency, OutlierKind } from "../consistency.ts";
import type { ActivationPositions } from "../positions/activations.ts";
import type { OutlierPositions } from "../positions/find_positions.ts";
import type { TokenPositions } from "../positions/tokens.ts";
import { PROJECTION_ORDER } from "../weight_outliers.ts";
import { COLORS } from "./chart.ts";
import {
	barsFigure,
	bounded,
	gridFigure,
	type LaboratoryFigure,
	linesFigure,
	type Values,
} from "./marks.ts";
import { formatShare, visibleText } from "./text.ts";

const RANKS = [
	{ name: "Top 1", color: COLORS.blue, symbol: "emptyCircle" },
	{ name: "Top 2", color: COLORS.green, symbol: "emptyRect" },
	{ name: "Top 3", color: COLORS.purple, symbol: "emptyDiamond" },
];
const PLACES = {
	hiddenState: { name: "hidden", title: "Hidden states h", symbol: "|h|", figure: 3 },
	downInput: {
		name: "down_input",
		title: "Down-projection inputs x_down",
		symbol: "|x_down|",
		figure: 4,
	},
};
const CLASSES: readonly TokenClass[] = [
	"initial token",
	"strong delimiter",
	"weak semantic",
	"other",
];

/** The layer as people read it, with the expert of a mixture. */
const layerName = ({ layer, expert }: { layer: number; expert?: number }): string | number =>
	expert === undefined ? layer + 1 : `${layer + 1}.${expert}`;

/** Which tokens: how many of each class, and the texts that carry most. */
function tokenFigures(
	{ classes, ranked, sequences }: TokenPositions,
	name: string,
	what: string,
	figure: string,
	model: string,
): LaboratoryFigure[] {
	const top = ranked.slice(0, 20), total = Object.values(classes).reduce((a, b) => a + b, 0);
	const nothing = "no token counts as an outlier by this definition";
	return [
		barsFigure({
			name: `${name}_token_classes`,
			title: `${what}: classes of outlier tokens`,
			subtitle: `${model}; ${total} outlier tokens of ${sequences} sequences`,
			caption:
				`What kind of tokens carry outliers (the paper's Fig. ${figure}). Weak semantics are words ` +
				"such as “the”, numbers and blanks.",
			nothing,
			across: "Class",
			categories: [...CLASSES],
			upward: "Outlier tokens",
			values: total === 0 ? [] : [{
				name: "Tokens",
				color: COLORS.blue,
				values: CLASSES.map((of) => ({ value: classes[of] })),
			}],
		}),
		barsFigure({
			name: `${name}_tokens`,
			title: `${what}: texts of outlier tokens`,
			subtitle: `${model}; the most frequent ${top.length} of ${ranked.length}`,
			caption: "The token texts on which outliers sit. “␣” is a space, “\\n” a line break.",
			nothing,
			across: "Token",
			categories: top.map(({ text }) => visibleText(text, 16)),
			upward: "Count",
			values: top.length === 0 ? [] : [
				{ name: "All", color: COLORS.blue, values: top.map(({ count }) => ({ value: count })) },
				{
					name: "First of its sequence",
					color: COLORS.orange,
					values: top.map(({ initial }) => ({ value: initial })),
				},
			],
		}),
	];
}

function activationFigures(
	{ place, layers, features, tokens }: ActivationPositions,
	model: string,
): LaboratoryFigure[] {
	const { name, title, symbol, figure } = PLACES[place], categories = layers.map(layerName);
	const lines: Values[] = RANKS.map((rank, i) => ({
		...rank,
		values: layers.map(({ top }) => bounded(top[i])),
	}));
	const ranked = new Map<number, number>();
	for (const { features: some } of features) {
		for (const { feature, ranks, outlierSequences } of some) {
			const weight = ranks[0] + ranks[1] + outlierSequences;
			ranked.set(feature, (ranked.get(feature) ?? 0) + weight);
		}
	}
	const shown = [...ranked].sort(([a, x], [b, y]) => y - x || a - b).slice(0, 24)
		.map(([feature]) => feature).sort((a, b) => a - b);
	return [
		linesFigure({
			name: `${name}_layers`,
			title: `${title}: which layers`,
			subtitle: `${model}; means over ${
				layers[0]?.sequences ?? 0
			} sequences, whiskers are the lower and upper bound`,
			caption:
				`The three largest ${symbol} of each layer and the median (the paper's Fig. ${figure}a), on a logarithmic axis.`,
			across: "Layer",
			categories,
			upward: symbol,
			log: true,
			values: [...lines, {
				name: "Median",
				color: COLORS.grey,
				symbol: "emptyTriangle",
				values: layers.map(({ median }) => bounded(median)),
			}],
		}),
		gridFigure({
			name: `${name}_features`,
			title: `${title}: which features`,
			subtitle:
				`${model}; features that are often among the two largest of a layer, or have outliers`,
			caption:
				`max ${symbol} of a feature in the sequences where it is one of the two largest of the layer or has an ` +
				`outlier (the points of the paper's Fig. ${figure}${
					place === "hiddenState" ? "c" : "b"
				}); empty cells are ` +
				"features that are neither. A strong row is a feature that carries outliers through many layers.",
			across: "Layer",
			downward: "Feature",
			columns: features.map(layerName),
			rows: shown,
			values: shown.map((feature) =>
				features.map(({ features: some }) =>
					some.find((each) => each.feature === feature)?.maximum.mean ?? null
				)
			),
			valueName: `max ${symbol}`,
			colors: "log",
		}),
		...tokens
			? tokenFigures(tokens, name, title, place === "hiddenState" ? "3b" : "4c", model)
			: [],
	];
}

function weightFigures({ weights }: OutlierPositions, model: string): LaboratoryFigure[] {
	const layers = [...new Set(weights.matrices.map(({ layer }) => layer))];
	const projections = PROJECTION_ORDER.filter((each) =>
		weights.matrices.some(({ projection }) => projection === each)
	);
	const colors = [
		COLORS.sky,
		COLORS.green,
		COLORS.purple,
		COLORS.orange,
		COLORS.blue,
		COLORS.black,
		COLORS.vermilion,
	];
	const largest = (layer: number, projection: string) => {
		const ratios = weights.matrices.filter((matrix) =>
			matrix.layer === layer && matrix.projection === projection
		).map(({ ratio }) => ratio);
		return ratios.length > 0 ? { value: ratios.reduce((a, b) => Math.max(a, b)) } : null;
	};
	const columns = weights.matrices.flatMap(({ layer, projection, expert, columns }) =>
		columns.top.map(({ index, ratio }) => ({
			name: `${layerName({ layer, ...expert !== undefined && { expert } })} ${projection} ${index}`,
			ratio,
			limit: columns.limit,
		}))
	).sort((a, b) => b.ratio - a.ratio).slice(0, 24);
	return [
		linesFigure({
			name: "weights_modules",
			title: "Weights: the extremal ratio of every matrix",
			subtitle: `${model}; max|w| / mean|w| of the row or column where it is largest`,
			caption:
				"Which matrices have weights far beyond their column's mean (the paper's Fig. 5a). The dashed line is " +
				"the reference over all matrices of a layer.",
			across: "Layer",
			categories: layers.map((layer) => layer + 1),
			upward: "max / mean",
			log: true,
			values: [
				...projections.map((projection, i) => ({
					name: projection,
					color: colors[i % colors.length]!,
					values: layers.map((layer) => largest(layer, projection)),
				})),
				{
					name: "reference",
					color: COLORS.grey,
					dash: "dashed" as const,
					symbol: "none",
					values: weights.reference.map(({ ratio }) => ({ value: ratio })),
				},
			],
		}),
		barsFigure({
			name: "weights_columns",
			title: "Weights: the columns with the largest extremal ratio",
			subtitle: `${model}; layer, projection and column`,
			caption:
				`max|w| / mean|w| of single columns (the paper's Fig. 5b and 5c). No column can exceed its length.`,
			across: "Layer, projection, column",
			categories: columns.map(({ name }) => name),
			upward: "max / mean",
			values: [
				{
					name: "Ratio",
					color: COLORS.vermilion,
					values: columns.map(({ ratio }) => ({ value: ratio })),
				},
			],
		}),
	];
}

function attentionFigures(
	{ attention, heads }: OutlierPositions,
	model: string,
): LaboratoryFigure[] {
	const most = Math.max(0, ...heads.layers.map((layer) => layer.heads.length));
	const nothing = "no sequence has an outlier key by this definition";
	return [
		linesFigure({
			name: "attention_layers",
			title: "Attention: which layers",
			subtitle:
				`${model}; cumulative attention of keys, mean over heads, whiskers are the lower and upper bound`,
			caption:
				"The largest cumulative attention Â of a key, the second, and the median (the paper's Fig. 6a).",
			across: "Layer",
			categories: attention.layers.map(({ layer }) => layer + 1),
			upward: "Â",
			values: [
				...RANKS.slice(0, 2).map((rank, i) => ({
					...rank,
					values: attention.layers.map(({ top }) => bounded(top[i])),
				})),
				{
					name: "Median",
					color: COLORS.grey,
					symbol: "emptyTriangle",
					values: attention.layers.map(({ median }) => bounded(median)),
				},
			],
		}),
		...tokenFigures(attention.keys, "attention", "Attention", "6b", model),
		linesFigure({
			name: "attention_heads_bounds",
			title: "Attention: how much the outlier keys take",
			subtitle: `${model}; mean over heads, whiskers are the heads with least and most`,
			caption:
				"The share of all attention that goes to the outlier keys of a sequence: mean, lower and upper bound over " +
				"the heads of a layer (the paper's Fig. 6c).",
			nothing,
			across: "Layer",
			categories: heads.layers.map(({ layer }) => layer + 1),
			upward: "Share",
			formatter: formatShare,
			values: heads.layers.length === 0 ? [] : [{
				name: "Mean over heads",
				color: COLORS.vermilion,
				values: heads.layers.map(({ overHeads }) => bounded(overHeads)),
			}],
		}),
		gridFigure({
			name: "attention_heads",
			title: "Attention: each head",
			subtitle: `${model}; mean over ${heads.sequences} sequences`,
			caption: "The share of attention to the outlier keys of each head.",
			nothing,
			across: "Layer",
			downward: "Head",
			columns: heads.layers.map(({ layer }) => layer + 1),
			rows: Array.from({ length: most }, (_, head) => head),
			values: Array.from(
				{ length: most },
				(_, head) => heads.layers.map((layer) => layer.heads[head]?.mean ?? null),
			),
			valueName: "Share",
			colors: "magnitude",
			formatter: formatShare,
		}),
	];
}

/** Fig. 3 to 6. */
export function positionFigures(positions: OutlierPositions, model: string): LaboratoryFigure[] {
	return [
		...activationFigures(positions.hiddenState, model),
		...activationFigures(positions.downInput, model),
		...weightFigures(positions, model),
		...attentionFigures(positions, model),
	];
}

const KINDS: Record<OutlierKind, string> = {
	downWeight: "W_down",
	downInput: "x_down",
	hiddenState: "h",
	attention: "attention",
};

/** What a row of Table 1 compares. */
export const pairName = (
	{ first, second, dimension }: Pick<
		Consistency["pairs"][number],
		"first" | "second" | "dimension"
	>,
) => `${KINDS[first]} → ${KINDS[second]}, ${dimension === "feature" ? "features" : "tokens"}`;

/** Table 1, and the same by layer. */
export function consistencyFigures(
	{ pairs, sequences }: Consistency,
	model: string,
): LaboratoryFigure[] {
	const layers = [...new Set(pairs.flatMap(({ byLayer }) => byLayer.map(({ layer }) => layer)))]
		.sort((a, b) => a - b);
	const some = pairs.some(({ overlap }) => overlap !== null);
	const nothing = "no layer has outliers of both kinds";
	return [
		barsFigure({
			name: "consistency",
			title: "Consistency: the overlap of each pair",
			subtitle: `${model}; ${sequences} sequences, whiskers are 95 % intervals over sequences`,
			caption:
				"Which share of the outliers of the first kind stand where there is one of the second (Table 1 of the paper).",
			nothing,
			across: "Pair",
			categories: pairs.map(pairName),
			upward: "Overlap",
			formatter: formatShare,
			values: some
				? [{
					name: "Overlap",
					color: COLORS.blue,
					values: pairs.map(({ overlap, interval }) =>
						overlap === null
							? null
							: { value: overlap, ...interval && { low: interval[0], high: interval[1] } }
					),
				}]
				: [],
		}),
		gridFigure({
			name: "consistency_layers",
			title: "Consistency: the overlap of each pair by layer",
			subtitle: `${model}; empty where a kind has no outlier in any sequence`,
			caption: "The same, layer by layer.",
			nothing,
			across: "Layer",
			downward: "Pair",
			columns: layers.map((layer) => layer + 1),
			rows: pairs.map(pairName),
			values: pairs.map(({ byLayer }) =>
				layers.map((layer) => byLayer.find((each) => each.layer === layer)?.overlap ?? null)
			),
			valueName: "Overlap",
			colors: "magnitude",
			formatter: formatShare,
		}),
	];
}
