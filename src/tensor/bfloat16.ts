// bfloat16 as numbers: the upper half of a float32.

const float = new Float32Array(1), word = new Uint32Array(float.buffer);

/** The 16 bits of x, rounded to nearest, ties to even; NaN stays NaN. */
export function toBfloat16(x: number): number {
	float[0] = x;
	const bits = word[0]!;
	if (x !== x) return 0x7fc0;
	// A float64 between two float32 numbers: rounding twice must not make a tie of what was none.
	const odd = float[0] !== x && (bits & 0xffff) === 0x8000;
	const away = odd && Math.abs(x) > Math.abs(float[0]!), back = odd && !away;
	return (bits + (back ? 0x7fff : 0x7fff + ((bits >>> 16) & 1)) + (away ? 1 : 0)) >>> 16 & 0xffff;
}

/** The number that 16 bits stand for. */
export function fromBfloat16(bits: number): number {
	word[0] = bits << 16;
	return float[0]!;
}
