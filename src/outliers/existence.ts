// Pictures of outliers as data: |x| by token and channel, |W| by row and column, attention by query and key, of chosen
// layers for one sequence (the panels of the paper's Fig. 1 and 13 to 22).

import type { TapContext, Transformer } from "../nn/mod.ts";
import { keep, mean, noGrad, scope, type Tensor } from "../tensor/mod.ts";
import { ACTIVATION_TAPS, expertOf } from "./activation_outliers.ts";
import type { Projection } from "./analysis.ts";
import { type Definition, type DefinitionChoice, definitionOf } from "./definitions.ts";
import { columnMagnitudes } from "./magnitudes.ts";
import { type ActivationSets, activationSets } from "./outlier_sets.ts";
import { type AnalysisProbe, type PassOptions, runAnalyses } from "./pass.ts";
import { largestIndices } from "./ranking.ts";
import { Reading } from "./reading.ts";
import { type GivenSequence, sequencesOf } from "./sequences.ts";
import { PROJECTION_ORDER, projectionOf, WEIGHT_TAPS } from "./weight_outliers.ts";

/** The largest |value| of neighbours in a line, so that a peak stays to be seen where a line has thousands of values. */
export interface Profile {
	/** How many neighbours share a value; the last may be fewer. */
	binSize: number;
	/** A line each, of the largest |value| of each bin. */
	lines: number[][];
}

/** |x| of one activation tensor [T, C]: a line for each token, along the channels (Fig. 1a and 1c). */
export interface ActivationMap extends Profile {
	/** Layer, 0-based. */
	layer: number;
	/** Of a mixture of experts: which one; its lines are of the tokens that it got. */
	expert?: number;
	/** Positions of the lines' tokens. */
	positions: number[];
	/** Number of channels. */
	channels: number;
	/** Tokens with an outlier. */
	outlierTokens: number[];
	/** Channels with an outlier, and the two of the largest |x|, with the signed value of each line's token. */
	marked: { feature: number; outlier: boolean; values: number[] }[];
}

/** |W| of one matrix [out, in]: a line for some columns, along the rows (Fig. 1b). */
export interface WeightMap extends Profile {
	/** Layer, 0-based. */
	layer: number;
	/** Which projection. */
	projection: Projection;
	/** Of a mixture of experts: which one's. */
	expert?: number;
	/** [out, in]. */
	shape: [number, number];
	/** The lines' columns: those with the largest max/mean, and for comparison the first ones and the last. */
	columns: { column: number; ratio: number; marked: boolean; row: number; largest: number }[];
}

/** Attention of one layer, the mean over heads: a row for each query (Fig. 1d). */
export interface AttentionMap {
	/** Layer, 0-based. */
	layer: number;
	/** [T][T] */
	mean: number[][];
}

/** Where outliers show, for one sequence. */
export interface ExistenceMaps {
	/** What was counted. */
	definition: Definition;
	/** The tokens' texts. */
	tokens: string[];
	/** h, by layer. */
	hiddenState: ActivationMap[];
	/** x_down, by layer. */
	downInput: ActivationMap[];
	/** Weights, by layer and projection. */
	weights: WeightMap[];
	/** Attention of the layers behind those asked for, or of these themselves, as the definition pairs them. */
	attention: AttentionMap[];
}

/** Options of {@linkcode mapOutliers}. */
export interface MapOptions extends PassOptions {
	/** What is counted. @default {"default"} */
	definition?: DefinitionChoice;
	/** Which layers, 0-based. @default {all} */
	layers?: readonly number[];
	/** Whose weights. @default {["down"]} */
	projections?: readonly Projection[];
	/** How many values a line has at most. @default {256} */
	bins?: number;
}

const MARKED = 2, PLAIN_COLUMNS = 3;
/** More tokens than a picture of them can show. */
const LONGEST = 512;

/** The largest |value| of each bin of a line. */
function binned(line: Float32Array, bins: number): { binSize: number; line: number[] } {
	const binSize = Math.ceil(line.length / bins);
	const result = new Array<number>(Math.ceil(line.length / binSize)).fill(0);
	line.forEach((value, i) => {
		const bin = Math.floor(i / binSize);
		result[bin] = Math.max(result[bin]!, Math.abs(value));
	});
	return { binSize, line: result };
}

/** Collects the maps of one sequence. */
class MapsProbe implements AnalysisProbe<Omit<ExistenceMaps, "definition" | "tokens">> {
	readonly taps: readonly string[];
	readonly #reading = new Reading();
	readonly #maps: Omit<ExistenceMaps, "definition" | "tokens"> = {
		hiddenState: [],
		downInput: [],
		weights: [],
		attention: [],
	};

	constructor(
		readonly definition: Definition,
		layers: readonly number[],
		attentionLayers: readonly number[],
		projections: readonly Projection[],
		readonly bins: number,
	) {
		const ofLayers = [
			ACTIVATION_TAPS.hiddenState,
			ACTIVATION_TAPS.downInput,
			"layers.*.mlp.experts.*.down.input",
			...WEIGHT_TAPS.filter((tap) => projections.includes(projectionOf(tap.replaceAll("*", "0")))),
		];
		this.taps = [
			...layers.flatMap((layer) => ofLayers.map((tap) => tap.replace("*", String(layer)))),
			...attentionLayers.map((layer) => `layers.${layer}.attn.weights`),
		];
	}

	receive(tensor: Tensor<"float32">, context: TapContext): void {
		const { name } = context;
		if (name.endsWith("attn.weights")) this.#attention(tensor, context);
		else if (name.endsWith("weight")) this.#weights(tensor as Tensor<"float32", 2>, context);
		else this.#activations(tensor as Tensor<"float32", 2>, context);
	}

	#activations(x: Tensor<"float32", 2>, context: TapContext): void {
		const { layer, name, positions } = context, [rows, channels] = x.shape;
		const pending = activationSets(x, this.definition, context);
		const copy = noGrad(() => x.mul(1));
		this.#reading.after(x.device, () => {
			const values = copy.readNow();
			copy.dispose();
			const found: ActivationSets = pending.read();
			const marked = new Set([
				...found.features,
				...largestIndices(found.featureMaxima, MARKED),
			]);
			const lines = Array.from(
				{ length: rows },
				(_, row) => binned(values.subarray(row * channels, (row + 1) * channels), this.bins),
			);
			const outliers = new Set(found.features);
			this.#maps[name.endsWith("output") ? "hiddenState" : "downInput"].push({
				layer,
				...expertOf(name),
				positions: positions ? [...positions] : [...Array(rows).keys()],
				channels,
				outlierTokens: found.tokens,
				marked: [...marked].sort((a, b) => a - b).map((feature) => ({
					feature,
					outlier: outliers.has(feature),
					// A negative zero does not outlive JSON.
					values: Array.from({ length: rows }, (_, row) => values[row * channels + feature]! + 0),
				})),
				binSize: lines[0]!.binSize,
				lines: lines.map(({ line }) => line),
			});
		});
	}

	#weights(w: Tensor<"float32", 2>, { name, layer }: TapContext): void {
		const [out, ins] = w.shape, pending = columnMagnitudes(w), copy = noGrad(() => w.mul(1));
		this.#reading.after(w.device, () => {
			const { maxima, means, rows } = pending.read();
			const values = copy.readNow();
			copy.dispose();
			const ratios = maxima.map((maximum, i) => means[i]! > 0 ? maximum / means[i]! : 0);
			const marked = largestIndices(ratios, MARKED);
			const plain = Array.from({ length: Math.min(PLAIN_COLUMNS, ins) }, (_, column) => column);
			const columns = [...new Set([...marked, ...plain, ins - 1])].sort((a, b) => a - b);
			const lines = columns.map((column) =>
				binned(
					Float32Array.from({ length: out }, (_, row) => values[row * ins + column]!),
					this.bins,
				)
			);
			this.#maps.weights.push({
				layer,
				projection: projectionOf(name),
				...expertOf(name),
				shape: [out, ins],
				columns: columns.map((column) => ({
					column,
					ratio: ratios[column]!,
					marked: marked.includes(column),
					row: rows[column]!,
					largest: values[rows[column]! * ins + column]!,
				})),
				binSize: lines[0]!.binSize,
				lines: lines.map(({ line }) => line),
			});
		});
	}

	#attention(maps: Tensor<"float32">, { layer }: TapContext): void {
		const tokens = maps.shape[1]!;
		const kept = noGrad(() => scope(() => keep(mean(maps as Tensor<"float32", 3>, 0))));
		this.#reading.after(maps.device, () => {
			const values = kept.readNow();
			kept.dispose();
			this.#maps.attention.push({
				layer,
				mean: Array.from(
					{ length: tokens },
					(_, query) => [...values.subarray(query * tokens, (query + 1) * tokens)],
				),
			});
		});
	}

	async result(): Promise<Omit<ExistenceMaps, "definition" | "tokens">> {
		await this.#reading.finish();
		const { hiddenState, downInput, weights, attention } = this.#maps;
		const byPlace = (
			a: { layer: number; expert?: number },
			b: { layer: number; expert?: number },
		) => a.layer - b.layer || (a.expert ?? 0) - (b.expert ?? 0);
		for (const maps of [hiddenState, downInput, attention]) maps.sort(byPlace);
		weights.sort((a, b) =>
			byPlace(a, b) ||
			PROJECTION_ORDER.indexOf(a.projection) - PROJECTION_ORDER.indexOf(b.projection)
		);
		return this.#maps;
	}
}

/**
 * Shows outliers of chosen layers for one sequence: h and x_down by token and channel, weights of any projection by row
 * and column, attention by query and key. `detectOutliers` lists them for all layers and sequences; this gives what a
 * picture of them needs, each line as the largest of neighbouring values.
 *
 * @param given a text or a sequence of tokens, 512 at most
 * @throws {RangeError} if it is longer, or a layer is none of the model's
 *
 * @example The four panels of the paper's Fig. 1
 * ```ts ignore
 * const { hiddenState, downInput, weights, attention } = await mapOutliers(
 *   model,
 *   "Summer is warm. Winter is cold.\n",
 *   { layers: [1] },
 * );
 * ```
 */
export async function mapOutliers(
	model: Transformer,
	given: GivenSequence,
	options: MapOptions = {},
): Promise<ExistenceMaps> {
	const { definition: choice, layers, projections = ["down"], bins = 256, ...pass } = options;
	const definition = definitionOf(choice), count = model.config.layers;
	const wanted = layers ?? [...Array(count).keys()];
	const wrong = wanted.find((layer) => !(Number.isInteger(layer) && layer >= 0 && layer < count));
	if (wrong !== undefined) {
		throw new RangeError(`Cannot show layer ${wrong}: the model has 0 to ${count - 1}`);
	}
	if (!(Number.isSafeInteger(bins) && bins > 0)) {
		throw new RangeError(`Cannot use ${bins} as bins: it must be a whole number, 1 or more`);
	}
	const { tokenIds, tokenTexts } = sequencesOf(model, [given], definition.specialTokens)[0]!;
	if (tokenIds.length > LONGEST) {
		throw new RangeError(
			`Cannot show ${tokenIds.length} tokens: give ${LONGEST} at most, or use detectOutliers`,
		);
	}
	const ahead = definition.attentionPairing === "next" ? 1 : 0;
	const behind = [...new Set(wanted.map((layer) => Math.min(layer + ahead, count - 1)))];
	const { maps } = await runAnalyses(model, [tokenIds], {
		maps: new MapsProbe(
			definition,
			[...new Set(wanted)],
			layers ? behind : wanted,
			projections,
			bins,
		),
	}, pass);
	return { definition, tokens: tokenTexts, ...maps };
}
