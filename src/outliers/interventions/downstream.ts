// The outliers of every layer in a few numbers, to be compared between runs: peaks of the hidden state and of x_down, the
// attention to some tokens, and how small their values are.

import type { TapContext } from "../../nn/probe.ts";
import { noGrad, norm, type Tensor } from "../../tensor/mod.ts";
import { checkFinite, magnitudes } from "../magnitudes.ts";
import type { AnalysisProbe } from "../pass.ts";
import { Reading } from "../reading.ts";
import { type Estimate, estimateOf } from "./estimate.ts";
import { average } from "../average.ts";
import { maxOverMean, valueRatios } from "../measures.ts";

/** The largest activation of a place. */
export interface PeakSpread {
	/** max|x| of each sequence. */
	max: Estimate;
	/** max|x| / mean|x| of each sequence; 0 of zeros. */
	ratio: Estimate;
	/** Where the largest |x| most often is. */
	token: number;
	/** Its feature there. */
	feature: number;
}

/** A layer's outliers, as spreads over sequences. */
export interface LayerDownstream {
	/** 0-based. */
	layer: number;
	/** h, behind the layer. */
	hiddenState: PeakSpread;
	/** x_down; of experts, the one with the largest. */
	downInput: PeakSpread;
	/** Σ of Â_j over the watched tokens, of Σ over all: mean over heads. */
	share: Estimate;
	/** The same of the head where it is largest. */
	strongest: Estimate;
	/** ‖v‖ of the watched tokens over that of the others, mean over heads; null where there are no others. */
	valueRatio: Estimate | null;
}

interface Peak {
	max: number;
	ratio: number;
	token: number;
	feature: number;
}

/** What was seen of a layer of a sequence. */
interface Seen {
	hiddenState?: Peak;
	downInput?: Peak;
	share?: number;
	strongest?: number;
	valueRatio?: number;
}

/** Takes what {@linkcode LayerDownstream} tells. */
export class DownstreamProbe implements AnalysisProbe<LayerDownstream[]> {
	readonly taps: readonly string[] = [
		"layers.*.output",
		"layers.*.mlp.down.input",
		"layers.*.mlp.experts.*.down.input",
		"layers.*.attn.cumulative",
		"layers.*.attn.v",
	];
	readonly #watched: ReadonlySet<number>;
	readonly #reading = new Reading();
	readonly #seen = new Map<string, Seen>();

	/**
	 * Makes a probe for one run.
	 *
	 * @param tokens whose attention and values are watched
	 */
	constructor(tokens: readonly number[]) {
		this.#watched = new Set(tokens);
	}

	receive(tensor: Tensor<"float32">, context: TapContext): void {
		const { name, layer, sequence } = context, key = `${layer} ${sequence}`;
		const seen = this.#seen.get(key) ?? {};
		this.#seen.set(key, seen);
		if (name.endsWith(".cumulative")) this.#attention(tensor as Tensor<"float32", 2>, seen);
		else if (name.endsWith(".v")) this.#values(tensor as Tensor<"float32", 3>, seen);
		else {
			const place = name.endsWith(".output") ? "hiddenState" : "downInput";
			this.#peak(tensor as Tensor<"float32", 2>, context, seen, place);
		}
	}

	#peak(
		x: Tensor<"float32", 2>,
		{ name, sequence, positions }: TapContext,
		seen: Seen,
		place: "hiddenState" | "downInput",
	): void {
		const found = magnitudes(x, 1);
		this.#reading.after(x.device, () => {
			const read = found.read();
			checkFinite(read, `${name} of sequence ${sequence}`);
			const { value, row, column } = read.largest[0]!, max = Math.abs(value);
			if (max < (seen[place]?.max ?? 0)) return; // another expert's is larger
			seen[place] = {
				max,
				ratio: maxOverMean(read),
				token: positions?.[row] ?? row,
				feature: column,
			};
		});
	}

	/** @param cumulative [n, T] */
	#attention(cumulative: Tensor<"float32", 2>, seen: Seen): void {
		const [heads, tokens] = cumulative.shape, kept = cumulative.reshape([heads * tokens]);
		this.#reading.after(cumulative.device, () => {
			const all = kept.readNow();
			kept.dispose();
			const shares = Array.from({ length: heads }, (_, head) => {
				let watched = 0, sum = 0;
				for (let token = 0; token < tokens; token++) {
					const value = all[head * tokens + token]!;
					sum += value;
					if (this.#watched.has(token)) watched += value;
				}
				return sum > 0 ? watched / sum : 0;
			});
			seen.share = average(shares);
			seen.strongest = Math.max(...shares);
		});
	}

	/** @param v [kv, T, d] */
	#values(v: Tensor<"float32", 3>, seen: Seen): void {
		const norms = noGrad(() => norm(v, 2));
		this.#reading.after(v.device, () => {
			const all = norms.readNow();
			norms.dispose();
			const ratios = valueRatios(all, v.shape[1], this.#watched).filter(Number.isFinite);
			if (ratios.length > 0) seen.valueRatio = average(ratios);
		});
	}

	async result(): Promise<LayerDownstream[]> {
		await this.#reading.finish();
		const layers = Map.groupBy(this.#seen, ([key]) => Number(key.split(" ")[0]));
		return [...layers].sort(([a], [b]) => a - b).map(([layer, entries]) => {
			const all = entries.map(([, seen]) => seen);
			const numbers = (of: (seen: Seen) => number | undefined) =>
				estimateOf(all.map(of).filter((value) => value !== undefined));
			return {
				layer,
				hiddenState: peakSpread(all.map(({ hiddenState }) => hiddenState!)),
				downInput: peakSpread(all.map(({ downInput }) => downInput!)),
				share: numbers(({ share }) => share)!,
				strongest: numbers(({ strongest }) => strongest)!,
				valueRatio: numbers(({ valueRatio }) => valueRatio),
			};
		});
	}
}

function peakSpread(peaks: readonly Peak[]): PeakSpread {
	const places = Map.groupBy(peaks, ({ token, feature }) => `${token} ${feature}`);
	const [[most]] = [...places.values()].sort((a, b) => b.length - a.length) as [Peak[]];
	return {
		max: estimateOf(peaks.map(({ max }) => max))!,
		ratio: estimateOf(peaks.map(({ ratio }) => ratio))!,
		token: most!.token,
		feature: most!.feature,
	};
}
