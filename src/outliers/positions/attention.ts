// Where attention outliers stand: in which layers and on which keys (the paper's Fig. 6a and 6b).

import type { TapContext } from "../../nn/probe.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { AnalyzedSequence } from "../analysis.ts";
import { type Definition, type DefinitionChoice, definitionOf } from "../definitions.ts";
import { cumulativeAttention, judgeLength, outlierKeys, type Sight } from "../outlier_sets.ts";
import type { AnalysisProbe } from "../pass.ts";
import { largestIndices, lowerMedian } from "../ranking.ts";
import { Reading } from "../reading.ts";
import type { FigureSequences } from "./activations.ts";
import { type Spread, Spreading } from "./spread.ts";
import { TokenCollector, type TokenPositions } from "./tokens.ts";

const TOP = 2;

/** The largest cumulative attention of a layer, of the mean over heads: the paper's Fig. 6a, over sequences. */
export interface LayerAttention {
	/** Layer, 0-based. */
	layer: number;
	/** How many sequences were looked at. */
	sequences: number;
	/** The largest Â_j and the second; only the first of sequences of one token. */
	top: Spread[];
	/** The lower median of Â_j. */
	median: Spread;
	/** The share of the heads that have an outlier key, of the sequences that can tell; null without one. */
	outlierHeads: Spread | null;
}

/** Where the outliers of attention stand. */
export interface AttentionPositions {
	/** Which layers. */
	layers: LayerAttention[];
	/** Which keys, by the mean over heads. */
	keys: TokenPositions;
	/** Which keys, those of any head. */
	headKeys: TokenPositions;
	/** Sequences so short that attention without preference would have outlier keys; they are left out of the keys. */
	indistinct: number[];
	/** Sequences so short that no key can be an outlier. */
	unreachable: number[];
}

/** Finds where attention outliers stand. Give it to `runAnalyses`. */
export class AttentionPositionsProbe implements AnalysisProbe<AttentionPositions> {
	/** The tap it takes. */
	readonly taps: readonly string[] = ["layers.*.attn.cumulative"];
	readonly #sequences: readonly AnalyzedSequence[];
	readonly #definition: Definition;
	readonly #sight: Sight;
	readonly #members: FigureSequences;
	readonly #reading = new Reading();
	readonly #layers = new Map<
		number,
		{ sequences: number; top: Spreading[]; median: Spreading; outlierHeads: Spreading }
	>();
	readonly #keys: TokenCollector;
	readonly #headKeys: TokenCollector;

	/**
	 * Makes a probe for one pass.
	 *
	 * @param sequences those of the pass, with their tokens' texts
	 * @param sight what the model's queries see: its `config.attention`
	 * @param members of which sequences each figure is made; by default of all
	 */
	constructor(
		sequences: readonly AnalyzedSequence[],
		definition: DefinitionChoice = "default",
		sight: Sight = { causal: true },
		members: FigureSequences = {},
	) {
		this.#sequences = sequences;
		this.#definition = definitionOf(definition);
		this.#sight = sight;
		this.#members = members;
		const { attentionLayers } = this.#definition;
		this.#keys = new TokenCollector(this.#definition, attentionLayers);
		this.#headKeys = new TokenCollector(this.#definition, attentionLayers);
	}

	#judge(sequence: number) {
		return judgeLength(
			this.#sequences[sequence]!.tokenIds.length,
			this.#definition,
			this.#sight,
		);
	}

	/** Queues the search in one tensor, [n, T]. */
	receive(cumulative: Tensor<"float32">, context: TapContext): void {
		const { attention, tokens } = this.#members, { sequence } = context;
		if (![attention, tokens].some((set) => set?.has(sequence) ?? true)) return;
		const kept = cumulative.reshape([cumulative.size]), keys = cumulative.shape[1]!;
		this.#reading.after(cumulative.device, () => {
			const values = kept.readNow();
			kept.dispose();
			this.#take(cumulativeAttention(values, keys, context), context);
		});
	}

	#take(
		{ heads, mean }: { heads: Float64Array[]; mean: Float64Array },
		{ layer, sequence }: TapContext,
	) {
		const { attention, tokens } = this.#members;
		const telling = this.#judge(sequence) !== "indistinct";
		const keysOf = (head: Float64Array) => outlierKeys(head, this.#definition, this.#sight);
		const ofHeads = heads.map(keysOf);
		if (telling && (tokens?.has(sequence) ?? true)) {
			this.#keys.add(sequence, layer, keysOf(mean));
			this.#headKeys.add(sequence, layer, [...new Set(ofHeads.flat())]);
		}
		if (!(attention?.has(sequence) ?? true)) return;
		const state = this.#layers.get(layer) ?? {
			sequences: 0,
			top: [],
			median: new Spreading(),
			outlierHeads: new Spreading(),
		};
		this.#layers.set(layer, state);
		state.sequences++;
		for (const [rank, key] of largestIndices(mean, TOP).entries()) {
			(state.top[rank] ??= new Spreading()).add(mean[key]!);
		}
		state.median.add(lowerMedian(mean));
		if (telling) {
			state.outlierHeads.add(ofHeads.filter((keys) => keys.length > 0).length / heads.length);
		}
	}

	/** Where they stand, once the pass is over. */
	async result(): Promise<AttentionPositions> {
		await this.#reading.finish();
		const judged = (verdict: ReturnType<typeof judgeLength>) =>
			[...this.#sequences.keys()].filter((sequence) =>
				(this.#members.tokens?.has(sequence) ?? true) && this.#judge(sequence) === verdict
			);
		return {
			layers: [...this.#layers].sort(([a], [b]) => a - b).map(([layer, state]) => ({
				layer,
				sequences: state.sequences,
				top: state.top.map((spreading) => spreading.result()!),
				median: state.median.result()!,
				outlierHeads: state.outlierHeads.result(),
			})),
			keys: this.#keys.result(this.#sequences),
			headKeys: this.#headKeys.result(this.#sequences),
			indistinct: judged("indistinct"),
			unreachable: judged("unreachable"),
		};
	}
}

/** Positions of the keys that are outliers by the mean over heads in some layer, by sequence. */
export function keysBySequence({ keys }: AttentionPositions): Map<number, number[]> {
	return new Map(
		keys.bySequence.map(({ sequence, appearances }) => [
			sequence,
			appearances.flatMap(({ tokens }) => tokens).sort((a, b) => a - b),
		]),
	);
}
