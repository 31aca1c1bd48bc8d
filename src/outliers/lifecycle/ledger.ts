// Finds the outliers of the residual stream of one sequence, and keeps the books on them: what attention and MLP of
// each layer add to each, from the embedding to the end.

import type { TapContext, Transformer } from "../../nn/mod.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { checkFinite, type Entry, type Magnitudes, magnitudes } from "../magnitudes.ts";
import { maxOverMean } from "../measures.ts";
import { type AnalysisProbe, progressAfter, runAnalyses } from "../pass.ts";
import { Reading } from "../reading.ts";
import { KeptTaps } from "./kept_taps.ts";

/** What every trace is told. */
export interface TraceOptions {
	/** Tokens to trace, by position. @default {those of the largest outliers of the hidden states, 4 at most} */
	tokens?: readonly number[];
	/** Features of the hidden states to trace. @default {those of the largest outliers, 8 at most} */
	features?: readonly number[];
	/** τ: with no entry above so many times the mean, entries of at least half the largest are traced. @default {1000} */
	tau?: number;
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: "float32" | "bfloat16";
	/** Told after each layer of each pass: how many are done, of how many. */
	onProgress?: (done: number, total: number) => void;
	/** Stops it; the promise then rejects with the signal's reason. */
	signal?: AbortSignal;
}

/** How often {@linkcode traceLedger} runs the model. */
export const LEDGER_PASSES = 2;

/** The largest value of a hidden state. */
export interface LayerPeak {
	/** 0-based; -1 is the embedding. */
	layer: number;
	/** The signed value. */
	value: number;
	/** |value| over the mean |h| of the layer. */
	ratio: number;
	/** Its token. */
	token: number;
	/** Its feature. */
	feature: number;
}

/** What happens to one entry of the residual stream in one layer; `after` is the sum of the others. */
export interface LedgerLayer {
	/** 0-based. */
	layer: number;
	/** Before the layer. */
	before: number;
	/** What attention adds. */
	attention: number;
	/** What the MLP adds. */
	mlp: number;
	/** What norms on the residual stream itself change (post-norm models); else what rounding leaves. */
	rest: number;
	/** After the layer. */
	after: number;
}

/** The books of one entry. */
export interface LedgerEntry {
	/** Its token. */
	token: number;
	/** Its feature. */
	feature: number;
	/** All layers, in order. */
	layers: LedgerLayer[];
}

/** How what the MLP adds lies to the residual stream it is added to. */
export interface Opposition {
	/** 0-based. */
	layer: number;
	/** The token. */
	token: number;
	/** Cosine of the two vectors: −1 where the MLP takes away what is there. */
	cosine: number;
	/** ‖MLP output‖ / ‖residual stream‖. */
	size: number;
}

/** The outliers of a sequence in all layers. */
export interface Ledger {
	/** What the numbers mean. */
	definition: string;
	/** The sequence. */
	tokenIds: number[];
	/** The largest value of the embedding and behind each layer. */
	peaks: LayerPeak[];
	/** Why these were chosen: they were named, exceed τ, or are the largest. */
	criterion: "named" | "tau" | "largest";
	/** The traced tokens. */
	tokens: number[];
	/** The traced features. */
	features: number[];
	/** Each token and feature; the largest |h| first. */
	entries: LedgerEntry[];
	/** Of each layer and traced token. */
	opposition: Opposition[];
	/** The layer that adds most to the first entry, up to where the outlier stands out most. */
	emergence: number;
	/** The layer after it that takes most from the first entry; the last one if none takes. */
	disappearance: number;
}

const DEFINITION =
	"Layers, tokens and features are 0-based, layer -1 is the embedding. Traced are the entries with " +
	"|h| > tau * mean|h| in the layer where max|h| / mean|h| is largest, or where there are none, those of at least half " +
	"its largest |h|. Emergence is the layer that adds most to the first entry (in the direction of its value there), " +
	"disappearance the one after it that takes most. before + attention + mlp + rest = after.";

const MOST_TOKENS = 4, MOST_FEATURES = 8;

/** The largest values of each layer's hidden state. */
class PeakProbe implements AnalysisProbe<Map<number, Magnitudes>> {
	readonly taps: readonly string[] = ["embed", "layers.*.output"];
	readonly #reading = new Reading();
	readonly #layers = new Map<number, Magnitudes>();
	readonly #tau: number;

	constructor(tau: number) {
		this.#tau = tau;
	}

	receive(h: Tensor<"float32">, { name, layer }: TapContext): void {
		const found = magnitudes(h as Tensor<"float32", 2>, this.#tau);
		this.#reading.after(h.device, () => {
			const read = found.read();
			checkFinite(read, name);
			this.#layers.set(layer, read);
		});
	}

	async result(): Promise<Map<number, Magnitudes>> {
		await this.#reading.finish();
		return this.#layers;
	}
}

function unique(values: readonly number[], most: number): number[] {
	return [...new Set(values)].slice(0, most);
}

/** Throws if a named token or feature is not there. */
function checkNamed(
	what: string,
	named: readonly number[] | undefined,
	count: number,
): void {
	const wrong = named?.find((each) => !Number.isInteger(each) || each < 0 || each >= count);
	if (wrong === undefined && named?.length !== 0) return;
	throw new RangeError(
		wrong === undefined
			? `Cannot trace: no ${what} is named; leave them out to have them found`
			: `Cannot trace ${what} ${wrong}: there are ${count}, the first is 0`,
	);
}

/**
 * Follows the largest values of the residual stream through all layers.
 *
 * @param tokenIds one sequence
 */
export async function traceLedger(
	model: Transformer,
	tokenIds: readonly number[],
	options: TraceOptions = {},
): Promise<Ledger> {
	const { tau = 1000, dtype = "float32", signal } = options, { config } = model;
	checkNamed("token", options.tokens, tokenIds.length);
	checkNamed("feature", options.features, config.hiddenSize);
	const pass = (before: number) => ({
		dtype,
		...signal && { signal },
		...progressAfter(options.onProgress, before, LEDGER_PASSES * config.layers),
	});
	const { found } = await runAnalyses(model, [tokenIds], { found: new PeakProbe(tau) }, pass(0));
	const layers = [...found.keys()].sort((a, b) => a - b);
	const peaks = layers.map((layer): LayerPeak => {
		const { value, row, column } = found.get(layer)!.largest[0]!;
		return { layer, value, ratio: maxOverMean(found.get(layer)!), token: row, feature: column };
	});
	const behind = peaks.filter(({ layer }) => layer >= 0);
	const strongest = behind.reduce((best, peak) => peak.ratio > best.ratio ? peak : best).layer;
	const { largest, over } = found.get(strongest)!;
	const listed = over > 0
		? largest.slice(0, over)
		: largest.filter(({ value }) => Math.abs(value) >= Math.abs(largest[0]!.value) / 2);
	const tokens = options.tokens ?? unique(listed.map(({ row }: Entry) => row), MOST_TOKENS);
	const features = options.features ?? unique(listed.map(({ column }) => column), MOST_FEATURES);

	const ascending = [...new Set(tokens)].sort((a, b) => a - b);
	const parts = ["attn.output", "middle", "mlp.output", "output"].map((tap) => `layers.*.${tap}`);
	using kept = new KeptTaps(["embed", ...parts], ascending);
	const hidden = await model.forward([tokenIds], { ...pass(config.layers), probes: [kept] });
	for (const h of hidden) h.dispose();
	const rows = async (tap: string) => {
		const { ids, values } = await kept.rows(tap);
		return new Map(ids.map((token, i) => [token, values[i]!]));
	};
	const entries = ascending.flatMap((token) =>
		[...new Set(features)].map((feature): LedgerEntry => ({ token, feature, layers: [] }))
	);
	const opposition: Opposition[] = [];
	let before = await rows("embed");
	for (let layer = 0; layer < config.layers; layer++) {
		const [attention, mlp, after] = await Promise.all(
			["attn.output", "mlp.output", "output"].map((tap) => rows(`layers.${layer}.${tap}`)),
		) as [typeof before, typeof before, typeof before];
		const middle = kept.has(`layers.${layer}.middle`)
			? await rows(`layers.${layer}.middle`)
			: new Map(ascending.map((token) => [
				token,
				before.get(token)!.map((value, i) => value + attention.get(token)![i]!),
			]));
		for (const entry of entries) {
			const [b, a, m, h] = [before, attention, mlp, after].map((of) =>
				of.get(entry.token)![entry.feature]!
			) as [number, number, number, number];
			entry.layers.push({ layer, before: b, attention: a, mlp: m, rest: h - b - a - m, after: h });
		}
		for (const token of ascending) {
			opposition.push({ layer, token, ...compare(middle.get(token)!, mlp.get(token)!) });
		}
		before = after;
	}
	const at = ({ layers }: LedgerEntry) => Math.abs(layers[strongest]!.after);
	entries.sort((a, b) => at(b) - at(a));
	const first = entries[0]!.layers, sign = Math.sign(first[strongest]!.after);
	const gain = ({ before, after }: LedgerLayer) => sign * (after - before);
	const most = (of: readonly LedgerLayer[], gain: (layer: LedgerLayer) => number) =>
		of.reduce((best, each) => gain(each) > gain(best) ? each : best).layer;
	const emergence = most(first.slice(0, strongest + 1), gain);
	const later = first.slice(emergence + 1);
	const takes = later.some((layer) => gain(layer) < 0);
	return {
		definition: DEFINITION,
		tokenIds: [...tokenIds],
		peaks,
		criterion: options.tokens && options.features ? "named" : over > 0 ? "tau" : "largest",
		tokens: [...tokens],
		features: [...features],
		entries,
		opposition,
		emergence,
		disappearance: takes ? most(later, (layer) => -gain(layer)) : config.layers - 1,
	};
}

/** Cosine and relative size of what is added to a residual stream. */
function compare(residual: Float32Array, added: Float32Array): { cosine: number; size: number } {
	let product = 0, first = 0, second = 0;
	residual.forEach((value, i) => {
		product += value * added[i]!;
		first += value ** 2;
		second += added[i]! ** 2;
	});
	const sizes = Math.sqrt(first) * Math.sqrt(second);
	return {
		cosine: sizes > 0 ? product / sizes : 0,
		size: first > 0 ? Math.sqrt(second / first) : 0,
	};
}
