// Figures of the life of outliers, for one sequence: the counterparts of the paper's Fig. 7 to 9.

import type { Surface } from "../lifecycle/surface.ts";
import type { FeatureTrace } from "../lifecycle/mlp_parts.ts";
import type { Disappearance, Emergence } from "../lifecycle/trace_mlp_layers.ts";
import type { SpreadTrace } from "../lifecycle/trace_spread.ts";
import { COLORS } from "./chart.ts";
import { barsFigure, gridFigure, type LaboratoryFigure, linesFigure } from "./marks.ts";
import { formatNumber, formatShare, visibleText } from "./text.ts";

/** What the figures of a trace are told: the model's name and the sequence's token texts. */
export interface TraceText {
	model: string;
	tokens: readonly string[];
}

/** A token by position and text. */
export const tokenName = (tokens: readonly string[], token: number): string =>
	`${token} ${visibleText(tokens[token] ?? "?", 14)}`;

const LOOKS = [
	COLORS.blue,
	COLORS.vermilion,
	COLORS.green,
	COLORS.purple,
	COLORS.orange,
	COLORS.sky,
];

const MEANING: Record<string, string> = {
	"middle": "the residual stream before the MLP",
	"mlp.input": "what the MLP reads, after its norm",
	"mlp.gate": "the gate projection, before the activation function",
	"mlp.up": "the up projection",
	"mlp.activated": "behind the activation function",
	"mlp.down.input": "the product x_down, which the down projection reads",
	"mlp.output": "what the MLP adds",
	"output": "the residual stream behind the layer",
};

/** A surface of tokens by features or neurons, or of a weight, as a grid of signed values. */
function surfaceFigure(
	{ name, rows, columns, values }: Surface,
	text: TraceText,
	of: {
		prefix: string;
		title: string;
		caption: string;
		downward: string;
		across: string;
		tokens: "rows" | "both" | "none";
	},
): LaboratoryFigure {
	const named = (labels: number[], areTokens: boolean) =>
		areTokens ? labels.map((token) => tokenName(text.tokens, token)) : labels.map(String);
	return gridFigure({
		name: `${of.prefix}_${name.replaceAll(/\W+/g, "_")}`,
		title: of.title,
		subtitle: text.model,
		caption:
			`${of.caption} Indices are a choice: those traced, their neighbours, and some others. Colours go by the ` +
			"root of the value.",
		across: of.across,
		downward: of.downward,
		columns: named(columns, of.tokens === "both"),
		rows: named(rows, of.tokens !== "none"),
		values,
		valueName: "value",
		colors: name === "attention" ? "magnitude" : "signed",
	});
}

function contributionsFigure(
	features: readonly FeatureTrace[],
	text: TraceText,
	prefix: string,
	title: string,
	caption: string,
): LaboratoryFigure {
	const all = features.flatMap(({ token, feature, contributions }) =>
		contributions.slice(0, 6).map(({ neuron, expert, value }) => ({
			name: `${tokenName(text.tokens, token)}: ${feature} ← ` +
				`${expert === undefined ? "" : `expert ${expert} `}${neuron}`,
			value,
		}))
	).sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 16);
	return barsFigure({
		name: `${prefix}_neurons`,
		title,
		subtitle: text.model,
		caption,
		across: "Token: feature ← neuron",
		categories: all.map(({ name }) => name),
		upward: "Adds",
		values: [{
			name: "product · weight",
			color: COLORS.vermilion,
			values: all.map(({ value }) => ({ value })),
		}],
	});
}

/** Fig. 7. */
export function emergenceFigures({ ledger, mlp }: Emergence, text: TraceText): LaboratoryFigure[] {
	const layer = mlp.layer + 1, { peaks } = ledger;
	return [
		linesFigure({
			name: "emergence_peaks",
			title: "The largest value of the residual stream",
			subtitle: `${text.model}; layer 0 is the embedding`,
			caption:
				"max|h| over mean|h| behind each layer. Outliers come about where it rises abruptly " +
				`(layer ${ledger.emergence + 1}) and go where it falls (layer ${
					ledger.disappearance + 1
				}).`,
			across: "Layer",
			categories: peaks.map((peak) => peak.layer + 1),
			upward: "max / mean",
			log: true,
			values: [
				{
					name: "max|h| / mean|h|",
					color: COLORS.blue,
					values: peaks.map(({ ratio }) => ({ value: ratio })),
				},
				{
					name: "max|h|",
					color: COLORS.orange,
					symbol: "emptyRect",
					values: peaks.map(({ value }) => ({ value: Math.abs(value) })),
				},
			],
		}),
		contributionsFigure(
			mlp.features,
			text,
			"emergence",
			`Layer ${layer}: the neurons that write the outliers`,
			"What single neurons add to the outliers through one weight each: their product of gate and up times an entry of W_down.",
		),
		...mlp.stages.map((stage) => {
			const meaning = MEANING[stage.name.replace(/experts\.\d+\./, "")];
			return surfaceFigure(stage, text, {
				prefix: "emergence",
				title: `Layer ${layer}: ${stage.name}`,
				caption: `Values of ${stage.name}${
					meaning ? `, ${meaning}` : ""
				} (a stage of the paper's Fig. 7).`,
				downward: "Token",
				across: "Feature or neuron",
				tokens: "rows",
			});
		}),
		...mlp.weights.map((weight) =>
			surfaceFigure(weight, text, {
				prefix: "emergence_weight",
				title: `Layer ${layer}: weights of ${weight.name}`,
				caption: `Entries of ${weight.name} around these neurons and features.`,
				downward: "Row",
				across: "Column",
				tokens: "none",
			})
		),
	];
}

/** Fig. 8. */
export function spreadFigures(
	{ attention, layers, ledger }: SpreadTrace,
	text: TraceText,
): LaboratoryFigure[] {
	const layer = attention.layer + 1, { drawnHead, heads } = attention;
	const drawn = heads[drawnHead]!.tokens[0]!, name = tokenName(text.tokens, drawn.token);
	const dimensions = drawn.alignment?.dimensions ?? [];
	return [
		linesFigure({
			name: "spread_heads",
			title: `Layer ${layer}: attention to the outlier tokens, and the size of their values`,
			subtitle: `${text.model}; ${
				formatShare(attention.sinkHeads)
			} of the heads give them 10 % or more, ${
				formatShare(attention.drainedHeads)
			} have a value less than half as long as others`,
			caption:
				"For each head, the share of all attention that goes to the outlier tokens, and ‖v‖ of the first one over the mean " +
				"‖v‖ of other tokens: much attention to values that are next to nothing.",
			across: "Head",
			categories: heads.map(({ head }) => head),
			upward: "Share, ratio",
			values: [
				{
					name: "Share of attention",
					color: COLORS.blue,
					values: heads.map(({ share }) => ({ value: share })),
				},
				{
					name: "‖v‖ / mean ‖v‖",
					color: COLORS.orange,
					symbol: "emptyRect",
					values: heads.map(({ tokens: [first] }) =>
						first?.valueRatio == null ? null : { value: first.valueRatio }
					),
				},
			],
		}),
		linesFigure({
			name: "spread_layers",
			title: "All layers: attention to the outlier tokens, and the size of their values",
			subtitle: `${text.model}; mean over heads`,
			caption: "The same for every layer.",
			across: "Layer",
			categories: layers.map((each) => each.layer + 1),
			upward: "Share, ratio",
			values: [
				{
					name: "Share of attention",
					color: COLORS.blue,
					values: layers.map(({ share }) => ({ value: share.mean })),
				},
				{
					name: "Its strongest head",
					color: COLORS.purple,
					symbol: "emptyDiamond",
					values: layers.map(({ strongest }) => ({ value: strongest.mean })),
				},
				{
					name: "‖v‖ / mean ‖v‖",
					color: COLORS.orange,
					symbol: "emptyRect",
					values: layers.map(({ valueRatio }) => valueRatio && { value: valueRatio.mean }),
				},
			],
		}),
		barsFigure({
			name: "spread_alignment",
			title:
				`Layer ${layer}, head ${drawnHead}: which dimensions align queries with the key of ${name}`,
			subtitle: `${text.model}; the logit stands ${
				formatNumber(drawn.alignment?.gap ?? NaN)
			} above that of other keys`,
			caption:
				"What each dimension of the head, or pair that rotary positions turn together, adds to the gap between this " +
				"key's logit and that of other keys.",
			nothing: "no other token sees this key together with others",
			across: "Dimensions",
			categories: dimensions.map(({ dimensions }) => dimensions.join(" and ")),
			upward: "Adds to the gap",
			values: dimensions.length === 0 ? [] : [{
				name: "Gap",
				color: COLORS.green,
				values: dimensions.map(({ gap }) => ({ value: gap })),
			}],
		}),
		...attention.stages.map((stage) => {
			const square = stage.name === "logits" || stage.name === "attention";
			return surfaceFigure(stage, text, {
				prefix: "spread",
				title: `Layer ${layer}${
					["residual", "attn.input"].includes(stage.name) ? "" : `, head ${drawnHead}`
				}: ${stage.name}`,
				caption: `Values of ${stage.name} (a stage of the paper's Fig. 8). Outlier tokens: ${
					ledger.tokens.map((token) => tokenName(text.tokens, token)).join(", ")
				}.`,
				downward: square ? "Query" : "Token",
				across: square ? "Key" : "Dimension",
				tokens: square ? "both" : "rows",
			});
		}),
	];
}

/** Fig. 9. */
export function disappearanceFigures(
	{ ledger, mlp }: Disappearance,
	text: TraceText,
): LaboratoryFigure[] {
	const layer = mlp.layer + 1;
	const entries = ledger.entries.slice(0, 3);
	const tokens = [...new Set(ledger.opposition.map(({ token }) => token))];
	const layers = entries[0]?.layers.map((each) => each.layer + 1) ?? [];
	return [
		...entries.map((entry, i) =>
			linesFigure({
				name: `disappearance_entry_${i + 1}`,
				title: `Token ${
					tokenName(text.tokens, entry.token)
				}, feature ${entry.feature}: residual stream and what is added`,
				subtitle: text.model,
				caption:
					"The signed value before each layer, and what attention and the MLP add to it. Where the MLP adds as much " +
					"with the opposite sign, the outlier goes (the paper's Fig. 9).",
				across: "Layer",
				categories: layers,
				upward: "Value",
				values: [
					{
						name: "Residual stream before",
						color: COLORS.black,
						values: entry.layers.map(({ before }) => ({ value: before })),
					},
					{
						name: "MLP adds",
						color: COLORS.vermilion,
						symbol: "emptyRect",
						values: entry.layers.map(({ mlp }) => ({ value: mlp })),
					},
					{
						name: "Attention adds",
						color: COLORS.blue,
						symbol: "emptyDiamond",
						values: entry.layers.map(({ attention }) => ({ value: attention })),
					},
				],
			})
		),
		linesFigure({
			name: "disappearance_opposition",
			title: "How what the MLP adds lies to the residual stream",
			subtitle: `${text.model}; −1 is straight against it`,
			caption:
				"The cosine between the residual stream and the MLP's output, for each traced token.",
			across: "Layer",
			categories: layers,
			upward: "Cosine",
			values: tokens.map((token, i) => ({
				name: tokenName(text.tokens, token),
				color: LOOKS[i % LOOKS.length]!,
				values: ledger.opposition.filter((each) => each.token === token)
					.map(({ cosine }) => ({ value: cosine })),
			})),
		}),
		contributionsFigure(
			mlp.features,
			text,
			"disappearance",
			`Layer ${layer}: the neurons that take the outliers away`,
			"What single neurons add to the outliers, in the layer where most goes.",
		),
	];
}
