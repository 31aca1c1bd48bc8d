// Causal softmax and the sums over queries of its probabilities, against their formulas in float64.

import {
	assertAllSame,
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";
import { sigmoid } from "./unary.ts";

/**
 * One launch for the heads that share a key-value head, or for several of these: `stride` ≥ `keys` elements lie
 * between rows.
 */
export interface Scores {
	/** Key-value heads. @default {1} */
	batch?: number;
	heads: number;
	queries: number;
	first: number;
	keys: number;
	stride: number;
}

const rowsOf = ({ batch = 1, heads, queries }: Scores) => batch * heads * queries;
/** Position of a row's query. */
const positionOf = ({ heads, queries, first }: Scores, row: number) =>
	first + Math.floor(row / heads) % queries;

/** Launches the softmax of scores [batch, queries, heads, stride]. */
export function softmax(
	bench: Bench,
	scores: Float32Array,
	shape: Scores,
	dtype: FloatType,
	scale: number,
) {
	const { heads, queries, first, keys, stride } = shape, rows = rowsOf(shape);
	const y = bench.wanted(dtype, scores.length), sizes = [rows, heads, queries, first, keys, stride];
	bench.overRows(`attention_softmax_${dtype}`, rows, y, scores, null, null, ...sizes, scale, 0, 1);
	return y;
}

/** Compares the softmax of random scores with its formula. */
export function checkSoftmax(bench: Bench, shape: Scores, dtype: FloatType): number {
	const { keys, stride } = shape, scores = bench.normals(rowsOf(shape) * stride, 20), scale = 0.125;
	const expected = new Float64Array(scores.length).fill(NaN); // what lies beyond `keys` stays poisoned
	let largest = 0;
	logitsOf(scores, shape, VISIBILITIES[0], scale, null).forEach(({ logits }, row) => {
		const top = Math.max(...logits), powers = logits.map((z) => Math.exp(z - top));
		const sum = total(powers);
		expected.fill(0, row * stride, row * stride + keys);
		expected.set(powers.map((power) => power / sum), row * stride);
		largest = Math.max(largest, top - Math.min(...logits));
	});
	const y = softmax(bench, scores, shape, dtype, scale);
	const what = `softmax ${JSON.stringify(shape)} as ${dtype}`;
	return assertClose(y, expected, TOLERANCE.softmax(keys, largest), what);
}

/** What a query sees beside the keys before it, for the kernels in their general form. */
export interface Visibility {
	/** How many keys; 0 for all. */
	window: number;
	causal: boolean;
	/** Whether logits fall with the distance. */
	sloped: boolean;
}

/** The logits of each row's visible keys, and where they begin, in float64. */
function logitsOf(
	scores: Float32Array,
	shape: Scores,
	{ window, causal }: Visibility,
	scale: number,
	slopes: Float32Array | null,
): { begin: number; logits: number[] }[] {
	const { heads, keys, stride } = shape;
	return Array.from({ length: rowsOf(shape) }, (_, row) => {
		const position = positionOf(shape, row);
		const end = causal ? Math.min(keys, position + 1) : keys;
		const begin = window ? Math.max(0, position + 1 - window) : 0;
		const logits = [...scores.subarray(row * stride + begin, row * stride + end)]
			.map((score, j) =>
				scale * score - (slopes?.[row % heads] ?? 0) * Math.abs(begin + j - position)
			);
		return { begin, logits };
	});
}

/** The kinds of weights, and the numbers that their kernels are given. */
export const KINDS = {
	softmax: [],
	clipped: [1.375, -0.125],
	sigmoid: [-1.5],
	softpick: [2 ** -10],
} as const;
type Kind = keyof typeof KINDS;

/** A row in float64, and what float32's errors are relative to. */
interface WeighedRow {
	weights: number[];
	weightSizes: number[];
	/** Of the logits, given those of the weights. */
	gradients: number[];
	gradientSizes: number[];
	/** The logarithm of the divisor, and how many times the divisor what it is a sum of is, without signs. */
	logSum: number;
	cancelled: number;
	/** Largest argument of an exponential. */
	largest: number;
	/** Whether a logit is so near where gradients jump that float32 may see it on the other side. */
	ambiguous: boolean;
}

const total = (values: number[]) => values.reduce((sum, value) => sum + value, 0);
/** Weights that are exact to their own size, as are gradients w · (dw - mean). */
const plainRow = (weights: number[], gradients: number[]) => {
	const gradientSizes = gradients.map(Math.abs);
	const exact = { cancelled: 1, ambiguous: false };
	return { weights, weightSizes: weights, gradients, gradientSizes, ...exact };
};

function weigh(kind: Kind, logits: number[], dw: number[], delta: number): WeighedRow {
	if (kind === "sigmoid") {
		const inner = logits.map((z) => z + KINDS.sigmoid[0]);
		const weights = inner.map(sigmoid);
		const gradients = weights.map((w, j) => w * (1 - w) * dw[j]);
		const largest = Math.max(...inner.map(Math.abs));
		return { ...plainRow(weights, gradients), logSum: NaN, largest };
	}
	const top = Math.max(...logits, ...kind === "softpick" ? [0] : []);
	const powers = logits.map((z) => Math.exp(z - top)), one = Math.exp(-top);
	const epsilon = KINDS.softpick[0] * one;
	const sum = kind === "softpick"
		? total(powers.map((power) => Math.abs(power - one))) + epsilon
		: total(powers);
	const p = powers.map((power) => power / sum), logSum = top + Math.log(sum);
	const largest = Math.max(...logits.map((z) => top - z), top);
	if (kind === "softmax") {
		return { ...plainRow(p, p.map((p, j) => p * (dw[j] - delta))), logSum, largest };
	}
	if (kind === "softpick") {
		const gradients = logits.map((z, j) => p[j] * (z > 0 ? dw[j] - delta : delta));
		return {
			weights: p.map((p) => Math.max(0, p - one / sum)),
			weightSizes: p.map((p) => p + one / sum),
			gradients,
			gradientSizes: gradients.map(Math.abs),
			logSum,
			cancelled: total(powers.map((power) => (power + one) / sum)),
			largest,
			ambiguous: logits.some((z) => Math.abs(z) < 1e-5),
		};
	}
	const [stretch, low] = KINDS.clipped, stretched = p.map((p) => stretch * p + low);
	const dp = stretched.map((w, j) => w >= 0 && w <= 1 ? stretch * dw[j] : 0);
	const products = p.map((p, j) => p * dp[j]), mean = total(products);
	return {
		weights: stretched.map((w) => Math.min(1, Math.max(0, w))),
		weightSizes: p.map((p) => stretch * p - low),
		gradients: p.map((p, j) => p * (dp[j] - mean)),
		gradientSizes: p.map((p, j) => p * (Math.abs(dp[j]) + total(products.map(Math.abs)))),
		logSum,
		cancelled: 1,
		largest,
		ambiguous: stretched.some((w) => Math.min(Math.abs(w), Math.abs(w - 1)) < 1e-5),
	};
}

/** Compares weights of random scores, and the gradients, with their formulas. */
export function checkWeights(
	bench: Bench,
	shape: Scores,
	{ visibility, kind, dtype }: { visibility: Visibility; kind: Kind; dtype: FloatType },
): number[] {
	const { heads, queries, first, keys, stride } = shape, rows = rowsOf(shape);
	const scale = Math.fround(0.25), size = rows * stride;
	const upstream = bench.normals(size), deltas = bench.normals(rows);
	const slopes = visibility.sloped
		? Float32Array.from({ length: heads }, (_, head) => 2 ** -(head + 1))
		: null;
	const inFloat64 = (scores: Float32Array) =>
		logitsOf(scores, shape, visibility, scale, slopes).map(({ begin, logits }, row) => {
			const at = row * stride + begin, dw = [...upstream.subarray(at, at + logits.length)];
			return { at, ...weigh(kind, logits, dw, deltas[row]) };
		});
	const scores = bench.normals(size, 4);
	let expectedRows = inFloat64(scores);
	while (expectedRows.some(({ ambiguous }) => ambiguous)) {
		for (const [row, { ambiguous }] of expectedRows.entries()) {
			if (ambiguous) scores.set(bench.normals(stride, 4), row * stride);
		}
		expectedRows = inFloat64(scores);
	}

	const sums = bench.wanted("float32", rows), weights = bench.wanted(dtype, size);
	const { window, causal } = visibility, extents = [rows, heads, queries, first, keys, stride];
	const numbers = [...extents, scale, window, Number(causal), ...KINDS[kind]];
	const kernel = `attention_${kind}`;
	bench.overRows(`${kernel}_${dtype}`, rows, weights, scores, sums, slopes, ...numbers);

	const [expected, sizes, gradients, gradientSizes] = [0, 0, 0, 0]
		.map(() => new Float64Array(size).fill(NaN));
	for (const [row, of] of expectedRows.entries()) {
		for (const all of [expected, gradients]) all.fill(0, row * stride, row * stride + keys);
		expected.set(of.weights, of.at);
		sizes.set(of.weightSizes, of.at);
		gradients.set(of.gradients.map((x) => scale * x), of.at);
		gradientSizes.set(of.gradientSizes.map((x) => scale * x), of.at);
	}
	const logSums = Float64Array.from(expectedRows, ({ logSum }) => logSum);
	const largest = Math.max(...expectedRows.map(({ largest }) => largest));
	const tolerance = TOLERANCE.softmax(keys, largest + 8);
	const what = `attention ${kind} ${JSON.stringify({ ...shape, ...visibility })} as ${dtype}`;
	const errors = [assertClose(weights, expected, tolerance, what, sizes)];
	if (kind !== "sigmoid") {
		const terms = expectedRows.map(({ logSum, cancelled }) => cancelled + Math.abs(logSum));
		errors.push(assertClose(sums, logSums, tolerance, `${what}: sums`, terms));
	}

	const again = bench.wanted(dtype, size), dScores = bench.wanted(dtype, size);
	const rowNumbers = [Float32Array.from(logSums), deltas, slopes];
	const memory = [again, dScores, scores, upstream, ...rowNumbers];
	bench.overRows(`${kernel}_backward_${dtype}`, rows, ...memory, ...numbers);
	const loose = TOLERANCE.softmax(keys, largest + 32); // log Σ exp was rounded
	assertClose(again, expected, loose, `${what}: weights again`, sizes);
	errors.push(assertClose(dScores, gradients, loose, `${what}: gradients`, gradientSizes));
	return errors;
}

/** Compares what the backward pass begins with, of random contexts and gradients, with sums in float64. */
export function checkDeltas(
	bench: Bench,
	{ batch, tokens, heads, group, d }: Record<"batch" | "tokens" | "heads" | "group" | "d", number>,
	{ dtype, summed }: { dtype: FloatType; summed: boolean },
): number {
	const rows = batch * tokens * heads * group, size = rows * d;
	const given = [0, 1].map(() => bench.given(dtype, bench.normals(size)));
	const [gradient, context] = given.map(({ numbers }) => numbers);
	const sums = bench.normals(rows);
	const deltas = bench.wanted("float32", rows), values = bench.wanted(dtype, size);
	const more = [summed ? sums : null, batch, tokens, heads, group, d];
	bench.overRows(`attention_deltas_${dtype}`, rows, deltas, values, ...given, ...more);
	const expected = new Float64Array(rows), sizes = expected.slice(), moved = gradient.slice();
	for (let from = 0; from < rows; from++) { // [batch, tokens, heads, group]
		const inGroup = from % group, head = Math.floor(from / group) % heads;
		const token = Math.floor(from / group / heads) % tokens;
		const sequence = Math.floor(from / group / heads / tokens);
		const to = ((sequence * heads + head) * tokens + token) * group + inGroup;
		for (let j = 0; j < d; j++) {
			const product = gradient[from * d + j] * context[from * d + j];
			expected[to] += product;
			sizes[to] += Math.abs(product);
			moved[to * d + j] = gradient[from * d + j];
		}
		if (!summed) continue;
		expected[to] -= sums[to];
		sizes[to] += Math.abs(sums[to]);
	}
	const what = `attention deltas ${JSON.stringify({ batch, tokens, heads, group, d })} as ${dtype}`;
	assertAllSame(values, moved, `${what}: gradients moved`);
	return assertClose(deltas, expected, TOLERANCE.sum(d + 1), what, sizes);
}

/** All that visibility can be. */
export const VISIBILITIES: readonly Visibility[] = [
	{ window: 0, causal: true, sloped: false },
	{ window: 5, causal: true, sloped: true },
	{ window: 0, causal: false, sloped: true },
	{ window: 0, causal: false, sloped: false },
];

/** Compares the sums over queries of random probabilities with sums in float64. */
export function checkSums(
	bench: Bench,
	{ heads, queries, keys, stride }: Scores,
	dtype: FloatType,
): number {
	const from = bench.given(dtype, bench.normals(heads * queries * stride).map(Math.abs));
	const sumsStride = keys + 2, sizes = [heads, queries, keys, stride, sumsStride];
	const sums = bench.given("float32", bench.normals(heads * sumsStride).map(Math.abs));
	const kernel = `attention_column_sums_${dtype}`;
	bench.overRows(kernel, heads * Math.ceil(keys / 32), sums, from, ...sizes);
	const expected = sums.numbers.slice();
	for (let head = 0; head < heads; head++) {
		for (let query = 0; query < queries; query++) {
			for (let key = 0; key < keys; key++) {
				expected[head * sumsStride + key] += from.numbers[(query * heads + head) * stride + key];
			}
		}
	}
	const what = `sums of [${heads}, ${queries}, ${keys}] as ${dtype}`;
	return assertClose(sums, expected, TOLERANCE.sum(queries), what);
}

const SHAPES: Scores[] = [
	{ heads: 2, queries: 33, first: 0, keys: 33, stride: 36 },
	{ heads: 3, queries: 31, first: 100, keys: 131, stride: 131 },
	{ batch: 3, heads: 2, queries: 9, first: 4, keys: 13, stride: 13 },
];
const CONTEXTS = [
	{ batch: 2, tokens: 5, heads: 3, group: 2, d: 33 },
	{ batch: 1, tokens: 67, heads: 1, group: 1, d: 64 },
];
/** Slopes belong to the heads that share one key-value head. */
const fits = ({ batch = 1 }: Scores, { sloped }: Visibility) => batch === 1 || !sloped;

/** Each kernel of attention.cu. */
export const selfTests = FLOATS.flatMap((dtype) => [
	selfTest(
		[`attention_softmax_${dtype}`],
		(bench) => SHAPES.map((shape) => checkSoftmax(bench, shape, dtype)),
	),
	...(Object.keys(KINDS) as Kind[]).map((kind) => {
		const kernels = [`attention_${kind}_${dtype}`, `attention_${kind}_backward_${dtype}`];
		return selfTest(
			kernels,
			(bench) =>
				SHAPES.flatMap((shape) =>
					VISIBILITIES.filter((one) => fits(shape, one))
						.flatMap((visibility) => checkWeights(bench, shape, { visibility, kind, dtype }))
				),
		);
	}),
	selfTest(
		[`attention_deltas_${dtype}`],
		(bench) =>
			CONTEXTS.flatMap((shape) =>
				[true, false].map((summed) => checkDeltas(bench, shape, { dtype, summed }))
			),
	),
	selfTest(
		[`attention_column_sums_${dtype}`],
		(bench) => SHAPES.slice(0, 2).map((shape) => checkSums(bench, shape, dtype)),
	),
]);
