// Definitions that several analyses share: how far the largest value stands out, when a head is a sink, how small a
// sink's values are.

import { average } from "./average.ts";
import type { Magnitudes } from "./magnitudes.ts";

/** max|x| / mean|x|; 0 of zeros. */
export function maxOverMean({ largest: [first], mean }: Pick<Magnitudes, "largest" | "mean">) {
	return mean > 0 ? Math.abs(first!.value) / mean : 0;
}

/** ε: from which mean attention on, above it, a head counts as a sink (Gu et al. 2024). */
export const SINK = 0.3;

/** The share of heads whose mean attention to a key exceeds ε. */
export function shareOfSinks(attention: readonly number[], epsilon = SINK): number {
	return average(attention.map((each) => Number(each > epsilon)));
}

/** How many queries see key k of T. */
export function visibleTo(
	{ causal, window }: { causal: boolean; window?: number | undefined },
	key: number,
	tokens: number,
): number {
	return causal ? Math.min(tokens - key, window ?? tokens) : tokens;
}

/** What key k gets of attention that is spread evenly over what each query sees. */
export function evenImportance(
	{ causal, window = Infinity }: { causal: boolean; window?: number | undefined },
	key: number,
	tokens: number,
): number {
	if (!causal) return 1 / tokens;
	const seeing = visibleTo(
		{ causal, window: window === Infinity ? undefined : window },
		key,
		tokens,
	);
	let sum = 0;
	for (let query = key; query < key + seeing; query++) sum += 1 / Math.min(query + 1, window);
	return sum / seeing;
}

/** Position 0 alone. */
export const FIRST: ReadonlySet<number> = new Set([0]);

/**
 * The mean ‖v_k‖ of chosen tokens over that of the others, of each row of norms [kv, T]; NaN or infinite where there are
 * no others, or these are all 0.
 */
export function valueRatios(
	norms: Float32Array,
	tokens: number,
	chosen: ReadonlySet<number>,
): number[] {
	return Array.from({ length: norms.length / tokens }, (_, head) => {
		let own = 0, others = 0, count = 0;
		for (let token = 0; token < tokens; token++) {
			const size = norms[head * tokens + token]!;
			if (chosen.has(token)) {
				own += size;
				count++;
			} else others += size;
		}
		return own / count / (others / (tokens - count));
	});
}
