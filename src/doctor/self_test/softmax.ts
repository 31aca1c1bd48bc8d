// Softmax and its logarithm over rows, and their gradients, against their formulas in float64.

import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** log softmax of a row. */
function logSoftmax(row: Float64Array): Float64Array {
	const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
	const logSum = Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0));
	return row.map((v) => v - top - logSum);
}

/** Compares softmax(scale · x), causal if there are `queries`, with its formula. */
export function checkSoftmax(
	bench: Bench,
	x: ArrayLike<number>,
	columns: number,
	dtype: FloatType,
	scale = 1,
	queries = 0,
): number {
	const rows = columns ? x.length / columns : 0, from = bench.given(dtype, x);
	const y = bench.wanted(dtype, x.length);
	bench.overRows(`softmax_${dtype}`, rows, y, from, rows, columns, queries, scale);
	const expected = new Float64Array(x.length);
	let largest = 0;
	for (let row = 0; row < rows; row++) {
		const visible = queries ? Math.max(0, columns - queries + row % queries + 1) : columns;
		const seen = from.numbers.subarray(row * columns, row * columns + Math.min(columns, visible));
		const logarithms = logSoftmax(seen.map((v) => scale * v));
		expected.set(logarithms.map(Math.exp), row * columns);
		// What is below the normal range is 0 in float32 anyway.
		for (const v of logarithms) if (v > -88) largest = Math.max(largest, -v);
	}
	const normal = expected.map((p) => p < 2 ** -126 ? 0 : p);
	const sizes = expected.map((p) => Math.max(p, 2 ** -100));
	const what = `softmax [${rows}, ${columns}] of ${dtype}`;
	return assertClose(y, normal, TOLERANCE.softmax(columns, largest), what, sizes);
}

/** Compares log softmax with its formula. */
export function checkLogSoftmax(
	bench: Bench,
	x: ArrayLike<number>,
	columns: number,
	dtype: FloatType,
): number {
	const rows = columns ? x.length / columns : 0, from = bench.given(dtype, x);
	const y = bench.wanted(dtype, x.length), expected = new Float64Array(x.length);
	bench.overRows(`log_softmax_${dtype}`, rows, y, from, rows, columns);
	for (let at = 0; at < x.length; at += columns) {
		expected.set(logSoftmax(from.numbers.subarray(at, at + columns)), at);
	}
	// The sum's relative error is an absolute one of its logarithm.
	const sizes = expected.map((v) => Math.max(1, Math.abs(v)));
	const what = `log_softmax [${rows}, ${columns}] of ${dtype}`;
	return assertClose(y, expected, TOLERANCE.sum(columns), what, sizes);
}

/** Compares the gradient of softmax, or of its logarithm, at the result `y` with its formula. */
export function checkSoftmaxBackward(
	bench: Bench,
	kind: "softmax" | "log_softmax",
	rows: number,
	columns: number,
	dtype: FloatType,
	scale = 1,
): number {
	const isPlain = kind === "softmax",
		results = Float64Array.from(bench.normals(rows * columns, 2));
	for (let at = 0; at < results.length; at += columns) {
		const logarithms = logSoftmax(results.subarray(at, at + columns));
		results.set(isPlain ? logarithms.map(Math.exp) : logarithms, at);
	}
	const y = bench.given(dtype, results), { numbers } = y;
	const dy = bench.given(dtype, bench.normals(results.length)),
		dx = bench.wanted(dtype, results.length);
	const scales = isPlain ? [scale] : [];
	bench.overRows(`${kind}_backward_${dtype}`, rows, dx, y, dy, rows, columns, ...scales);
	const expected = new Float64Array(results.length), sizes = expected.slice();
	for (let first = 0; first < results.length; first += columns) {
		let sum = 0, size = 0;
		for (let i = first; i < first + columns; i++) {
			const term = dy.numbers[i] * (isPlain ? numbers[i] : 1);
			sum += term;
			size += Math.abs(term);
		}
		for (let i = first; i < first + columns; i++) {
			const g = dy.numbers[i], p = isPlain ? numbers[i] : Math.exp(numbers[i]);
			expected[i] = isPlain ? scale * p * (g - sum) : g - p * sum;
			sizes[i] = isPlain ? scale * p * (Math.abs(g) + size) : Math.abs(g) + p * size;
		}
	}
	const largest = isPlain ? 0 : results.reduce((a, b) => Math.max(a, -b), 0);
	const what = `${kind}_backward [${rows}, ${columns}] of ${dtype}`;
	return assertClose(dx, expected, TOLERANCE.softmax(columns, largest), what, sizes);
}

/** Each kernel of softmax.cu. */
export const selfTests = FLOATS.flatMap((dtype) => [
	selfTest(
		[`softmax_${dtype}`],
		(bench) => checkSoftmax(bench, bench.normals(66 * 301, 5), 301, dtype, 0.5, 33),
	),
	selfTest(
		[`log_softmax_${dtype}`],
		(bench) => checkLogSoftmax(bench, bench.normals(66 * 301, 5), 301, dtype),
	),
	...(["softmax", "log_softmax"] as const).map((kind) =>
		selfTest(
			[`${kind}_backward_${dtype}`],
			(bench) => checkSoftmaxBackward(bench, kind, 66, 301, dtype, 0.5),
		)
	),
]);
