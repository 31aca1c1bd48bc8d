// Draws without replacement as NumPy's legacy generator does, so that the same seed gives the same documents that
// the paper's code takes: `numpy.random.seed(seed); numpy.random.choice(n, k, replace=False)`.

const N = 624, M = 397;

/** The Mersenne Twister MT19937 (Matsumoto & Nishimura 1998), seeded by one number. */
class MersenneTwister {
	readonly #state = new Uint32Array(N);
	#at = N;

	constructor(seed: number) {
		this.#state[0] = seed;
		for (let i = 1; i < N; i++) {
			const before = this.#state[i - 1]!;
			this.#state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
		}
	}

	/** The next number of 32 bits. */
	next(): number {
		if (this.#at === N) this.#twist();
		let y = this.#state[this.#at++]!;
		y ^= y >>> 11;
		y ^= (y << 7) & 0x9d2c5680;
		y ^= (y << 15) & 0xefc60000;
		return (y ^ (y >>> 18)) >>> 0;
	}

	#twist(): void {
		const state = this.#state;
		for (let i = 0; i < N; i++) {
			const y = (state[i]! & 0x80000000) | (state[(i + 1) % N]! & 0x7fffffff);
			state[i] = state[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
		}
		this.#at = 0;
	}

	/** An even draw from 0 to `largest`, which it may be. */
	upTo(largest: number): number {
		const mask = 2 ** (32 - Math.clz32(largest)) - 1;
		let value: number;
		do value = (this.next() & mask) >>> 0; while (value > largest);
		return value;
	}
}

/**
 * Draws `count` of the numbers 0 to `of - 1`, none twice.
 *
 * @param seed 0 to 2³² - 1
 * @param draw which draw after seeding, 0 for the first
 */
export function numpyChoice(of: number, count: number, seed: number, draw = 0): number[] {
	const generator = new MersenneTwister(seed);
	for (let passed = 0;; passed++) {
		const order = Uint32Array.from({ length: of }, (_, i) => i);
		for (let i = of - 1; i > 0; i--) {
			const j = generator.upTo(i), kept = order[i]!;
			order[i] = order[j]!;
			order[j] = kept;
		}
		if (passed === draw) return [...order.subarray(0, count)];
	}
}
