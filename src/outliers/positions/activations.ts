// Where activation outliers stand: in which layers, on which tokens, in which features (the paper's Fig. 3 and 4).

import type { TapContext } from "../../nn/probe.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { ACTIVATION_TAPS, expertOf } from "../activation_outliers.ts";
import type { AnalyzedSequence } from "../analysis.ts";
import {
	type ActivationPlace,
	type Definition,
	type DefinitionChoice,
	definitionOf,
} from "../definitions.ts";
import { type ActivationSets, activationSets } from "../outlier_sets.ts";
import type { AnalysisProbe } from "../pass.ts";
import { largestIndices } from "../ranking.ts";
import { Reading } from "../reading.ts";
import { type Spread, Spreading } from "./spread.ts";
import { TokenCollector, type TokenPositions } from "./tokens.ts";

const TOP_VALUES = 3, TOP_FEATURES = 2;

/** A layer's largest values: the paper's Fig. 3a and 4a, over sequences. */
export interface LayerMagnitudes {
	/** Layer, 0-based. */
	layer: number;
	/** Of a mixture of experts: which one, over the tokens that it got. */
	expert?: number;
	/** How many sequences were looked at. */
	sequences: number;
	/** How many of them have an outlier here. */
	withOutliers: number;
	/** The largest |x|, the second and the third; fewer of a tensor with fewer values. */
	top: Spread[];
	/** The lower median of |x|. */
	median: Spread;
	/** mean|x| */
	mean: Spread;
	/** max|x| / mean|x|; null where all is 0 in every sequence. */
	maxOverMean: Spread | null;
}

/** A feature that is among the two with the largest |x| of a layer, or has outliers. */
export interface LayerFeature {
	/** Its index. */
	feature: number;
	/** In how many sequences it has the largest max|x|, and the second largest (the points of Fig. 3c). */
	ranks: [first: number, second: number];
	/** In how many sequences it has an outlier. */
	outlierSequences: number;
	/** Its max|x| in the sequences where it is one of the two or has an outlier. */
	maximum: Spread;
}

/** The features of a layer: the paper's Fig. 3c. */
export interface LayerFeatures {
	/** Layer, 0-based. */
	layer: number;
	/** Of a mixture of experts: which one. */
	expert?: number;
	/** How many sequences were looked at. */
	sequences: number;
	/** Those with most outliers first, then those with the largest |x| most often. */
	features: LayerFeature[];
}

/** Where the outliers of a place stand. */
export interface ActivationPositions {
	/** In which tensors: h or x_down. */
	place: ActivationPlace;
	/** Which layers. */
	layers: LayerMagnitudes[];
	/** Which tokens; null if the definition does not ask for those of this place. */
	tokens: TokenPositions | null;
	/** Which features. */
	features: LayerFeatures[];
	/** Sequences with so few values that none can exceed τ times their mean: T · C of them at most. */
	unreachable: number[];
}

/** Which sequences each figure is made of, by index; without one, all are. */
export interface FigureSequences {
	/** Which layers. */
	layers?: ReadonlySet<number>;
	/** Which tokens. */
	tokens?: ReadonlySet<number>;
	/** Which features. */
	features?: ReadonlySet<number>;
	/** Attention by layer and head. */
	attention?: ReadonlySet<number>;
}

interface LayerState {
	layer: number;
	expert?: number;
	sequences: number;
	withOutliers: number;
	top: Spreading[];
	median: Spreading;
	mean: Spreading;
	maxOverMean: Spreading;
	ofFeatures: number;
	features: Map<number, { ranks: [number, number]; outlierSequences: number; maximum: Spreading }>;
}

/** Finds where activation outliers stand. Give it to `runAnalyses`. */
export class ActivationPositionsProbe implements AnalysisProbe<ActivationPositions> {
	/** The taps it takes. */
	readonly taps: readonly string[];
	readonly #place: ActivationPlace;
	readonly #sequences: readonly AnalyzedSequence[];
	readonly #definition: Definition;
	readonly #members: FigureSequences;
	readonly #reading = new Reading();
	readonly #layers = new Map<string, LayerState>();
	readonly #tokens: TokenCollector | null;
	/** Of each sequence the most values of a tensor. */
	readonly #sizes = new Map<number, number>();

	/**
	 * Makes a probe for one pass.
	 *
	 * @param sequences those of the pass, with their tokens' texts
	 * @param members of which sequences each figure is made; by default of all
	 */
	constructor(
		place: ActivationPlace,
		sequences: readonly AnalyzedSequence[],
		definition: DefinitionChoice = "default",
		members: FigureSequences = {},
	) {
		const tap = ACTIVATION_TAPS[place];
		this.taps = [...new Set([tap, tap.replace(".mlp.", ".mlp.experts.*.")])];
		this.#place = place;
		this.#sequences = sequences;
		this.#definition = definitionOf(definition);
		this.#members = members;
		this.#tokens = this.#definition.tokenPlaces.includes(place)
			? new TokenCollector(this.#definition)
			: null;
	}

	/** Queues the search in one tensor, [T, C]. */
	receive(x: Tensor<"float32">, context: TapContext): void {
		const { sequence } = context, { layers, tokens, features } = this.#members;
		const wanted = [layers, tokens, features].some((set) => set?.has(sequence) ?? true);
		if (!wanted) return;
		this.#sizes.set(sequence, Math.max(x.size, this.#sizes.get(sequence) ?? 0));
		const pending = activationSets(x as Tensor<"float32", 2>, this.#definition, context);
		this.#reading.after(x.device, () => this.#take(pending.read(), context));
	}

	#take(found: ActivationSets, { name, layer, sequence }: TapContext): void {
		const expert = expertOf(name), key = `${layer} ${expert.expert}`;
		const state = this.#layers.get(key) ?? {
			layer,
			...expert,
			sequences: 0,
			withOutliers: 0,
			top: [],
			median: new Spreading(),
			mean: new Spreading(),
			maxOverMean: new Spreading(),
			ofFeatures: 0,
			features: new Map(),
		};
		this.#layers.set(key, state);
		const { layers, tokens, features } = this.#members;
		if (layers?.has(sequence) ?? true) takeMagnitudes(state, found);
		if (tokens?.has(sequence) ?? true) this.#tokens?.add(sequence, layer, found.tokens);
		if (features?.has(sequence) ?? true) takeFeatures(state, found);
	}

	/** Where they stand, once the pass is over. */
	async result(): Promise<ActivationPositions> {
		await this.#reading.finish();
		const { activationRule, tau } = this.#definition;
		const states = [...this.#layers.values()]
			.sort((a, b) => a.layer - b.layer || (a.expert ?? 0) - (b.expert ?? 0));
		return {
			place: this.#place,
			layers: states.filter(({ sequences }) => sequences > 0).map((state) => ({
				...placeOf(state),
				sequences: state.sequences,
				withOutliers: state.withOutliers,
				top: state.top.map((spreading) => spreading.result()!),
				median: state.median.result()!,
				mean: state.mean.result()!,
				maxOverMean: state.maxOverMean.result(),
			})),
			tokens: this.#tokens?.result(this.#sequences) ?? null,
			unreachable: activationRule === "massive"
				? []
				: [...this.#sizes].filter(([, size]) => size <= tau).map(([sequence]) => sequence),
			features: states.filter(({ ofFeatures }) => ofFeatures > 0).map((state) => ({
				...placeOf(state),
				sequences: state.ofFeatures,
				features: [...state.features]
					.map(([feature, { ranks, outlierSequences, maximum }]) => ({
						feature,
						ranks,
						outlierSequences,
						maximum: maximum.result()!,
					}))
					.sort((a, b) =>
						b.outlierSequences - a.outlierSequences || b.ranks[0] - a.ranks[0] ||
						b.ranks[1] - a.ranks[1] || a.feature - b.feature
					),
			})),
		};
	}
}

const placeOf = ({ layer, expert }: LayerState) => ({
	layer,
	...expert !== undefined && { expert },
});

function takeMagnitudes(state: LayerState, { largest, tokens, mean, median }: ActivationSets) {
	state.sequences++;
	if (tokens.length > 0) state.withOutliers++;
	for (const [rank, { value }] of largest.slice(0, TOP_VALUES).entries()) {
		(state.top[rank] ??= new Spreading()).add(Math.abs(value));
	}
	state.median.add(median);
	state.mean.add(mean);
	if (mean > 0) state.maxOverMean.add(Math.abs(largest[0]!.value) / mean);
}

function takeFeatures(state: LayerState, { features, featureMaxima }: ActivationSets) {
	state.ofFeatures++;
	const top = largestIndices(featureMaxima, TOP_FEATURES), outliers = new Set(features);
	for (const feature of new Set([...top, ...features])) {
		const entry = state.features.get(feature) ??
			{ ranks: [0, 0], outlierSequences: 0, maximum: new Spreading() };
		state.features.set(feature, entry);
		const rank = top.indexOf(feature);
		if (rank >= 0) entry.ranks[rank]!++;
		if (outliers.has(feature)) entry.outlierSequences++;
		entry.maximum.add(featureMaxima[feature]!);
	}
}
