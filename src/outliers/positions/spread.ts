// A figure measured on several sequences or heads: its mean and how far the values spread.

/** Values of several sequences, or of several heads. */
export interface Spread {
	/** How many values. */
	count: number;
	/** Their mean. */
	mean: number;
	/** The lower bound. */
	minimum: number;
	/** The upper bound. */
	maximum: number;
	/** Standard deviation of the values, of their number less one; 0 of one value. */
	deviation: number;
}

/** Collects values into a {@linkcode Spread}, in constant memory. */
export class Spreading {
	#count = 0;
	#mean = 0;
	#squares = 0;
	#minimum = Infinity;
	#maximum = -Infinity;

	/** Takes one more value. */
	add(value: number): void {
		// Welford's update, which does not cancel.
		const away = value - this.#mean;
		this.#mean += away / ++this.#count;
		this.#squares += away * (value - this.#mean);
		this.#minimum = Math.min(this.#minimum, value);
		this.#maximum = Math.max(this.#maximum, value);
	}

	/** What they amount to; null without a value. */
	result(): Spread | null {
		if (this.#count === 0) return null;
		return {
			count: this.#count,
			mean: this.#mean,
			minimum: this.#minimum,
			maximum: this.#maximum,
			deviation: this.#count > 1 ? Math.sqrt(this.#squares / (this.#count - 1)) : 0,
		};
	}
}

/** The spread of a list; null of an empty one. */
export function spreadOf(values: Iterable<number>): Spread | null {
	const spreading = new Spreading();
	for (const value of values) spreading.add(value);
	return spreading.result();
}
