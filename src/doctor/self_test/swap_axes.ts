// Exchange of the two middle axes against an index by index copy.

import { assertAllSame, type Bench, type FloatType, selfTest } from "./self_test.ts";

/** The pairs of types that there are kernels for. */
export const PAIRS: (readonly [FloatType, FloatType])[] = [
	["float32", "float32"],
	["float32", "bfloat16"],
	["bfloat16", "float32"],
];

/** Compares [a, c, b, d] made of random [a, b, c, d] with the elements that belong there, to the bit. */
export function checkSwap(
	bench: Bench,
	[a, b, c, d]: readonly number[],
	[from, to]: readonly [FloatType, FloatType],
): void {
	const x = bench.given(from, bench.normals(a * b * c * d));
	const y = bench.wanted(to, x.numbers.length);
	bench.overRows(`swap_axes_${from}_to_${to}`, a * b * c, y, x, a, b, c, d);
	const expected = x.numbers.slice();
	for (let row = 0; row < a * b * c; row++) {
		const k = row % c, j = Math.floor(row / c) % b, i = Math.floor(row / c / b);
		expected.set(x.numbers.subarray(row * d, (row + 1) * d), ((i * c + k) * b + j) * d);
	}
	assertAllSame(y, expected, `[${a}, ${b}, ${c}, ${d}] from ${from} to ${to}`);
}

/** Each kernel of swap_axes.cu. */
export const selfTests = PAIRS.map((types) =>
	selfTest(
		[`swap_axes_${types.join("_to_")}`],
		(bench) => checkSwap(bench, [2, 3, 17, 65], types),
	)
);
