// Two models of one shape, such as a base model and one fine-tuned from it: which outliers they share, and how large
// these are in each (the paper's Fig. 20 to 22).

import type { TapContext, Transformer } from "../nn/mod.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { ACTIVATION_TAPS, expertOf } from "./activation_outliers.ts";
import type { AnalyzedSequence, Projection } from "./analysis.ts";
import {
	type ActivationPlace,
	type Definition,
	type DefinitionChoice,
	definitionOf,
} from "./definitions.ts";
import { columnMagnitudes } from "./magnitudes.ts";
import { type AnalysisProbe, type PassOptions, runAnalyses } from "./pass.ts";
import { type ActivationPositions, ActivationPositionsProbe } from "./positions/activations.ts";
import { type AttentionPositions, AttentionPositionsProbe } from "./positions/attention.ts";
import type { TokenPositions } from "./positions/tokens.ts";
import {
	type ExtremalRatios,
	ExtremalRatiosProbe,
	type MatrixRatios,
} from "./positions/weights.ts";
import { Reading } from "./reading.ts";
import { type GivenSequence, sequencesOf } from "./sequences.ts";

/** Two sets. */
export interface SetComparison<T> {
	/** What both have. */
	shared: T[];
	/** What only the first has. */
	onlyFirst: T[];
	/** What only the second has. */
	onlySecond: T[];
	/** |shared| over the size of the union; null if both are empty. */
	jaccard: number | null;
}

/** A number in both models. */
export interface Change {
	/** In the first. */
	first: number;
	/** In the second. */
	second: number;
	/** second / first; null if the first is 0. */
	ratio: number | null;
}

/** Where a feature of a layer is. */
export interface FeaturePlace {
	/** Layer, 0-based. */
	layer: number;
	/** Of a mixture of experts: which one. */
	expert?: number;
	/** Its index. */
	feature: number;
}

/** Outliers of h or x_down in both models. */
export interface ActivationComparison {
	/** Layers with an outlier in some sequence. */
	layers: SetComparison<number>;
	/** Features with an outlier, by layer. */
	features: SetComparison<FeaturePlace>;
	/** Tokens with an outlier in some layer; null if the definition does not ask for those of this place. */
	tokens: SetComparison<{ sequence: number; token: number }> | null;
	/** The largest |x| of each layer, means over sequences. */
	largest: ({ layer: number; expert?: number } & Change)[];
	/** max|x| of each feature with outliers in either model, and of the largest of each layer; means over sequences. */
	featureMaxima: (FeaturePlace & Change)[];
}

/** A column of a matrix. */
export interface ColumnPlace {
	/** Layer, 0-based. */
	layer: number;
	/** Of a mixture of experts: which one's. */
	expert?: number;
	/** Which projection. */
	projection: Projection;
	/** The column: a feature of the input. */
	column: number;
}

/** Two models. */
export interface ModelComparison {
	/** Their names. */
	models: [first: string, second: string];
	/** What was counted. */
	definition: Definition;
	/** How many sequences were run. */
	sequences: number;
	/** Of h. */
	hiddenState: ActivationComparison;
	/** Of x_down. */
	downInput: ActivationComparison;
	/** Of weights. */
	weights: {
		/** The `top` columns with the largest max/mean of all columns of the model. */
		columns: SetComparison<ColumnPlace>;
		/** The extremal ratios of these columns. */
		ratios: (ColumnPlace & Change)[];
		/** The extremal ratio of each matrix. */
		matrices: ({ layer: number; projection: Projection; expert?: number } & Change)[];
	};
	/** Of attention. */
	attention: {
		/** Keys that are outliers by the mean over heads, in some layer. */
		keys: SetComparison<{ sequence: number; token: number }>;
		/** The largest Â_j of the mean over heads, by layer; means over sequences. */
		largest: ({ layer: number } & Change)[];
		/** The share of heads with an outlier key, by layer; none if no sequence is long enough to tell. */
		outlierHeads: ({ layer: number } & Change)[];
	};
}

/** Options of {@linkcode compareModels}. */
export interface CompareModelsOptions extends PassOptions {
	/** What is counted. @default {"default"} */
	definition?: DefinitionChoice;
	/** How many columns of each model are compared. @default {20} */
	top?: number;
}

/** max|x| of every feature of every layer, means over sequences. */
class FeatureMaxima implements AnalysisProbe<Map<string, Float64Array>> {
	readonly taps: readonly string[];
	readonly #reading = new Reading();
	readonly #sums = new Map<string, { sum: Float64Array; count: number }>();

	constructor(place: ActivationPlace) {
		const tap = ACTIVATION_TAPS[place];
		this.taps = [...new Set([tap, tap.replace(".mlp.", ".mlp.experts.*.")])];
	}

	receive(x: Tensor<"float32">, { name, layer }: TapContext): void {
		const columns = columnMagnitudes(x as Tensor<"float32", 2>);
		this.#reading.after(x.device, () => {
			const { maxima } = columns.read();
			const key = keyOf({ layer, ...expertOf(name) });
			const entry = this.#sums.get(key) ?? { sum: new Float64Array(maxima.length), count: 0 };
			this.#sums.set(key, entry);
			entry.count++;
			maxima.forEach((maximum, feature) => entry.sum[feature]! += maximum);
		});
	}

	async result(): Promise<Map<string, Float64Array>> {
		await this.#reading.finish();
		return new Map(
			[...this.#sums].map(([key, { sum, count }]) => [key, sum.map((value) => value / count)]),
		);
	}
}

const keyOf = ({ layer, expert }: { layer: number; expert?: number }) => `${layer} ${expert ?? ""}`;

const change = (first: number, second: number): Change => ({
	first,
	second,
	ratio: first === 0 ? null : second / first,
});

/** Compares lists by what `id` makes of their elements; the order of the lists stays. */
function compareSets<T>(
	first: readonly T[],
	second: readonly T[],
	id: (element: T) => string,
): SetComparison<T> {
	const inFirst = new Set(first.map(id)), inSecond = new Set(second.map(id));
	const shared = first.filter((element) => inSecond.has(id(element)));
	const onlySecond = second.filter((element) => !inFirst.has(id(element)));
	const union = first.length + onlySecond.length;
	return {
		shared,
		onlyFirst: first.filter((element) => !inSecond.has(id(element))),
		onlySecond,
		jaccard: union > 0 ? shared.length / union : null,
	};
}

const tokensOf = ({ bySequence }: TokenPositions) =>
	bySequence.flatMap(({ sequence, appearances }) =>
		appearances.flatMap(({ tokens }) => tokens).sort((a, b) => a - b)
			.map((token) => ({ sequence, token }))
	);

const compareTokens = (first: TokenPositions, second: TokenPositions) =>
	compareSets(
		tokensOf(first),
		tokensOf(second),
		({ sequence, token }) => `${sequence} ${token}`,
	);

/** What is known of activations of a model. */
interface Activations {
	positions: ActivationPositions;
	maxima: Map<string, Float64Array>;
}

function compareActivations(first: Activations, second: Activations): ActivationComparison {
	const both = [first, second] as const;
	const [a, b] = both.map(({ positions }) => positions) as [
		ActivationPositions,
		ActivationPositions,
	];
	const featureId = (place: FeaturePlace) => `${keyOf(place)} ${place.feature}`;
	const features = (positions: ActivationPositions, all: boolean): FeaturePlace[] =>
		positions.features.flatMap(({ layer, expert, features }) =>
			features.filter(({ outlierSequences, ranks: [first] }) =>
				outlierSequences > 0 || (all && first > 0)
			).map(({ feature }) => ({ layer, ...expert !== undefined && { expert }, feature }))
		);
	const layers = (positions: ActivationPositions) => [
		...new Set(
			positions.layers.filter(({ withOutliers }) => withOutliers > 0)
				.map(({ layer }) => layer),
		),
	];
	const compared = compareSets(features(a, true), features(b, true), featureId);
	const at = (maxima: Map<string, Float64Array>, place: FeaturePlace) =>
		maxima.get(keyOf(place))?.[place.feature] ?? 0;
	return {
		layers: compareSets(layers(a), layers(b), String),
		features: compareSets(features(a, false), features(b, false), featureId),
		tokens: a.tokens && b.tokens ? compareTokens(a.tokens, b.tokens) : null,
		largest: a.layers.flatMap(({ layer, expert, top }) => {
			// An expert may get no token in one of the models.
			const other = b.layers.find((each) => each.layer === layer && each.expert === expert);
			const where = { layer, ...expert !== undefined && { expert } };
			return other ? [{ ...where, ...change(top[0]!.mean, other.top[0]!.mean) }] : [];
		}),
		featureMaxima: [...compared.shared, ...compared.onlyFirst, ...compared.onlySecond]
			.sort((x, y) =>
				x.layer - y.layer || (x.expert ?? 0) - (y.expert ?? 0) || x.feature - y.feature
			)
			.map((place) => ({ ...place, ...change(at(first.maxima, place), at(second.maxima, place)) })),
	};
}

function compareWeights(
	first: ExtremalRatios,
	second: ExtremalRatios,
	top: number,
): ModelComparison["weights"] {
	const matrixId = ({ layer, expert, projection }: Omit<ColumnPlace, "column">) =>
		`${layer} ${expert ?? ""} ${projection}`;
	const place = ({ layer, expert, projection }: MatrixRatios) => ({
		layer,
		...expert !== undefined && { expert },
		projection,
	});
	const ratiosOf = ({ matrices }: ExtremalRatios) =>
		new Map(matrices.map((matrix) => [
			matrixId(matrix),
			new Map(matrix.columns.top.map(({ index, ratio }) => [index, ratio])),
		]));
	const largest = ({ matrices }: ExtremalRatios): ColumnPlace[] =>
		matrices.flatMap((matrix) =>
			matrix.columns.top.slice(0, top)
				.map(({ index, ratio }) => ({ place: { ...place(matrix), column: index }, ratio }))
		).sort((a, b) => b.ratio - a.ratio).slice(0, top).map(({ place }) => place);
	const columns = compareSets(
		largest(first),
		largest(second),
		(each) => `${matrixId(each)} ${each.column}`,
	);
	const [inFirst, inSecond] = [ratiosOf(first), ratiosOf(second)];
	return {
		columns,
		ratios: [...columns.shared, ...columns.onlyFirst, ...columns.onlySecond].map((each) => ({
			...each,
			...change(
				inFirst.get(matrixId(each))!.get(each.column)!,
				inSecond.get(matrixId(each))!.get(each.column)!,
			),
		})),
		matrices: first.matrices.map((matrix, i) => ({
			...place(matrix),
			...change(matrix.ratio, second.matrices[i]!.ratio),
		})),
	};
}

function compareAttention(
	first: AttentionPositions,
	second: AttentionPositions,
): ModelComparison["attention"] {
	return {
		keys: compareTokens(first.keys, second.keys),
		largest: first.layers.map(({ layer, top }, i) => ({
			layer,
			...change(top[0]!.mean, second.layers[i]!.top[0]!.mean),
		})),
		outlierHeads: first.layers.flatMap(({ layer, outlierHeads }, i) => {
			const other = second.layers[i]!.outlierHeads;
			return outlierHeads && other ? [{ layer, ...change(outlierHeads.mean, other.mean) }] : [];
		}),
	};
}

const SIZES = [
	"layers",
	"hiddenSize",
	"intermediateSize",
	"heads",
	"keyValueHeads",
	"headDimension",
] as const;

/** The sequences, which both models must read as the same tokens. */
function commonSequences(
	first: Transformer,
	second: Transformer,
	given: readonly GivenSequence[],
	specialTokens: boolean,
): AnalyzedSequence[] {
	for (const size of SIZES) {
		if (first.config[size] !== second.config[size]) {
			throw new RangeError(
				`Cannot compare ${first.name} with ${second.name}: their ${size} are ` +
					`${first.config[size]} and ${second.config[size]}`,
			);
		}
	}
	const [reader, other] = first.hasTokenizer ? [first, second] : [second, first];
	const shorter = Math.min(first.config.contextLength, second.config.contextLength);
	const sequences = sequencesOf(reader, given, specialTokens).map((sequence) => ({
		...sequence,
		tokenIds: sequence.tokenIds.slice(0, shorter),
		tokenTexts: sequence.tokenTexts.slice(0, shorter),
	}));
	if (other.hasTokenizer) {
		for (const [i, { tokenIds }] of sequencesOf(other, given, specialTokens).entries()) {
			const ids = sequences[i]!.tokenIds;
			if (ids.some((id, at) => id !== tokenIds[at])) {
				throw new RangeError(
					`Cannot compare ${first.name} with ${second.name}: their tokenizers read sequence ${i} ` +
						"differently; give token ids",
				);
			}
		}
	}
	return sequences;
}

/**
 * Compares the outliers of two models of one shape on the same sequences: which layers, features, tokens, columns of
 * weights and keys have outliers in both, and how large they are in each.
 *
 * @param first such as the base model
 * @param second such as one fine-tuned from it
 * @param given sequences of tokens, or texts, each taken as one sequence
 * @throws {RangeError} if the models' sizes differ, or their tokenizers on a text
 *
 * @example What chat training changed
 * ```ts ignore
 * using base = await loadModel("HuggingFaceTB/SmolLM2-135M");
 * using chat = await loadModel("HuggingFaceTB/SmolLM2-135M-Instruct");
 * const { hiddenState } = await compareModels(base, chat, ["Summer is warm. Winter is cold."]);
 * console.log(hiddenState.layers, hiddenState.largest);
 * ```
 */
export async function compareModels(
	first: Transformer,
	second: Transformer,
	given: readonly GivenSequence[],
	{ definition: choice, top = 20, onProgress, ...pass }: CompareModelsOptions = {},
): Promise<ModelComparison> {
	const definition = definitionOf(choice);
	const sequences = commonSequences(first, second, given, definition.specialTokens);
	const steps = first.config.layers * sequences.length;
	const analyze = (model: Transformer, before: number) =>
		runAnalyses(
			model,
			sequences.map(({ tokenIds }) => tokenIds),
			{
				hidden: new ActivationPositionsProbe("hiddenState", sequences, definition),
				hiddenMaxima: new FeatureMaxima("hiddenState"),
				down: new ActivationPositionsProbe("downInput", sequences, definition),
				downMaxima: new FeatureMaxima("downInput"),
				weights: new ExtremalRatiosProbe(definition, Infinity),
				attention: new AttentionPositionsProbe(sequences, definition, model.config.attention),
			},
			{
				...pass,
				...onProgress && { onProgress: (done) => onProgress(before + done, 2 * steps) },
			},
		);
	const a = await analyze(first, 0), b = await analyze(second, steps);
	return {
		models: [first.name, second.name],
		definition,
		sequences: sequences.length,
		hiddenState: compareActivations(
			{ positions: a.hidden, maxima: a.hiddenMaxima },
			{ positions: b.hidden, maxima: b.hiddenMaxima },
		),
		downInput: compareActivations(
			{ positions: a.down, maxima: a.downMaxima },
			{ positions: b.down, maxima: b.downMaxima },
		),
		weights: compareWeights(a.weights, b.weights, top),
		attention: compareAttention(a.attention, b.attention),
	};
}
