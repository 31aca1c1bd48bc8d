// Figures of causes, beside their controls.

import type { Estimate } from "../interventions/estimate.ts";
import type { Condition } from "../interventions/ablate.ts";
import type { Causes } from "../lifecycle/trace_causes.ts";
import { COLORS } from "./chart.ts";
import { barsFigure, type Bounded, type LaboratoryFigure } from "./marks.ts";
import { formatNumber, formatShare } from "./text.ts";

const REMOVED = { weight: "Weights", activation: "Activations", attention: "Attention" };

const estimated = (estimate: Estimate | null): Bounded =>
	estimate &&
	{ value: estimate.mean, low: estimate.interval[0], high: estimate.interval[1] };

/** Each link taken away, beside as many random entries. */
export function causeFigures({ links, layer }: Causes, model: string): LaboratoryFigure[] {
	const categories = links.map(({ removed }) => `${REMOVED[removed]} removed`);
	const count = links[0]?.ablation.clean.losses.length ?? 0;
	const subtitle = `${model}; means over ${count} texts, whiskers are 95 % intervals`;
	const figure = (
		name: string,
		title: string,
		caption: string,
		upward: string,
		of: (condition: Condition) => Bounded,
		formatter: (value: number) => string = formatNumber,
	) =>
		barsFigure({
			name: `causes_${name}`,
			title,
			subtitle,
			caption: `${caption} A control changes as many random entries of the same tensors.`,
			across: "What is taken away",
			categories,
			upward,
			formatter,
			values: [
				{
					name: "Clean",
					color: COLORS.grey,
					values: links.map(({ ablation }) => of(ablation.clean)),
				},
				{
					name: "Removed",
					color: COLORS.vermilion,
					values: links.map(({ ablation }) => of(ablation.ablated)),
				},
				{
					name: "Control",
					color: COLORS.sky,
					values: links.map(({ ablation: { controls: [first] } }) => first ? of(first) : null),
				},
			],
		});
	const after =
		(of: (layer: Condition["layers"][number]) => Estimate | null) => ({ layers }: Condition) =>
			estimated(of(layers[Math.min(layer + 1, layers.length - 1)]!));
	return [
		barsFigure({
			name: "causes_loss",
			title: "Causes: what the loss becomes",
			subtitle,
			caption:
				"How much the loss of the next token grows when a link is taken away, and when as many random entries are.",
			nothing: "the texts are too short, or the model predicts no next token",
			across: "What is taken away",
			categories,
			upward: "Change of loss (nats)",
			values: count === 0 ? [] : [
				{
					name: "Removed",
					color: COLORS.vermilion,
					values: links.map(({ ablation }) => estimated(ablation.effect)),
				},
				{
					name: "Control",
					color: COLORS.sky,
					values: links.map(({ ablation }) => estimated(ablation.controlEffect)),
				},
			],
		}),
		figure(
			"hidden",
			`Causes: the largest |h| behind the layer after layer ${
				layer + 1
			}, where outliers come about`,
			"Whether the outlier goes with the link.",
			"max |h|",
			after(({ hiddenState }) => hiddenState.max),
		),
		figure(
			"attention",
			`Causes: attention to the outlier tokens in the layer after`,
			"The share of attention, mean over heads.",
			"Share",
			after(({ share }) => share),
			formatShare,
		),
		figure(
			"values",
			`Causes: how long the outlier tokens' values are in the layer after`,
			"‖v‖ over the mean ‖v‖ of other tokens.",
			"Ratio",
			after(({ valueRatio }) => valueRatio),
		),
	];
}
