// Figures of one activation, hidden state or down-projection input: magnitudes by layer (the paper's
// Fig. 3a, 4a), layers by tokens (Fig. 1, 3b), and layers by features (Fig. 3c, 4b).

import type { ActivationAnalysis, Analysis, AnalyzedSequence } from "../analysis.ts";
import {
	categoryAxis,
	colorAt,
	colorBar,
	colorRange,
	COLORS,
	draw,
	type Figure,
	grid,
	label,
	position,
	round,
	valueAxis,
	WIDTH,
} from "./chart.ts";
import { heatMap, tokenLabels } from "./heat_map.ts";
import { alone, linesFigure, told } from "./marks.ts";
import { count, formatNumber, plainText } from "./text.ts";

/** Which activation a figure is about. */
export interface Place {
	/** Start of the figures' names: `hidden_state`. */
	name: string;
	/** In titles: `Hidden state`. */
	title: string;
	/** In axis names: `|h|`. */
	symbol: string;
	/** In captions: what it is. */
	meaning: string;
	/** Its number of features. */
	features: number;
	/** Its numbers. */
	data: ActivationAnalysis;
}

/** The two activations of an analysis. */
export function places(analysis: Analysis): Place[] {
	return [{
		name: "hidden_state",
		title: "Hidden state",
		symbol: "|h|",
		meaning: "the hidden state h, the output of a layer",
		features: analysis.model.hiddenSize,
		data: analysis.hiddenState,
	}, {
		name: "down_input",
		title: "Down-projection input",
		symbol: "|x_down|",
		meaning: "x_down, the input of the MLP's down projection",
		features: analysis.model.intermediateSize,
		data: analysis.downInput,
	}];
}

/** The sequence that token figures show: the paper's sentence, else the shortest. */
export function shownSequence(analysis: Analysis): number {
	const { sequences } = analysis;
	const paper = sequences.findIndex(({ source }) => source === "paper sentence");
	if (paper >= 0) return paper;
	return sequences.reduce(
		(best, { tokenIds }, i) => tokenIds.length < sequences[best].tokenIds.length ? i : best,
		0,
	);
}

/** Names a sequence in a subtitle. */
export function sequenceName(sequence: AnalyzedSequence | undefined): string {
	if (!sequence) return "no sequence";
	return `${plainText(sequence.source)}, ${count(sequence.tokenIds.length, "token")}`;
}

/** The mean, or null of nothing. */
export function mean(numbers: number[]): number | null {
	return numbers.length ? numbers.reduce((sum, number) => sum + number, 0) / numbers.length : null;
}

/** The three figures of one activation. */
export function activationFigures(analysis: Analysis, place: Place): Figure[] {
	return [
		layersFigure(analysis, place),
		tokensFigure(analysis, place),
		featuresFigure(analysis, place),
	];
}

function layersFigure(analysis: Analysis, place: Place): Figure {
	const { layers } = place.data;
	const { tau } = analysis.criteria;
	const average = (pick: (layer: typeof layers[number]) => (number | undefined)[]) =>
		layers.map((layer) => mean(pick(layer).filter((x) => x !== undefined)));
	const tops = [0, 1, 2].map((rank) =>
		average(({ sequences }) => sequences.map(({ top }) => top[rank] && Math.abs(top[rank].value)))
	);
	const median = average(({ sequences }) => sequences.map((statistics) => statistics.median));
	const limit = average(({ sequences }) => sequences.map((statistics) => tau * statistics.mean));
	return linesFigure({
		name: `${place.name}_layers`,
		title: `${place.title}: largest and median magnitude by layer`,
		subtitle: `${plainText(analysis.model.name)}; mean over ${
			count(analysis.sequences.length, "sequence")
		}`,
		caption:
			`For each layer, the three largest ${place.symbol} and the median of ${place.meaning}, ` +
			`averaged over the sequences, on a logarithmic axis. A top line far above the median is an ` +
			`outlier; above the dashed line (τ = ${formatNumber(tau)} times the mean) it counts as one ` +
			`here. Outliers typically rise abruptly in an early layer and vanish in the last ones. ` +
			`Zeros, which a logarithmic axis cannot show, are left out.`,
		across: "Layer",
		categories: layers.map(({ layer }) => layer),
		upward: `Magnitude ${place.symbol}`,
		log: true,
		values: [
			{ name: "Top 1", values: tops[0], color: COLORS.blue, symbol: "emptyCircle" },
			{ name: "Top 2", values: tops[1], color: COLORS.green, symbol: "emptyRect" },
			{ name: "Top 3", values: tops[2], color: COLORS.purple, symbol: "emptyDiamond" },
			{ name: "Median", values: median, color: COLORS.grey, symbol: "emptyTriangle" },
			{
				name: `τ · mean ${place.symbol}`,
				values: limit,
				color: COLORS.black,
				symbol: "none",
				dash: "dashed" as const,
			},
		].map((line) => ({ ...line, values: alone(line.values) })),
	});
}

function tokensFigure(analysis: Analysis, place: Place): Figure {
	const shown = shownSequence(analysis);
	const sequence = analysis.sequences[shown];
	const rows = place.data.layers.map(({ sequences }) =>
		largestOf(sequences.filter(({ sequence }) => sequence === shown).map((one) => one.tokenMaxima))
	);
	const tokens = Math.max(0, ...rows.map((row) => row.length));
	return heatMap({
		name: `${place.name}_tokens`,
		title: `${place.title}: largest magnitude by layer and token`,
		subtitle: `${plainText(analysis.model.name)}; ${sequenceName(sequence)}${
			sequence && tokens < sequence.tokenIds.length ? `, the first ${tokens} shown` : ""
		}`,
		caption: `The largest ${place.symbol} over all features for each token and layer of one ` +
			`sequence, with layer 1 at the bottom; ${place.meaning}. Colours go by the logarithm. A strong ` +
			`column is a token that carries outliers through many layers: typically the first token, and ` +
			`delimiters such as “.”. “␣” is a space, “\\n” a line break.`,
		layers: place.data.layers.map(({ layer }) => layer),
		columnName: "Token (position and text)",
		columns: sequence ? tokenLabels(sequence, tokens) : [],
		rows,
		log: true,
		valueName: `max ${place.symbol}`,
	});
}

function featuresFigure(analysis: Analysis, place: Place): Figure {
	const { layers } = place.data;
	const points = layers.flatMap(({ sequences }, row) => {
		// The largest of a feature's ratios over the sequences; no more features than of one sequence.
		const ratios = new Map<number, number>();
		for (const { mean, topFeatures } of sequences) {
			for (const { feature, value } of topFeatures) {
				const ratio = Math.abs(value) / mean;
				if (ratio > (ratios.get(feature) ?? 0) && Number.isFinite(ratio)) {
					ratios.set(feature, ratio);
				}
			}
		}
		return [...ratios].map(([feature, ratio]) => ({ row, feature, ratio }))
			.sort((a, b) => b.ratio - a.ratio)
			.slice(0, Math.max(0, ...sequences.map(({ topFeatures }) => topFeatures.length)));
	}).sort((a, b) => a.ratio - b.ratio); // the largest are drawn last, on top
	const range = colorRange(points.map(({ ratio }) => ratio), true);
	const top = 92, plotHeight = 340, right = 176;
	const largest = layers.length > 50 ? 11 : 18, smallest = layers.length > 50 ? 3 : 5;
	const height = (feature: number) =>
		top + plotHeight * (1 - feature / Math.max(1, place.features));
	const left = 78, layerWidth = (WIDTH - left - right) / layers.length;
	const dots = points.map(({ row, feature, ratio }) => {
		const place = range === null ? 0 : position(ratio, range);
		const radius = (smallest + (largest - smallest) * place) / 2;
		const [x, y] = [left + (row + 0.5) * layerWidth, height(feature)];
		return told(
			`<circle cx="${round(x)}" cy="${round(y)}" r="${round(radius)}" ` +
				`fill="${colorAt(place)}" stroke="#555555" stroke-width="0.6" opacity="0.8"/>`,
			`Layer ${layers[row].layer}, feature ${feature}: ${formatNumber(ratio)} times the mean`,
		);
	});
	return draw({
		name: `${place.name}_features`,
		title: `${place.title}: largest features by layer`,
		subtitle: `${plainText(analysis.model.name)}; maximum over ${
			count(analysis.sequences.length, "sequence")
		}`,
		caption:
			`Each dot is one of the features (channels) with the largest ${place.symbol} in its layer; ` +
			`${place.meaning}. Size and colour give that maximum as a multiple of the layer's mean ` +
			`${place.symbol}, on a logarithmic scale; the strongest features are named at the right. Strong ` +
			`dots in a row are a feature that carries outliers through many layers.`,
		height: top + plotHeight + 58,
		overlay: dots.join(""),
		option: range === null ? null : {
			grid: grid({ top, right, left }),
			xAxis: categoryAxis("Layer", layers.map(({ layer }) => layer)),
			yAxis: { ...valueAxis("Feature index", "value"), min: 0, max: Math.max(1, place.features) },
			graphic: [
				...colorBar(range, top, plotHeight, "max / mean"),
				...strongest(points, (a, b) => Math.abs(height(a) - height(b)) > 14).map((feature) =>
					label(`◂ ${feature}`, WIDTH - right + 4, height(feature))
				),
			],
		},
	});
}

// The features worth a name: a fifth of the largest ratio or more, and their names do not meet.
function strongest(
	ascending: { feature: number; ratio: number }[],
	apart: (a: number, b: number) => boolean,
): number[] {
	const chosen: number[] = [];
	for (const { feature, ratio } of ascending.toReversed()) {
		if (ratio < ascending.at(-1)!.ratio / 5 || chosen.length === 6) break;
		if (chosen.every((other) => apart(other, feature))) chosen.push(feature);
	}
	return chosen;
}

/** Token by token, the largest of several rows: of the experts that got it, where there are several. */
function largestOf(rows: number[][]): number[] {
	const length = Math.max(0, ...rows.map((row) => row.length));
	return Array.from({ length }, (_, i) => Math.max(...rows.map((row) => row[i] ?? 0)));
}
