// How much a number differs between sequences.

import { average } from "../average.ts";

/** The mean of a number over sequences, and how sure it is. */
export interface Estimate {
	/** Mean. */
	mean: number;
	/** Standard deviation (n - 1); 0 of one sequence. */
	deviation: number;
	/** 95 % bootstrap interval of the mean: 2,000 seeded draws of as many sequences, with replacement. */
	interval: [low: number, high: number];
	/** How many sequences. */
	count: number;
}

const DRAWS = 2000;

/** Random numbers in [0, 1) by a seed, and by words that tell streams of the same seed apart. */
export function randomNumbers(seed: number, ...words: readonly (string | number)[]): () => number {
	let state = 2166136261 ^ seed; // FNV-1a of the words, then mulberry32
	for (const char of words.join("\0")) {
		state = Math.imul(state ^ char.codePointAt(0)!, 16777619);
	}
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}

/** The mean of at least one value with its interval; null of none. */
export function estimateOf(values: readonly number[]): Estimate | null {
	const count = values.length;
	if (count === 0) return null;
	const mean = average(values);
	if (count === 1) return { mean, deviation: 0, interval: [mean, mean], count };
	const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
	const random = randomNumbers(1);
	const means = Float64Array.from(
		{ length: DRAWS },
		() => average(values.map(() => values[Math.floor(random() * count)]!)),
	).sort();
	const at = (share: number) => means[Math.round(share * (DRAWS - 1))]!;
	return {
		mean,
		deviation: Math.sqrt(squares / (count - 1)),
		interval: [at(0.025), at(0.975)],
		count,
	};
}
