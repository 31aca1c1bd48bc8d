// How much of each head's attention the outlier keys take, and how heads differ (the paper's Fig. 6c).

import type { TapContext } from "../../nn/probe.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { cumulativeAttention } from "../outlier_sets.ts";
import type { AnalysisProbe } from "../pass.ts";
import { largestIndices } from "../ranking.ts";
import { Reading } from "../reading.ts";
import { type AttentionPositionsProbe, keysBySequence } from "./attention.ts";
import { type Spread, Spreading, spreadOf } from "./spread.ts";

/** The heads of a layer. */
export interface LayerHeads {
	/** Layer, 0-based. */
	layer: number;
	/** Of each head the share Σ_{j outlier} Â_j / Σ_j Â_j, over sequences: its mean, lower and upper bound. */
	heads: Spread[];
	/** Of the heads' means: the mean, and the lower and upper bound over heads (a bar of Fig. 6c). */
	overHeads: Spread;
}

/** The share of outlier keys in every head: the paper's Fig. 6c as data. */
export interface HeadShares {
	/** Which keys were taken. */
	keys: "outliers" | { readonly positions: readonly number[] } | { readonly top: number };
	/** Every layer; none if no sequence has such a key. */
	layers: LayerHeads[];
	/** How many sequences were looked at. */
	sequences: number;
	/** Sequences without such a key, which are left out. */
	withoutKeys: number[];
}

/** Which keys of a sequence: positions, or so many of the largest of each layer's mean over heads. */
export type KeyChoice = readonly number[] | { readonly top: number };

/** What a layer's heads gave every key of a sequence. */
interface Kept {
	values: Float32Array;
	tokens: number;
	context: TapContext;
}

/** Measures the share of keys in every head. Give it to `runAnalyses`. */
export class HeadSharesProbe implements AnalysisProbe<HeadShares> {
	/** The tap it takes. */
	readonly taps: readonly string[] = ["layers.*.attn.cumulative"];
	readonly #keys: HeadShares["keys"];
	readonly #choose: ((sequence: number) => KeyChoice) | AttentionPositionsProbe;
	readonly #reading = new Reading();
	readonly #layers = new Map<number, Spreading[]>();
	readonly #seen = new Set<number>();
	readonly #without = new Set<number>();
	#kept: Kept[] = [];

	/**
	 * Makes a probe for one pass.
	 *
	 * @param keys what the keys are, for the result
	 * @param choose the keys of a sequence; or the probe of the same pass that finds them. As a late layer may make a key an
	 * outlier, all keys are then kept until the pass is over: 4 bytes for each head, layer and token
	 * @param members of which sequences it is made; by default of all
	 */
	constructor(
		keys: HeadShares["keys"],
		choose: ((sequence: number) => KeyChoice) | AttentionPositionsProbe,
		readonly members?: ReadonlySet<number>,
	) {
		this.#keys = keys;
		this.#choose = choose;
	}

	/** Queues the measurement of one tensor, [n, T]. */
	receive(cumulative: Tensor<"float32">, context: TapContext): void {
		const { sequence } = context, tokens = cumulative.shape[1]!, choose = this.#choose;
		if (!(this.members?.has(sequence) ?? true)) return;
		const choice = typeof choose === "function" ? choose(sequence) : null;
		if (choice && this.#isEmpty(sequence, tokens, choice)) return;
		const kept = cumulative.reshape([cumulative.size]);
		this.#reading.after(cumulative.device, () => {
			const values = kept.readNow();
			kept.dispose();
			const all = { values, tokens, context };
			if (choice) this.#take(all, choice);
			else this.#kept.push(all);
		});
	}

	/** Whether there is no such key; notes which it is. */
	#isEmpty(sequence: number, tokens: number, choice: KeyChoice): boolean {
		const empty = !("top" in choice) && !choice.some((key) => key < tokens);
		(empty ? this.#without : this.#seen).add(sequence);
		return empty;
	}

	#take({ values, tokens, context }: Kept, choice: KeyChoice): void {
		const { heads, mean } = cumulativeAttention(values, tokens, context);
		const keys = "top" in choice
			? largestIndices(mean, choice.top)
			: choice.filter((key) => key < tokens);
		const state = this.#layers.get(context.layer) ?? heads.map(() => new Spreading());
		this.#layers.set(context.layer, state);
		for (const [head, all] of heads.entries()) {
			const total = all.reduce((sum, value) => sum + value, 0);
			state[head]!.add(keys.reduce((sum, key) => sum + all[key]!, 0) / total);
		}
	}

	/** The shares, once the pass is over. */
	async result(): Promise<HeadShares> {
		await this.#reading.finish();
		if (typeof this.#choose !== "function") {
			const keys = keysBySequence(await this.#choose.result());
			for (const all of this.#kept) {
				const { sequence } = all.context, choice = keys.get(sequence) ?? [];
				if (!this.#isEmpty(sequence, all.tokens, choice)) this.#take(all, choice);
			}
			this.#kept = [];
		}
		return {
			keys: this.#keys,
			layers: [...this.#layers].sort(([a], [b]) => a - b).map(([layer, state]) => {
				const heads = state.map((spreading) => spreading.result()!);
				return { layer, heads, overHeads: spreadOf(heads.map(({ mean }) => mean))! };
			}),
			sequences: this.#seen.size,
			withoutKeys: [...this.#without].sort((a, b) => a - b),
		};
	}
}
