// How results are compared with a reference in float64, and bfloat16 as the reference has it.

import type { Guarded } from "./guarded.ts";
import { thenBfloat16 } from "./tolerance.ts";

/** Numbers, or what a kernel left in memory. */
type Result = ArrayLike<number> | Guarded;

/**
 * Fails unless each value is within `tolerance` · size of the expected one; NaN and infinities must agree.
 *
 * @param tolerance of float32 results; those in memory as bfloat16 are rounded once more, and whole numbers
 * are the same
 * @param sizes what errors are relative to; by default the expected values
 * @returns the largest error relative to its size
 */
export function assertClose(
	actual: Result,
	expected: ArrayLike<number>,
	tolerance: number,
	what: string,
	sizes?: ArrayLike<number>,
): number {
	if ("take" in actual) {
		const { dtype } = actual, taken = actual.read();
		if (dtype === "float32") return assertClose(taken, expected, tolerance, what, sizes);
		if (dtype !== "bfloat16") return assertClose(taken, expected, 0, what);
		// The last place of denormal numbers, which bfloat16 has fewer of than float32.
		const normal = Float64Array.from(
			sizes ?? expected,
			(size) => Math.max(Math.abs(size), 2 ** -126),
		);
		return assertClose(taken, expected, thenBfloat16(tolerance), what, normal);
	}
	assertSame(actual.length, expected.length, `${what}: number of values`);
	let largest = 0;
	for (let i = 0; i < expected.length; i++) {
		const e = expected[i]!, a = actual[i]!;
		if (Object.is(a, e) || a === e) continue;
		const size = sizes ? sizes[i]! : Math.abs(e), error = Math.abs(a - e);
		// Beside the relative part, the last place of denormal numbers.
		if (!(error <= tolerance * size + 2 ** -149)) {
			throw new Error(`${what}: value ${i} is ${a}, expected ${e} within ${tolerance} · ${size}`);
		}
		if (error > 2 ** -149) largest = Math.max(largest, error / size);
	}
	return largest;
}

/** Fails unless two numbers are the same. */
export function assertSame(actual: number, expected: number, what: string): void {
	if (!Object.is(actual, expected)) throw new Error(`${what}: ${actual}, expected ${expected}`);
}

/** Fails unless all numbers are the same, in order; what is in memory as bfloat16 is compared as bits. */
export function assertAllSame(actual: Result, expected: ArrayLike<number>, what: string): void {
	if ("take" in actual) {
		const isBits = actual.dtype === "bfloat16" && !(expected instanceof Uint16Array);
		return assertAllSame(actual.take(), isBits ? numbersToBfloat16(expected) : expected, what);
	}
	assertSame(actual.length, expected.length, `${what}: number of values`);
	for (let i = 0; i < expected.length; i++) {
		assertSame(actual[i]!, expected[i]!, `${what}: value ${i}`);
	}
}

/** bfloat16 bits as numbers. */
export function bfloat16ToNumbers(bits: ArrayLike<number>): Float32Array {
	return new Float32Array(Uint32Array.from(bits, (b) => b << 16).buffer);
}

/** Numbers as bfloat16 bits, to nearest even, by comparing the two neighbours. */
export function numbersToBfloat16(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
	const float = new Float32Array(1);
	const word = new Uint32Array(float.buffer);
	return Uint16Array.from(values, (value) => {
		float[0] = value;
		const lower = word[0] >>> 16; // towards zero
		if (value !== value) return lower | 0x40;
		const at = (bits: number) => {
			word[0] = bits << 16;
			// The neighbour of the largest number counts as 2^128, as rounding sees it.
			return (bits & 0x7fff) === 0x7f80 ? Math.sign(float[0]) * 2 ** 128 : float[0];
		};
		if ((lower & 0x7fff) === 0x7f80) return lower;
		const down = Math.abs(value - at(lower)), up = Math.abs(value - at(lower + 1));
		return up < down || (up === down && lower % 2 === 1) ? lower + 1 : lower;
	});
}
