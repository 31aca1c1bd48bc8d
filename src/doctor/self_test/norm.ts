// Norms of rows against x / √(mean(x²) + ε) · g, or the same of x - mean(x), in float64.

import {
	assertAllSame,
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** Which norm, what type its result has, and what else it takes. */
export interface NormKind {
	norm: "rms" | "layer";
	dtype: FloatType;
	/** Whether x is added to a branch first. */
	branch?: boolean;
	bias?: boolean;
}

/** Launches a norm of rows as long as the gains. */
export function normalize(
	bench: Bench,
	x: Float32Array,
	gain: Float32Array,
	epsilon: number,
	{ norm, dtype }: NormKind,
	{ branch, bias }: { branch?: Float32Array | undefined; bias?: Float32Array | undefined } = {},
) {
	const columns = gain.length, rows = x.length / columns;
	const y = bench.wanted(dtype, x.length), sums = branch && bench.wanted("float32", x.length);
	const means = norm === "layer" ? bench.wanted("float32", rows) : undefined;
	const scales = bench.wanted("float32", rows), outputs = [y, sums, means, scales];
	const inputs = [x, branch, gain, bias, rows, columns, epsilon];
	bench.overRows(`${norm}_norm_${dtype}`, rows, ...outputs, ...inputs);
	return { y, sums, means, scales };
}

/** Compares the norm of random rows with its formula. */
export function checkNorm(bench: Bench, rows: number, columns: number, kind: NormKind): number {
	const { norm, dtype } = kind, x = bench.normals(rows * columns, 3), gain = bench.normals(columns);
	const branch = kind.branch ? bench.normals(x.length) : undefined;
	const bias = kind.bias ? bench.normals(columns) : undefined;
	const sum = branch ? x.map((value, i) => value + branch[i]) : x; // rounded, as it is kept
	const epsilon = Math.fround(0.5); // large enough to see that it is there
	const means = new Float64Array(rows), scales = means.slice();
	const expected = new Float64Array(x.length), sizes = expected.slice();
	for (let r = 0; r < rows; r++) {
		const row = Float64Array.from(sum.subarray(r * columns, (r + 1) * columns));
		const mean = norm === "layer" ? row.reduce((a, b) => a + b, 0) / columns : 0;
		const squares = row.reduce((total, value) => total + (value - mean) ** 2, 0);
		const size = row.reduce((total, value) => total + Math.abs(value), 0) / columns;
		means[r] = mean;
		scales[r] = 1 / Math.sqrt(squares / columns + epsilon);
		for (let c = 0; c < columns; c++) {
			const at = r * columns + c, factor = scales[r] * gain[c], shift = bias?.[c] ?? 0;
			expected[at] = (row[c] - mean) * factor + shift;
			// What is taken away and added counts: the mean errs by roundings of the largest values.
			const centered = norm === "layer" ? Math.abs(row[c]) + size : Math.abs(row[c]);
			sizes[at] = centered * Math.abs(factor) + Math.abs(shift);
		}
	}
	const result = normalize(bench, x, gain, epsilon, kind, { branch, bias });
	const tolerance = TOLERANCE.sum(columns);
	const extra = `${branch ? " of a sum" : ""}${bias ? " with bias" : ""}`;
	const what = `${norm}_norm [${rows}, ${columns}] as ${dtype}${extra}`;
	if (result.sums) assertAllSame(result.sums, sum, `${what}: sums`);
	// The variance errs with the mean, by the size of what the mean was taken from.
	const ofScales = norm === "rms" ? tolerance : 4 * tolerance;
	assertClose(result.scales, scales, ofScales, `${what}: scales`);
	if (result.means) {
		const of = means.slice().fill(4 + Math.max(...expected.map(Math.abs), 0));
		assertClose(result.means, means, tolerance, `${what}: means`, of);
	}
	return assertClose(result.y, expected, tolerance, what, sizes);
}

/** Every norm with every result, alone and of a sum. */
export const KINDS: NormKind[] = FLOATS.flatMap((dtype) => [
	{ norm: "rms", dtype },
	{ norm: "rms", dtype, branch: true },
	{ norm: "layer", dtype },
	{ norm: "layer", dtype, bias: true },
	{ norm: "layer", dtype, branch: true, bias: true },
]);

/** Each kernel of norm.cu. */
export const selfTests = (["rms", "layer"] as const).flatMap((norm) =>
	FLOATS.map((dtype) =>
		selfTest(
			[`${norm}_norm_${dtype}`],
			(bench) =>
				KINDS.filter((kind) => kind.norm === norm && kind.dtype === dtype)
					.map((kind) => checkNorm(bench, 129, 577, kind)),
		)
	)
);
