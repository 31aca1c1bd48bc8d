// Cross-entropy and its gradient against their formulas in float64.

import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** A target that has no loss. */
export const IGNORED = -100;

/** Random classes, some of them ignored. */
export function randomTargets({ random }: Bench, rows: number, columns: number): Int32Array {
	const target = () => random.uniform() < 0.2 ? IGNORED : random.below(columns);
	return Int32Array.from({ length: rows }, target);
}

/** Compares losses, their mean, and the gradient of the mean or of each, with their formulas. */
export function checkCrossEntropy(
	bench: Bench,
	x: ArrayLike<number>,
	targets: Int32Array,
	dtype: FloatType,
	smoothing: number,
): number[] {
	const rows = targets.length, columns = x.length / rows, upstream = bench.normals(rows);
	const from = bench.given(dtype, x), to = bench.given("int32", targets);
	const losses = bench.wanted("float32", rows), logSums = bench.wanted("float32", rows);
	const mean = bench.wanted("float32", 2), last = [IGNORED, smoothing];
	const sources = [losses, logSums, from, to, rows, columns];
	bench.overRows(`cross_entropy_${dtype}`, rows, ...sources, ...last);
	bench.device.kernel("cross_entropy_mean")
		.once(mean.pointer, losses.pointer, to.pointer, rows, IGNORED);
	const backward = (isMean: boolean) => {
		const dx = bench.wanted(dtype, x.length), share = isMean ? mean.pointer + 4 : 0;
		const sources = [dx, from, logSums, to, upstream, share, rows, columns, isMean];
		bench.overRows(`cross_entropy_backward_${dtype}`, rows, ...sources, ...last);
		return dx;
	};
	const each = backward(false), ofMean = backward(true);

	const count = targets.filter((target) => target !== IGNORED).length;
	const [lossOf, sizes, sums] = [0, 0, 0].map(() => new Float64Array(rows));
	const [dEach, dMean, dSizes, dMeanSizes] = [0, 0, 0, 0].map(() => new Float64Array(x.length));
	let largest = 0;
	targets.forEach((target, row) => {
		const logits = from.numbers.subarray(row * columns, (row + 1) * columns);
		const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
		sums[row] = top + Math.log(logits.reduce((sum, v) => sum + Math.exp(v - top), 0));
		if (target === IGNORED) return;
		const own = logits[target] ?? NaN;
		const spread = smoothing > 0 ? smoothing / columns : 0;
		const mean = (of: Float64Array) => spread > 0 ? spread * of.reduce((a, b) => a + b, 0) : 0;
		lossOf[row] = sums[row] - (1 - smoothing) * own - mean(logits);
		sizes[row] = 1 + Math.abs(top) + Math.abs(own) + mean(logits.map(Math.abs));
		logits.forEach((v, c) => {
			const share = (1 - smoothing) * (c === target ? 1 : 0) + spread;
			const p = Math.exp(v - sums[row]), at = row * columns + c;
			if (p > 0) largest = Math.max(largest, Math.abs(sums[row]) + Math.abs(v));
			dEach[at] = (p - share) * (own === own ? upstream[row] : NaN);
			dMean[at] = (p - share) * (own === own ? upstream[0] : NaN) / count;
			dSizes[at] = (p + share) * Math.abs(upstream[row]);
			dMeanSizes[at] = (p + share) * Math.abs(upstream[0]) / count;
		});
	});
	const what = `cross_entropy [${rows}, ${columns}] of ${dtype}`;
	const tolerance = TOLERANCE.sum(columns), ofGradient = TOLERANCE.softmax(columns, largest);
	const ofMeans = tolerance + TOLERANCE.sum(rows);
	const [total, totalSize] = [lossOf, sizes].map((
		of,
	) => [of.reduce((a, b) => a + b, 0) / count, 1 / count]);
	const sumSizes = sums.map((v) => 1 + Math.abs(v));
	return [
		assertClose(losses, lossOf, tolerance, what, sizes),
		assertClose(logSums, sums, tolerance, `${what}: log Σ exp`, sumSizes),
		assertClose(mean, total, ofMeans, `${what}: mean`, totalSize),
		assertClose(each, dEach, ofGradient, `${what}: gradient`, dSizes),
		assertClose(ofMean, dMean, ofGradient, `${what}: gradient of the mean`, dMeanSizes),
	];
}

/** Each kernel of cross_entropy.cu. */
export const selfTests = FLOATS.map((dtype) => {
	const kernels = [
		"cross_entropy_mean",
		`cross_entropy_${dtype}`,
		`cross_entropy_backward_${dtype}`,
	];
	return selfTest(kernels, (bench) => {
		const x = bench.normals(17 * 5003, 3);
		return checkCrossEntropy(bench, x, randomTargets(bench, 17, 5003), dtype, 0.125);
	});
});
