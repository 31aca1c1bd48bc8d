// Figures of cumulative attention: shares by layer (the paper's Fig. 6a), by layer and head (Fig. 6c),
// by layer and token, and the classes of the tokens that have outliers (Fig. 3b, 6b).

import type { Analysis, AttentionAnalysis, TokenClass } from "../analysis.ts";
import { mean, sequenceName, shownSequence } from "./activation_figures.ts";
import { categoryAxis, COLORS, draw, type Figure, grid, legend, valueAxis } from "./chart.ts";
import { heatMap, tokenLabels } from "./heat_map.ts";
import { alone, linesFigure } from "./marks.ts";
import { count, formatNumber, formatShare, plainText } from "./text.ts";

/** The classes of tokens, in the order that figures and tables show. */
export const TOKEN_CLASSES: TokenClass[] = [
	"initial token",
	"strong delimiter",
	"weak semantic",
	"other",
];

/** The figures of the attention. */
export function attentionFigures(analysis: Analysis): Figure[] {
	const byLayer = Map.groupBy(analysis.attention, ({ layer }) => layer);
	const layers = [...byLayer].sort(([a], [b]) => a - b)
		.map(([layer, sequences]) => ({ layer, sequences }));
	return [
		layersFigure(analysis, layers),
		headsFigure(analysis, layers),
		tokensFigure(analysis, layers),
	];
}

interface Layer {
	layer: number;
	sequences: AttentionAnalysis[];
}

function layersFigure(analysis: Analysis, layers: Layer[]): Figure {
	const { attentionShare } = analysis.criteria;
	const average = (pick: (head: AttentionAnalysis["mean"]) => number | undefined) =>
		layers.map(({ sequences }) =>
			mean(sequences.map((entry) => pick(entry.mean)).filter((share) => share !== undefined))
		);
	const first = average(({ top }) => top[0]?.share);
	const second = average(({ top }) => top[1]?.share);
	// The median comes as Â; any key's Â and share give the sum to divide by.
	const median = average(({ top, median }) =>
		top[0] && top[0].value > 0 ? median * top[0].share / top[0].value : undefined
	);
	return linesFigure({
		name: "attention_layers",
		title: "Attention: largest and median share of one key by layer",
		subtitle: `${plainText(analysis.model.name)}; mean over heads and ${
			count(analysis.sequences.length, "sequence")
		}`,
		caption:
			`Cumulative attention is what a key receives from all queries, here averaged over the ` +
			`heads and given as its share of all keys' sum: the largest, the second largest and the ` +
			`median key. A first line far above the median means that attention gathers on one key. ` +
			`The dashed line is ρ, the share from which a key counts as an outlier.`,
		across: "Layer",
		categories: layers.map(({ layer }) => layer),
		upward: "Share of cumulative attention",
		formatter: formatShare,
		values: first.every((share) => share === null) ? [] : [
			{ name: "Top 1", values: alone(first), color: COLORS.blue, symbol: "emptyCircle" },
			{ name: "Top 2", values: alone(second), color: COLORS.green, symbol: "emptyRect" },
			{ name: "Median", values: alone(median), color: COLORS.grey, symbol: "emptyTriangle" },
			{
				name: `ρ = ${formatShare(attentionShare)}`,
				values: alone(layers.map(() => attentionShare)),
				color: COLORS.black,
				symbol: "none",
				dash: "dashed",
			},
		],
	});
}

function headsFigure(analysis: Analysis, layers: Layer[]): Figure {
	const heads = [
		...new Set(analysis.attention.flatMap(({ heads }) => heads.map(({ head }) => head))),
	].sort((a, b) => a - b);
	const rows = layers.map(({ sequences }) => {
		const shares = new Map<number, number[]>();
		for (const entry of sequences) {
			for (const { head, top } of entry.heads) {
				if (top.length) shares.set(head, [...shares.get(head) ?? [], top[0].share]);
			}
		}
		return heads.map((head) => mean(shares.get(head) ?? []) ?? NaN);
	});
	return heatMap({
		name: "attention_heads",
		title: "Attention: largest share of one key by layer and head",
		subtitle: `${plainText(analysis.model.name)}; mean over ${
			count(analysis.sequences.length, "sequence")
		}`,
		caption: `For each head, the largest share of its cumulative attention that a single key ` +
			`receives, averaged over the sequences; layer 1 is at the bottom. Heads of a strong colour send nearly all ` +
			`their attention to one token; how many do so varies strongly over heads and layers.`,
		layers: layers.map(({ layer }) => layer),
		columnName: "Head",
		columns: heads.map(String),
		rows,
		log: false,
		valueName: "Share",
		formatter: formatShare,
	});
}

function tokensFigure(analysis: Analysis, layers: Layer[]): Figure {
	const shown = shownSequence(analysis);
	const sequence = analysis.sequences[shown];
	const rows = layers.map(({ sequences }) =>
		sequences.find((entry) => entry.sequence === shown)?.tokenShares ?? []
	);
	const tokens = Math.max(0, ...rows.map((row) => row.length));
	return heatMap({
		name: "attention_tokens",
		title: "Attention: share of cumulative attention by layer and token",
		subtitle: `${plainText(analysis.model.name)}; mean over heads; ${sequenceName(sequence)}${
			sequence && tokens < sequence.tokenIds.length ? `, the first ${tokens} shown` : ""
		}`,
		caption:
			`The share of cumulative attention that each token of one sequence receives as a key, ` +
			`averaged over the heads, with layer 1 at the bottom. A strong column is a token that attracts ` +
			`attention throughout the model. Causal attention alone favours early tokens, since more ` +
			`queries see them.`,
		layers: layers.map(({ layer }) => layer),
		columnName: "Token (position and text)",
		columns: sequence ? tokenLabels(sequence, tokens) : [],
		rows,
		log: false,
		valueName: "Share",
		formatter: formatShare,
	});
}

/** The classes of the tokens with outliers, of all three kinds. */
export function tokenClassesFigure(analysis: Analysis): Figure {
	const { hiddenState, downInput, attention } = analysis.summary;
	const kinds = [
		{ name: "Hidden state", counts: hiddenState.tokenClasses, color: COLORS.blue },
		{ name: "Down-projection input", counts: downInput.tokenClasses, color: COLORS.orange },
		{ name: "Attention", counts: attention.tokenClasses, color: COLORS.green },
	].map((kind) => {
		const total = TOKEN_CLASSES.reduce((sum, name) => sum + kind.counts[name], 0);
		return { ...kind, total, label: `${kind.name} (${count(total, "token")})` };
	});
	return draw({
		name: "token_classes",
		title: "Classes of the tokens with outliers",
		subtitle: `${plainText(analysis.model.name)}; ${
			count(analysis.sequences.length, "sequence")
		}; the number over a bar counts tokens`,
		caption:
			`Which tokens carry outliers, as shares of all outlier tokens of each kind: the first ` +
			`token of a sequence, strong delimiters (punctuation, line breaks), words of weak meaning ` +
			`(“the”, “and”, blanks), and others. A token counts once, in however many layers it has ` +
			`outliers: by τ for activations, by ρ for attention.`,
		height: 400,
		nothing: "no token has an outlier",
		option: kinds.every(({ total }) => total === 0) ? null : {
			grid: grid(),
			legend: { ...legend(kinds.map(({ label }) => label)), itemWidth: 16 },
			xAxis: categoryAxis("Token class", TOKEN_CLASSES),
			yAxis: {
				...valueAxis("Share of outlier tokens", "value", (share) => formatShare(share)),
				min: 0,
				max: 1,
			},
			series: kinds.map(({ label, counts, total, color }) => ({
				type: "bar" as const,
				name: label,
				color,
				silent: true,
				barGap: "10%",
				data: TOKEN_CLASSES.map((name) => ({
					value: total ? counts[name] / total : 0,
					label: {
						show: counts[name] > 0,
						position: "top" as const,
						formatter: formatNumber(counts[name]),
						color: "#222222",
					},
				})),
			})),
		},
	});
}
