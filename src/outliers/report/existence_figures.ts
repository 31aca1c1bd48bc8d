// Figures that show the outliers themselves, of one sequence: the counterparts of the paper's Fig. 1 and 13 to 22, as maps
// that one can read values from; and of the study of sequence length.

import type { ActivationMap, ExistenceMaps, WeightMap } from "../existence.ts";
import type { SequenceLengthStudy } from "../sequence_length.ts";
import { COLORS } from "./chart.ts";
import { tokenName } from "./lifecycle_figures.ts";
import { barsFigure, gridFigure, type LaboratoryFigure, linesFigure } from "./marks.ts";
import { formatShare, plainText, visibleText } from "./text.ts";

/** Labels of bins: the first index of each. */
const bins = (count: number, size: number) => Array.from({ length: count }, (_, i) => i * size);

const expertName = (expert: number | undefined) => expert === undefined ? "" : `, expert ${expert}`;

function activationFigure(
	map: ActivationMap,
	tokens: readonly string[],
	place: { name: string; symbol: string },
	model: string,
): LaboratoryFigure[] {
	const { layer, expert, positions, lines, binSize, marked } = map;
	const at = `${place.name}_${layer + 1}${expert === undefined ? "" : `_${expert}`}`;
	const rows = positions.map((token) => tokenName(tokens, token));
	return [
		gridFigure({
			name: `maps_${at}`,
			title: `${place.symbol} of layer ${layer + 1}${expertName(expert)}`,
			subtitle: `${model}; the largest of ${binSize} neighbouring channels`,
			caption:
				`${place.symbol} by token and channel (a panel of the paper's Fig. 1), with colours by the ` +
				"logarithm, from the median on: outliers are strong cells in a faint row.",
			across: binSize === 1 ? "Channel" : "Channels from",
			downward: "Token",
			columns: bins(lines[0]?.length ?? 0, binSize),
			rows,
			values: lines,
			valueName: place.symbol,
			colors: "log",
		}),
		gridFigure({
			name: `maps_${at}_features`,
			title: `The outlier features of layer ${layer + 1}${expertName(expert)}, with their signs`,
			subtitle: model,
			caption:
				"Features with an outlier and the two of the largest magnitude; * marks those with an outlier by this definition.",
			across: "Token",
			downward: "Feature",
			columns: rows,
			rows: marked.map(({ feature, outlier }) => `${feature}${outlier ? " *" : ""}`),
			values: marked.map(({ values }) => values),
			valueName: "value",
			colors: "signed",
		}),
	];
}

function weightFigure(map: WeightMap, model: string): LaboratoryFigure {
	const { layer, expert, projection, columns, lines, binSize } = map;
	const looks = [COLORS.vermilion, COLORS.blue];
	const marked = columns.flatMap((column, i) => column.marked ? [i] : []);
	const plain = columns.findIndex((column) => !column.marked);
	return linesFigure({
		name: `maps_${projection}_${layer + 1}${expert === undefined ? "" : `_${expert}`}`,
		title: `|W_${projection}| of layer ${layer + 1}${expertName(expert)}: the outlier columns`,
		subtitle: `${model}; the largest of ${binSize} neighbouring rows`,
		caption:
			"The columns with the largest max / mean along the rows of the matrix, beside an ordinary one (a panel of the " +
			"paper's Fig. 1).",
		across: binSize === 1 ? "Row" : "Rows from",
		categories: bins(lines[0]?.length ?? 0, binSize),
		upward: "|w|",
		values: [...marked, ...plain < 0 ? [] : [plain]].map((i, order) => ({
			name: `Column ${columns[i]!.column}${columns[i]!.marked ? "" : " (ordinary)"}`,
			color: columns[i]!.marked ? looks[order % looks.length]! : COLORS.grey,
			symbol: "none",
			values: lines[i]!.map((value) => ({ value })),
		})),
	});
}

/** Fig. 1, and 13 to 22 of other models. */
export function existenceFigures(maps: ExistenceMaps, model: string): LaboratoryFigure[] {
	const { tokens } = maps, names = tokens.map((_, token) => tokenName(tokens, token));
	return [
		...maps.downInput.flatMap((map) =>
			activationFigure(map, tokens, { name: "down_input", symbol: "|x_down|" }, model)
		),
		...maps.weights.map((map) => weightFigure(map, model)),
		...maps.hiddenState.flatMap((map) =>
			activationFigure(map, tokens, { name: "hidden", symbol: "|h|" }, model)
		),
		...maps.attention.map(({ layer, mean }) =>
			gridFigure({
				name: `maps_attention_${layer + 1}`,
				title: `Attention of layer ${layer + 1}, mean over heads`,
				subtitle: model,
				caption: "How much each query gives each key (panel d of the paper's Fig. 1).",
				across: "Key",
				downward: "Query",
				columns: names,
				rows: names,
				values: mean,
				valueName: "Attention",
				colors: "magnitude",
				formatter: formatShare,
			})
		),
	];
}

/** Appendix D.3. */
export function lengthFigures(study: SequenceLengthStudy, model: string): LaboratoryFigure[] {
	const keys = study.texts.flatMap(({ source, keys }) =>
		keys.map((key) => ({
			...key,
			name: `${plainText(source)}: ${key.token} ${visibleText(key.text, 14)}`,
		}))
	);
	return [barsFigure({
		name: "lengths",
		title: "Sequence length: outlier keys of each text",
		subtitle: `${model}; ${study.countedLayers} layers count, from layer ${study.fromLayer + 1} on`,
		caption:
			"In which share of the layers a token is an attention outlier, and what the queries that see it give it " +
			"(the paper's appendix D.3).",
		nothing: "no key is an outlier in any of the texts",
		across: "Text and token",
		categories: keys.map(({ name }) => name),
		upward: "Share",
		formatter: formatShare,
		values: keys.length === 0 ? [] : [
			{
				name: "Layers",
				color: COLORS.blue,
				values: keys.map(({ layers }) => ({ value: layers / study.countedLayers })),
			},
			{
				name: "Attention of queries that see it",
				color: COLORS.orange,
				values: keys.map(({ visibleShare }) => ({ value: visibleShare })),
			},
		],
	})];
}
