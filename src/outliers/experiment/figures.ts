// The pictures of a comparison of attentions: loss over training (the paper's Figure 12), the numbers in which
// outliers show, the largest activations by layer (Figure 11), and what rounding costs (Table 3).

import {
	categoryAxis,
	COLORS,
	draw,
	type Figure,
	grid,
	legend,
	line,
	valueAxis,
} from "../report/chart.ts";
import { count, formatNumber, formatShare } from "../report/text.ts";
import { mapsFigure } from "./maps_figure.ts";
import type { CompareResults } from "./experiment.ts";
import type { StepMeasurement } from "./piece.ts";
import { byVariant, spreadOf } from "./spread.ts";

const PALETTE = [
	COLORS.vermilion,
	COLORS.blue,
	COLORS.green,
	COLORS.purple,
	COLORS.orange,
	COLORS.sky,
	COLORS.black,
	COLORS.grey,
];

/** The colour and line of a variant: what differs in the one may be equal in the other. */
function look(i: number) {
	return {
		color: PALETTE[i % PALETTE.length]!,
		symbol: "none",
		...i >= PALETTE.length && { dash: "dashed" as const },
	};
}

/** Lines that the legend has room for beside each other, about. */
const PER_ROW = 5;

/** Room for a legend of several rows. */
function legendRoom(names: string[]) {
	return 96 + 20 * (Math.ceil(names.length / PER_ROW) - 1);
}

/** All pictures of a comparison. */
export function experimentFigures(results: CompareResults): Figure[] {
	const sentence = results.pieces.find(({ map }) => map);
	return [
		curve(results, {
			name: "loss",
			title: "Loss of held-out data over training",
			axis: "Cross-entropy in nats",
			caption:
				"Variants learn at different speed, so outliers are also compared at equal loss, below.",
			pick: ({ loss }) => loss,
			zero: false,
		}),
		curve(results, {
			name: "peak",
			title: "Largest activation over training",
			axis: "max |h| / mean |h|",
			caption:
				"The largest ratio of the embeddings and all layers but the last, whose hidden state also makes " +
				"the logits and is large in every variant.",
			pick: ({ headline }) => headline.peak,
			zero: true,
		}),
		curve(results, {
			name: "sink",
			title: "Attention to the first token over training",
			axis: "Share, queries counted by their gates",
			caption:
				"What the head that attends to position 0 most gives it, averaged over queries. A query whose " +
				"gate is shut counts little: where it looks has no effect. From 0.3 on a head counts as a sink.",
			pick: ({ headline }) => headline.strongestShare,
			zero: true,
			format: formatShare,
		}),
		curve(results, {
			name: "value_ratio",
			title: "Value of the first token over training",
			axis: "‖v₀‖ / mean ‖vₜ‖",
			caption:
				"Of the same head: near 0, its value is drained, so that attending to position 0 adds nothing; " +
				"near 1 it is like any other.",
			pick: ({ headline }) => headline.valueRatio,
			zero: true,
		}),
		...results.setting.layers > 1 ? [layersFigure(results)] : [],
		...sentence ? [mapsFigure(results)] : [],
		roundingFigure(results),
	];
}

interface Curve {
	name: string;
	title: string;
	axis: string;
	caption: string;
	pick: (measurement: StepMeasurement) => number;
	zero: boolean;
	format?: (value: number) => string;
}

function describe({ setting, data, seeds }: CompareResults): string {
	const { architecture, layers, heads, hiddenSize } = setting;
	return `${architecture === "gpt2" ? "GPT-2" : "LLaMA"}, ${count(layers, "layer")}, ` +
		`${count(heads, "head")}, width ${hiddenSize}; ${data.replace(/, seed.*/, "")}; ` +
		`${seeds.length > 1 ? `mean of ${seeds.length} seeds` : "one seed"}`;
}

/** A number over training: a line a variant, thin ones of its runs if there are several. */
function curve(results: CompareResults, { pick, zero, ...about }: Curve): Figure {
	const groups = byVariant(results), names = groups.map(([name]) => name);
	const steps = [
		...new Set(results.pieces.flatMap((piece) => piece.measurements.map((m) => m.step))),
	]
		.sort((a, b) => a - b);
	const valuesOf = (measurements: readonly StepMeasurement[]) => {
		const at = new Map(measurements.map((one) => [one.step, pick(one)]));
		return steps.map((step) => at.get(step) ?? null);
	};
	return draw({
		...about,
		subtitle: describe(results),
		height: 400 + legendRoom(names) - 96,
		option: steps.length === 0 ? null : {
			grid: grid({ top: legendRoom(names) }),
			legend: { ...legend(names), icon: "rect", itemHeight: 3 },
			xAxis: { ...categoryAxis("Updates", steps), boundaryGap: false },
			yAxis: {
				...valueAxis(about.axis, "value", about.format),
				scale: !zero,
				...zero && { min: 0 },
			},
			series: groups.flatMap(([name, pieces], i) => {
				const runs = pieces.map(({ measurements }) => valuesOf(measurements));
				const mean = steps.map((_, at) => spreadOf(runs.map((run) => run[at]))?.mean ?? null);
				const shown = { itemStyle: { opacity: 1 } }; // in the legend
				const thin = runs.length < 2 ? [] : runs.map((run) => ({
					...line(name, run, look(i)),
					lineStyle: { width: 1, opacity: 0.3 },
				}));
				return [...thin, { ...line(name, mean, look(i)), ...shown }];
			}),
		},
	});
}

/** The three largest |h| and the median by layer, a plot a variant (the paper's Figure 11). */
function layersFigure(results: CompareResults): Figure {
	const groups = byVariant(results), columns = Math.min(3, groups.length);
	const rows = Math.ceil(groups.length / columns), height = 210;
	const looks = [COLORS.blue, COLORS.green, COLORS.purple, COLORS.grey];
	const names = ["Top 1", "Top 2", "Top 3", "Median"];
	const lines = groups.map(([, pieces]) =>
		names.map((_, rank) =>
			(pieces[0]?.evidence ?? []).slice(0, -1).map((_, i) =>
				spreadOf(pieces.map(({ evidence }) => {
					const { top, median } = evidence[i]?.hiddenState ?? { top: [], median: NaN };
					return rank < 3 ? top[rank] : median;
				}))?.mean ?? null
			)
		)
	);
	const all = lines.flat(2).filter((x): x is number => x !== null && x > 0);
	const range = {
		min: 10 ** Math.floor(Math.log10(Math.min(...all))),
		max: 10 ** Math.ceil(Math.log10(Math.max(...all))),
	};
	const width = (900 - 78 - 20) / columns;
	return draw({
		name: "layers",
		title: "Largest and median |h| by layer",
		subtitle: describe(results),
		caption:
			"Means over held-out sequences at the end of training, on one logarithmic axis; layer 0 are the " +
			"embeddings. The last layer is left out: it also makes the logits, and is large in every variant.",
		height: 110 + rows * height,
		option: all.length === 0 ? null : {
			legend: legend(names),
			title: [
				...groups.map(([name], i) => ({
					text: name,
					left: 78 + (i % columns) * width + 4,
					top: 88 + Math.floor(i / columns) * height,
					textStyle: { fontSize: 13, color: COLORS.black, fontWeight: "normal" as const },
				})),
				{
					text: "Largest and median |h| by layer",
					subtext: describe(results),
					left: 16,
					top: 8,
					itemGap: 4,
					textStyle: { color: COLORS.black, fontSize: 16 },
					subtextStyle: { color: "#555555", fontSize: 12 },
				},
			],
			grid: groups.map((_, i) => ({
				left: 78 + (i % columns) * width,
				top: 112 + Math.floor(i / columns) * height,
				width: width - 44,
				height: height - 74,
				outerBoundsMode: "none" as const,
			})),
			xAxis: groups.map((_, i) => ({
				...categoryAxis("Layer", lines[i]![0]!.map((_, layer) => layer)),
				gridIndex: i,
				nameGap: 22,
			})),
			yAxis: groups.map((_, i) => ({
				...valueAxis(i % columns ? "" : "|h|", "log"),
				...range,
				gridIndex: i,
				nameGap: 46,
			})),
			series: groups.flatMap((_, i) =>
				names.map((name, rank) => ({
					...line(name, lines[i]![rank]!, { color: looks[rank]! }),
					xAxisIndex: i,
					yAxisIndex: i,
				}))
			),
		},
	});
}

const BITS = ["8", "7", "6", "5", "4"];

/** What fewer bits cost. */
function roundingFigure(results: CompareResults): Figure {
	const groups = byVariant(results), names = groups.map(([name]) => name);
	const lines = groups.map(([, pieces]) =>
		BITS.map((bits) => {
			const cost = spreadOf(pieces.map(({ compression }) => {
				const at = compression.find(({ name }) => name === `${bits} bits, a scale a matrix`)?.loss;
				const full = compression[0]?.loss;
				return at === null || at === undefined ? null : at - full!;
			}))?.mean;
			return cost !== undefined && cost > 1e-5 ? cost : null; // the axis has no place for less
		})
	);
	return draw({
		name: "rounding",
		title: "What rounding weights costs",
		subtitle: describe(results),
		caption:
			"How much the loss of held-out data rises when each matrix of the layers is rounded to whole " +
			"multiples of its largest absolute value over 2^(bits − 1) − 1. One outlier makes all steps coarse. " +
			`Rises below ${formatNumber(1e-5)} nats are left out.`,
		height: 400 + legendRoom(names) - 96,
		option: lines.flat().every((x) => x === null) ? null : {
			grid: grid({ top: legendRoom(names), left: 88 }),
			legend: { ...legend(names), icon: "rect", itemHeight: 3 },
			xAxis: categoryAxis("Bits of a weight", BITS),
			yAxis: { ...valueAxis("Rise of the loss in nats", "log"), nameGap: 66 },
			series: groups.map(([name], i) => line(name, lines[i]!, { ...look(i), symbol: "circle" })),
		},
	});
}
