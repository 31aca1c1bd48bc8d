// The choice of the next token from its logits.

/** Options of choosing tokens. */
export interface SamplingOptions {
	/** What logits are divided by; 0 takes the likeliest token. @default {0} */
	temperature?: number;
	/** Only the k likeliest tokens, and those as likely as the last of them. @default {all} */
	topK?: number;
	/** Only the likeliest tokens that make up this share of the probability, at least one. @default {1} */
	topP?: number;
}

/** How a model's tokens are chosen where the user says nothing. */
export interface GenerationDefaults extends SamplingOptions {
	/** Tokens after which generation ends. */
	stop?: readonly number[];
}

/** Throws unless the options can be. */
export function checkSampling(
	{ temperature = 0, topK = Infinity, topP = 1 }: SamplingOptions,
): void {
	if (!(temperature >= 0 && temperature < Infinity)) {
		throw new RangeError(`Cannot sample with temperature ${temperature}: it must be 0 or more`);
	}
	if (!(topK >= 1)) throw new RangeError(`Cannot sample with topK ${topK}: it must be 1 or more`);
	if (!(topP > 0 && topP <= 1)) {
		throw new RangeError(`Cannot sample with topP ${topP}: it must be above 0 and at most 1`);
	}
}

/** The likeliest token; of equals the first. */
export function likeliest(logits: ArrayLike<number>): number {
	let best = 0;
	for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
	return best;
}

/**
 * Probabilities of the tokens: softmax(logits / temperature), without those that `topK` leaves out, then without
 * those that `topP` leaves out (Holtzman et al. 2020), in the order that `transformers` has.
 *
 * @param logits [V]
 * @returns [V], summing to 1
 */
export function tokenProbabilities(
	logits: ArrayLike<number>,
	options: SamplingOptions,
): Float64Array {
	checkSampling(options);
	const { temperature = 0, topK = Infinity, topP = 1 } = options;
	const probabilities = new Float64Array(logits.length);
	if (temperature === 0) {
		probabilities[likeliest(logits)] = 1;
		return probabilities;
	}
	const descending = Uint32Array.from(probabilities.keys())
		.sort((a, b) => logits[b]! - logits[a]! || a - b);
	const largest = logits[descending[0]!]!;
	let kept = logits.length;
	if (topK < kept) {
		kept = Math.floor(topK);
		while (kept < logits.length && logits[descending[kept]!] === logits[descending[kept - 1]!]) {
			kept++;
		}
	}
	let sum = 0;
	for (let i = 0; i < kept; i++) {
		const token = descending[i]!;
		sum += probabilities[token] = Math.exp((logits[token]! - largest) / temperature);
	}
	let share = 0;
	for (let i = 0; i < kept; i++) {
		const token = descending[i]!;
		if (i > 0 && share >= topP) probabilities[token] = 0;
		else share += probabilities[token]! /= sum;
	}
	return probabilities.map((probability) => probability / share);
}

/** The token at which a number from 0 to 1 falls, tokens lying side by side, each as wide as it is likely. */
export function tokenAt(probabilities: Float64Array, at: number): number {
	let left = at, last = 0;
	for (const [token, probability] of probabilities.entries()) {
		if (probability === 0) continue;
		last = token;
		if ((left -= probability) < 0) break;
	}
	return last;
}
