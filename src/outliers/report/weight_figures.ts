// Figures of the weights: max/mean ratios of every projection by layer (the paper's Fig. 5a), and of
// the down projection's columns.

import type { Analysis, Projection } from "../analysis.ts";
import { COLORS, type Figure } from "./chart.ts";
import { alone, linesFigure } from "./marks.ts";
import { formatNumber, plainText } from "./text.ts";

const LOOKS: Record<Projection, { color: string; symbol: string }> = {
	query: { color: COLORS.blue, symbol: "circle" },
	key: { color: COLORS.sky, symbol: "rect" },
	value: { color: COLORS.green, symbol: "triangle" },
	output: { color: COLORS.black, symbol: "diamond" },
	gate: { color: COLORS.orange, symbol: "emptyCircle" },
	up: { color: COLORS.purple, symbol: "emptyRect" },
	down: { color: COLORS.vermilion, symbol: "emptyDiamond" },
};

/** The figures of the weights. */
export function weightFigures(analysis: Analysis): Figure[] {
	return [modulesFigure(analysis), downFigure(analysis)];
}

function modulesFigure(analysis: Analysis): Figure {
	const { tau } = analysis.criteria;
	const layers = weightLayers(analysis);
	const projections = (Object.keys(LOOKS) as Projection[])
		.filter((name) => analysis.weights.some(({ projection }) => projection === name));
	const largest = new Map(analysis.weights.map(({ layer, projection, topRows, topColumns }) => [
		`${layer} ${projection}`,
		Math.max(topRows[0]?.ratio ?? 0, topColumns[0]?.ratio ?? 0),
	]));
	return linesFigure({
		name: "weights_modules",
		title: "Weights: largest max/mean ratio of each projection by layer",
		subtitle: plainText(analysis.model.name),
		caption:
			`For each weight matrix, the largest max|w| / mean|w| along any of its rows or columns, ` +
			`on a logarithmic axis. A projection with weight outliers stands out from the others: ` +
			`typically the down projection, in the layers where the hidden state's outliers begin and ` +
			`end. A ratio cannot exceed the length of its row or column; the dashed line is τ.`,
		across: "Layer",
		categories: layers,
		upward: "Largest max|w| / mean|w|",
		log: true,
		values: ![...largest.values()].some((ratio) => ratio > 0) ? [] : [
			...projections.map((name) => ({
				name,
				values: alone(layers.map((layer) => largest.get(`${layer} ${name}`) ?? null)),
				...LOOKS[name],
			})),
			{
				name: `τ = ${formatNumber(tau)}`,
				values: alone(layers.map(() => tau)),
				color: COLORS.black,
				symbol: "none",
				dash: "dashed",
			},
		],
	});
}

function downFigure(analysis: Analysis): Figure {
	const layers = weightLayers(analysis);
	const down = new Map(
		analysis.weights.filter(({ projection }) => projection === "down")
			.map((weights) => [weights.layer, weights]),
	);
	const ratios = (pick: (weights: Analysis["weights"][number]) => number | undefined) =>
		alone(layers.map((layer) => down.has(layer) ? pick(down.get(layer)!) ?? null : null));
	return linesFigure({
		name: "weights_down_layers",
		title: "Down projection: largest and median column ratio by layer",
		subtitle: plainText(analysis.model.name),
		caption:
			`For each layer's down projection, max|w| / mean|w| along its columns: the largest over ` +
			`all columns, and the median column, on a logarithmic axis. A column is what one feature of ` +
			`x_down contributes to the hidden state; a peak marks a layer in which one such feature has ` +
			`an outlier weight.`,
		across: "Layer",
		categories: layers,
		upward: "Column max|w| / mean|w|",
		log: true,
		values: [
			{
				name: "Largest column",
				values: ratios(({ topColumns }) => topColumns[0]?.ratio),
				color: COLORS.vermilion,
				symbol: "emptyCircle",
			},
			{
				name: "Median column",
				values: ratios(({ medianColumnRatio }) => medianColumnRatio),
				color: COLORS.grey,
				symbol: "emptyTriangle",
			},
		],
	});
}

function weightLayers(analysis: Analysis): number[] {
	return [...new Set(analysis.weights.map(({ layer }) => layer))].sort((a, b) => a - b);
}
