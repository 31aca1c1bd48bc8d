// Outliers of attention: keys that take a large share of a head's cumulative attention (sinks).

import type { Probe, TapContext } from "../nn/probe.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { AttentionAnalysis, CumulativeAttention, HeadAttention } from "./analysis.ts";
import { largestIndices, lowerMedian } from "./ranking.ts";
import { Reading } from "./reading.ts";

const TOP = 5;
const FIRST_TOKENS = 64;

/** Statistics of one head's cumulative attention Â. */
function analyzeHead(
	cumulative: Float64Array,
	tau: number,
	attentionShare: number,
): Omit<HeadAttention, "head"> {
	const sum = cumulative.reduce((total, value) => total + value, 0);
	const limit = tau * sum / cumulative.length;
	const at = (token: number): CumulativeAttention => ({
		token,
		value: cumulative[token]!,
		share: cumulative[token]! / sum,
	});
	// At most 1/ρ keys can hold a share of ρ, so the largest few are all there is to look at.
	const candidates = Math.max(TOP, Math.ceil(1 / attentionShare));
	const largest = largestIndices(cumulative, candidates).map(at);
	return {
		top: largest.slice(0, TOP),
		median: lowerMedian(cumulative),
		outliers: largest.filter(({ share }) => share >= attentionShare),
		tauOutlierCount: cumulative.reduce((count, value) => count + (value > limit ? 1 : 0), 0),
	};
}

/**
 * Finds attention outliers: keys whose cumulative attention Â_j = Σ_i A[i, j] is at least ρ of its head's
 * sum, by head and for the mean over heads. (The paper's literal test, Â_j > τ · mean Â with τ = 1000,
 * cannot fire for T ≤ 1000; it is counted as well.) Give it to a model's forward pass, then ask for the
 * result.
 */
export class AttentionOutlierProbe implements Probe {
	/** The tap it takes. */
	readonly taps: readonly string[] = ["layers.*.attn.cumulative"];
	readonly #tau: number;
	readonly #attentionShare: number;
	readonly #reading = new Reading();
	readonly #results: AttentionAnalysis[] = [];

	/**
	 * Makes a probe for one run.
	 *
	 * @param tau τ
	 * @param attentionShare ρ, above 0 and at most 1
	 */
	constructor(tau: number, attentionShare: number) {
		this.#tau = tau;
		this.#attentionShare = attentionShare;
	}

	/** Queues the statistics of one tensor, [n, T]. */
	receive(cumulative: Tensor<"float32">, { layer, sequence }: TapContext): void {
		const [heads, tokens] = (cumulative as Tensor<"float32", 2>).shape;
		const kept = cumulative.reshape([cumulative.size]);
		this.#reading.after(cumulative.device, () => {
			const values = Float64Array.from(kept.readNow());
			kept.dispose();
			const analyze = (head: Float64Array) => analyzeHead(head, this.#tau, this.#attentionShare);
			const mean = new Float64Array(tokens);
			values.forEach((value, i) => mean[i % tokens]! += value / heads);
			const sum = mean.reduce((total, value) => total + value, 0);
			this.#results.push({
				layer: layer + 1,
				sequence,
				heads: Array.from({ length: heads }, (_, head) => ({
					head,
					...analyze(values.subarray(head * tokens, (head + 1) * tokens)),
				})),
				mean: analyze(mean),
				tokenShares: [...mean.subarray(0, FIRST_TOKENS)].map((value) => value / sum),
			});
		});
	}

	/** What was found, by layer and sequence, once the forward pass is over. */
	async result(): Promise<AttentionAnalysis[]> {
		await this.#reading.finish();
		return this.#results.sort((a, b) => a.layer - b.layer || a.sequence - b.sequence);
	}
}
