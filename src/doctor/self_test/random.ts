// Random inputs that a failure can be repeated with: each run draws a fresh seed, which a failing test
// prints, and OUTLIERSCOPE_SEED sets it.

/** A seed from OUTLIERSCOPE_SEED, or a fresh one. */
export function chooseSeed(): number {
	const chosen = Deno.env.get("OUTLIERSCOPE_SEED");
	return Number(chosen ?? crypto.getRandomValues(new Uint32Array(1))[0]) >>> 0;
}

/** A small generator of numbers with 32 bits of state (a Weyl sequence through a mixing function). */
export class Random {
	#state: number;

	/** @param stream keeps tests apart that share a seed */
	constructor(seed: number, stream = 0) {
		this.#state = (seed ^ Math.imul(stream, 0x9e3779b9)) >>> 0;
	}

	/** A whole number from 0 to 2³² - 1. */
	bits(): number {
		this.#state = (this.#state + 0x9e3779b9) >>> 0;
		let mixed = this.#state;
		mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
		mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
		return (mixed ^ (mixed >>> 16)) >>> 0;
	}

	/** From 0 to 1, not included. */
	uniform(): number {
		return this.bits() / 2 ** 32;
	}

	/** A whole number from 0 to `below` - 1. */
	below(below: number): number {
		return Math.floor(this.uniform() * below);
	}

	/** Normally distributed float32 values. */
	normals(length: number, deviation = 1): Float32Array<ArrayBuffer> {
		return Float32Array.from({ length }, () => {
			const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
			return deviation * radius * Math.cos(2 * Math.PI * this.uniform());
		});
	}

	/** Random bytes. */
	bytes(length: number): Uint8Array<ArrayBuffer> {
		return Uint8Array.from({ length }, () => this.bits() & 255);
	}
}
