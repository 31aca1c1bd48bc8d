// A model in three numbers, and never in one: how far its largest activation stands out, how many heads attend to the
// first token, and how small that token's values are. Training can remove one of them and leave the others.

import type { TapContext, Transformer } from "../nn/mod.ts";
import { mul, noGrad, norm, scope, sum, type Tensor } from "../tensor/mod.ts";
import { siteOf } from "./detectors/detector.ts";
import { queue, requireFinite } from "./detectors/reductions.ts";
import { checkFinite, magnitudes } from "./magnitudes.ts";
import { type AnalysisProbe, type PassOptions, runAnalyses } from "./pass.ts";
import { Reading } from "./reading.ts";
import { cutSequences, DEFAULT_TEXT, type SourceText, type SourceTokens } from "./sequences.ts";
import { average } from "./average.ts";
import {
	evenImportance,
	FIRST,
	maxOverMean,
	shareOfSinks,
	SINK,
	valueRatios,
	visibleTo,
} from "./measures.ts";

/** Options of {@linkcode HeadlineProbe}. */
export interface HeadlineThresholds {
	/** ε: from which mean attention to position 0 on a head counts as a sink. @default {0.3} */
	epsilon?: number;
}

/** A layer's part of {@linkcode Headline}; means over sequences, and over heads. */
export interface LayerHeadline {
	/** 0-based. */
	layer: number;
	/** max|h| / mean|h| of the layer's output. */
	peak: number;
	/** Share of the heads that are sinks. */
	sinkRate: number;
	/** Mean attention to position 0. */
	share: number;
	/** The same, each query counting as much as its gate is open; null of an attention without gates. */
	gateWeightedShare: number | null;
	/** |v_0| / mean of the other |v_t|; null if all sequences have a single token. */
	valueRatio: number | null;
}

/** Three numbers that say how strong a model's systematic outliers are. */
export interface Headline {
	/** What the three numbers are. */
	definitions: { activationPeak: string; sinkRate: string; valueRatio: string };
	/** ε, from which mean attention to position 0 on a head is a sink. */
	thresholds: { epsilon: number };
	/** How many sequences of how many tokens were run. */
	sequences: { count: number; tokens: number[] };
	/** The peak; null of a model with one layer, whose output is the last. */
	activationPeak: {
		/** The number. */
		value: number;
		/** Its layer, 0-based. */
		layer: number;
		/** The feature that most often has the largest |h| there. */
		feature: number;
		/** Mean of max|h| there. */
		max: number;
		/** Share of the sequences that have it at position 0. */
		atFirst: number;
	} | null;
	/** The sinks. */
	sinkRate: {
		/** The number. */
		value: number;
		/** The same of gate-weighted attention; null of an attention without gates. */
		gateWeighted: number | null;
		/** Mean attention to position 0 of all heads. */
		mean: number;
		/** What it would be if attention were spread evenly. */
		evenlySpread: number;
	};
	/** The values; null if all sequences have a single token. */
	valueRatio: {
		/** The number. */
		value: number;
		/** The plain mean over heads. */
		mean: number;
		/** The smallest of a head. */
		smallest: number;
	} | null;
	/** The same by layer. */
	layers: LayerHeadline[];
}

/** What was seen of a layer and sequence. */
interface Seen {
	peak?: { ratio: number; max: number; feature: number; token: number };
	importance?: number[];
	even?: number;
	gateWeighted?: number[];
	/** By key-value head; not finite where the other values are all 0, or there are none. */
	valueRatios?: number[];
}

/** Measures the three numbers of {@linkcode Headline} in a pass of the model. */
export class HeadlineProbe implements AnalysisProbe<Headline> {
	readonly taps: readonly string[];
	readonly #model: Transformer;
	readonly #epsilon: number;
	readonly #reading = new Reading();
	readonly #seen = new Map<number, Map<number, Seen>>();
	readonly #tokens = new Map<number, number>();
	readonly #columns = new Map<string, Tensor<"float32", 2>>();

	/**
	 * Makes a probe for one pass. Of an attention with gates it takes attention maps, [n, T, T] of each sequence: keep these
	 * short.
	 */
	constructor(model: Transformer, { epsilon = SINK }: HeadlineThresholds = {}) {
		if (!(epsilon > 0 && epsilon < 1)) {
			throw new RangeError(`Cannot use ${epsilon} as epsilon: it must be between 0 and 1`);
		}
		this.#model = model;
		this.#epsilon = epsilon;
		this.taps = [
			"layers.*.output",
			"layers.*.attn.cumulative",
			"layers.*.attn.v",
			...model.attention.gated ? ["layers.*.attn.weights", "layers.*.attn.gate"] : [],
		];
	}

	/** Queues what is measured of one tensor. */
	receive(tensor: Tensor<"float32">, context: TapContext): void {
		const read = noGrad(() => this.#queue(tensor, context));
		if (read) this.#reading.after(tensor.device, read);
	}

	#queue(tensor: Tensor<"float32">, context: TapContext): (() => void) | null {
		const { name, layer, sequence } = context, site = siteOf(context);
		const ofLayer = this.#seen.get(layer) ?? new Map<number, Seen>();
		this.#seen.set(layer, ofLayer);
		const seen = ofLayer.get(sequence) ?? {};
		ofLayer.set(sequence, seen);
		const { attention } = this.#model.config;
		switch (name.replace(/^layers\.\d+\./, "")) {
			case "output": {
				this.#tokens.set(sequence, tensor.shape[0]!);
				const pending = magnitudes(tensor as Tensor<"float32", 2>, 1);
				return () => {
					const found = pending.read();
					checkFinite(found, `${name} of sequence ${sequence}`);
					const [{ value, row, column }] = found.largest as [typeof found.largest[number]];
					seen.peak = {
						ratio: maxOverMean(found),
						max: Math.abs(value),
						feature: column,
						token: row,
					};
				};
			}
			case "attn.cumulative": {
				const tokens = tensor.shape[1]!, seeing = visibleTo(attention, 0, tokens);
				const read = queue(() => [tensor.slice(0, 1, 1).mul(1)]);
				return () => {
					seen.importance = Array.from(read()[0]!, (value) => value / seeing);
					for (const value of seen.importance) requireFinite(value, site, "attention");
					seen.even = evenImportance(attention, 0, tokens);
				};
			}
			case "attn.v": {
				const tokens = tensor.shape[1]!;
				const read = queue(() => [norm(tensor as Tensor<"float32", 3>, 2)]);
				return () => {
					const [norms] = read();
					for (const value of norms!) requireFinite(value, site, "norm of a value");
					seen.valueRatios = valueRatios(norms!, tokens, FIRST);
				};
			}
			case "attn.weights": {
				const [heads, tokens] = tensor.shape as [number, number];
				const column = scope(() => tensor.slice(0, 1, 2).reshape([heads, tokens]).mul(1));
				this.#columns.set(name.replace("weights", "gate") + sequence, column);
				return null;
			}
			default: { // the gates, which come after the maps
				const key = name + sequence;
				using column = this.#columns.get(key)!; // [n, T]
				this.#columns.delete(key);
				const read = queue(() => {
					const gates = tensor as Tensor<"float32", 2>; // [n, T]
					return [sum(mul(gates, column), 1), sum(gates, 1)];
				});
				return () => {
					const [weighted, open] = read() as [Float32Array, Float32Array];
					seen.gateWeighted = Array.from(weighted, (value, head) => {
						requireFinite(value, site, "gate-weighted attention");
						return open[head]! > 0 ? value / open[head]! : 0;
					});
				};
			}
		}
	}

	/** The three numbers, once the pass is over. */
	async result(): Promise<Headline> {
		await this.#reading.finish();
		const all = [...this.#seen].sort(([a], [b]) => a - b).map(([layer, seen]) => ({
			layer,
			seen: [...seen].sort(([a], [b]) => a - b).map(([, each]) => each),
		}));
		const tokens = [...this.#tokens].sort(([a], [b]) => a - b).map(([, count]) => count);
		const everything = all.flatMap(({ seen }) => seen);
		const epsilon = this.#epsilon;
		const rate = (shares: readonly number[]) => shareOfSinks(shares, epsilon);
		const shares = everything.flatMap(({ importance }) => importance!);
		const weighted = everything.flatMap(({ gateWeighted }) => gateWeighted ?? []);
		return {
			definitions: {
				activationPeak:
					"largest over layers but the last of the mean over sequences of max|h| / mean|h|",
				sinkRate:
					`share of (sequence, layer, head) that give position 0 more than ${epsilon} of their attention, ` +
					"mean over the queries that see it",
				valueRatio:
					"|v_0| / mean of the other |v_t|, mean over heads by how much attention they give position 0" +
					(this.#model.attention.gated ? " (gate-weighted)" : ""),
			},
			thresholds: { epsilon },
			sequences: { count: tokens.length, tokens: [...new Set(tokens)] },
			activationPeak: this.#peak(all),
			sinkRate: {
				value: rate(shares),
				gateWeighted: weighted.length > 0 ? rate(weighted) : null,
				mean: average(shares),
				evenlySpread: average(everything.map(({ even }) => even!)),
			},
			valueRatio: this.#valueRatio(everything),
			layers: all.map(({ layer, seen }) => {
				const ofLayer = seen.flatMap(({ importance }) => importance!);
				const gated = seen.flatMap(({ gateWeighted }) => gateWeighted ?? []);
				const ratios = seen.flatMap(({ valueRatios }) => valueRatios ?? []).filter(Number.isFinite);
				return {
					layer,
					peak: average(seen.map(({ peak }) => peak!.ratio)),
					sinkRate: rate(ofLayer),
					share: average(ofLayer),
					gateWeightedShare: gated.length > 0 ? average(gated) : null,
					valueRatio: ratios.length > 0 ? average(ratios) : null,
				};
			}),
		};
	}

	/** The last block's output is left out: it is about the next token, and has large values in any model. */
	#peak(all: readonly { layer: number; seen: readonly Seen[] }[]): Headline["activationPeak"] {
		const inner = all.filter(({ layer }) => layer < this.#model.config.layers - 1);
		if (inner.length === 0) return null;
		const peaks = inner.map(({ layer, seen }) => ({
			layer,
			peaks: seen.map(({ peak }) => peak!),
			value: average(seen.map(({ peak }) => peak!.ratio)),
		}));
		const { layer, value, peaks: best } = peaks.reduce((a, b) => b.value > a.value ? b : a);
		const counts = Map.groupBy(best, ({ feature }) => feature);
		const [feature] = [...counts].sort(([a, x], [b, y]) => y.length - x.length || a - b)[0]!;
		return {
			value,
			layer,
			feature,
			max: average(best.map(({ max }) => max)),
			atFirst: average(best.map(({ token }) => Number(token === 0))),
		};
	}

	#valueRatio(everything: readonly Seen[]): Headline["valueRatio"] {
		const { heads, keyValueHeads } = this.#model.config, group = heads / keyValueHeads;
		let weights = 0, weighted = 0;
		const ratios: number[] = [], smallest: number[] = [];
		for (const { valueRatios: ofSequence, importance, gateWeighted } of everything) {
			const finite = ofSequence?.filter(Number.isFinite) ?? [];
			if (finite.length === 0) continue;
			ratios.push(...finite);
			smallest.push(Math.min(...finite));
			(gateWeighted ?? importance!).forEach((weight, head) => {
				const ratio = ofSequence![Math.floor(head / group)]!;
				if (!Number.isFinite(ratio)) return;
				weights += weight;
				weighted += weight * ratio;
			});
		}
		if (ratios.length === 0) return null;
		const mean = average(ratios);
		return {
			value: weights > 0 ? weighted / weights : mean,
			mean,
			smallest: smallest.reduce((a, b) => Math.min(a, b)),
		};
	}
}

/** Options of {@linkcode headline}. */
export interface HeadlineOptions extends HeadlineThresholds, PassOptions {
	/** What to run. @default {the text that comes with the library} */
	texts?: readonly (string | SourceText | SourceTokens)[];
	/** Tokens of a sequence, 2 or more. @default {64, as Gu et al. have it} */
	length?: number;
	/** Sequences to cut from each text. @default {16} */
	sequences?: number;
}

/**
 * A model in three numbers: activation peak, sink rate and value ratio. They come apart, so there is no one score: some
 * attentions lose the sinks and keep the peak.
 *
 * @example
 * ```ts ignore
 * const { activationPeak, sinkRate, valueRatio } = await headline(model);
 * console.log(activationPeak?.value, sinkRate.value, valueRatio?.value);
 * ```
 */
export async function headline(
	model: Transformer,
	{ texts = [DEFAULT_TEXT], length = 64, sequences = 16, epsilon, ...pass }: HeadlineOptions = {},
): Promise<Headline> {
	const cut = texts.flatMap((text) =>
		cutSequences(
			model.hasTokenizer ? model.tokenizer : null,
			typeof text === "string" ? { source: "text", text } : text,
			Math.min(length, model.config.contextLength),
			sequences,
		)
	);
	const probe = new HeadlineProbe(model, epsilon === undefined ? {} : { epsilon });
	const found = await runAnalyses(
		model,
		cut.map(({ tokenIds }) => tokenIds),
		{ headline: probe },
		pass,
	);
	return found.headline;
}
