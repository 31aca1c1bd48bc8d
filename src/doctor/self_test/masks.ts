// Masks and biases of attention against their definitions, element by element.

import { assertAllSame, assertClose, type Bench, selfTest, TOLERANCE } from "./self_test.ts";

/** Compares a mask of [queries, keys] with what each query sees; no window is 0. */
export function checkMask(
	bench: Bench,
	[queries, keys, first, window]: readonly number[],
	dtype: "uint8" | "float32",
): void {
	const y = bench.wanted(dtype, queries * keys);
	bench.overRows(`causal_mask_${dtype}`, queries, y, queries, keys, first, window);
	const [yes, no] = dtype === "uint8" ? [1, 0] : [0, -Infinity];
	const expected = Float64Array.from({ length: queries * keys }, (_, at) => {
		const before = first + Math.floor(at / keys) - at % keys;
		return before >= 0 && (window === 0 || before < window) ? yes : no;
	});
	assertAllSame(y, expected, `mask [${queries}, ${keys}] from ${first}, window ${window}`);
}

/** Compares biases of random slopes with their formula. */
export function checkAlibi(
	bench: Bench,
	[heads, queries, keys, first]: readonly number[],
): number {
	const slopes = bench.normals(heads), y = bench.wanted("float32", heads * queries * keys);
	bench.overRows("alibi_bias", heads * queries, y, slopes, heads, queries, keys, first);
	const expected = Float64Array.from({ length: heads * queries * keys }, (_, at) => {
		const query = first + Math.floor(at / keys) % queries;
		return -slopes[Math.floor(at / keys / queries)] * Math.abs(query - at % keys);
	});
	const what = `biases [${heads}, ${queries}, ${keys}] from ${first}`;
	return assertClose(y, expected, TOLERANCE.elementwise(1), what);
}

/** Each kernel of masks.cu. */
export const selfTests = [
	...(["uint8", "float32"] as const).map((dtype) =>
		selfTest([`causal_mask_${dtype}`], (bench) => checkMask(bench, [33, 129, 96, 17], dtype))
	),
	selfTest(["alibi_bias"], (bench) => checkAlibi(bench, [5, 33, 65, 32])),
];
