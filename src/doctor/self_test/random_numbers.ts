// Random numbers against what the plain Philox's words make of in float64.

import { BYTES_PER_ELEMENT } from "../../tensor/dtype.ts";
import { type Draw, drawBlock, drawWords, philox } from "../../tensor/philox.ts";
import { bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import {
	assertAllSame,
	assertClose,
	type Bench,
	type DType,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** A draw with bits in all four halves. */
export function anyDraw({ random }: Bench): Draw {
	const any = () => random.below(2 ** 21) * 2 ** 32 + random.bits();
	return { seed: any(), offset: any() };
}

/** What a kernel makes of `count` draws. */
function drawn<D extends DType>(
	bench: Bench,
	name: string,
	dtype: D,
	count: number,
	{ seed, offset }: Draw,
	...args: number[]
) {
	const y = bench.wanted(dtype, count);
	bench.overRows(name, Math.ceil(count / 128), y, count, seed, offset, ...args);
	return y;
}

/** Compares uniform numbers from `low` on with the upper 24 bits of each word. */
export function checkUniform(
	bench: Bench,
	draw: Draw,
	count: number,
	dtype: FloatType = "float32",
	[low, high]: readonly [number, number] = [0, 1],
): number {
	const step = Math.fround((high - low) / 2 ** 24), start = Math.fround(low);
	const most = numbersToBfloat16([high])[0] - 1; // the neighbour below a positive number
	const largest = dtype === "float32"
		? high - Math.abs(high) * 2 ** -24
		: bfloat16ToNumbers([most])[0];
	const y = drawn(bench, `uniform_${dtype}`, dtype, count, draw, start, step, largest);
	const beyond = y.read().find((value) => value >= high);
	if (beyond !== undefined) throw new Error(`uniform ${dtype}: ${beyond} is not below ${high}`);
	const expected = Float64Array.from(
		drawWords(draw, count),
		(word) => Math.min(start + (word >>> 8) * step, largest),
	);
	const sizes = new Float64Array(count).fill(Math.abs(low) + Math.abs(high));
	const what = `uniform ${dtype}, ${count} from ${low} to ${high}`;
	return assertClose(y, expected, TOLERANCE.elementwise(2), what, sizes);
}

/** (word + 1/2) / 2³² as the kernels round it. */
const openUnit = (word: number) => Math.fround(Math.fround(word) * 2 ** -32 + 2 ** -33);

/** Compares normal numbers with Box and Muller's transform of words in float64. */
export function checkNormal(
	bench: Bench,
	draw: Draw,
	count: number,
	dtype: FloatType = "float32",
	mean = 0.25,
	deviation = 3,
): number {
	const y = drawn(bench, `normal_${dtype}`, dtype, count, draw, mean, deviation);
	const words = drawWords(draw, Math.ceil(count / 128) * 128);
	const expected = new Float64Array(count), sizes = expected.slice();
	for (let i = 0; i < count; i++) {
		// Of each 64 elements in a row, the first 32 words are radii and the others angles.
		const second = i % 64 >= 32, at = second ? i - 32 : i;
		const angle = words[at + 32], quadrant = Math.round(angle / 2 ** 30);
		const turns = quadrant / 4 + Math.fround(angle - quadrant * 2 ** 30) / 2 ** 32;
		const radius = Math.sqrt(-2 * Math.log(openUnit(words[at])));
		const z = radius * (second ? Math.sin : Math.cos)(2 * Math.PI * turns);
		expected[i] = mean + deviation * z;
		// A sine that is nearly 0 is as right as in the quadrant's own measure, where π is not rounded.
		sizes[i] = Math.abs(mean) + deviation * Math.abs(z) + deviation * radius * 2 ** -24;
	}
	// The logarithm's and the sine's two places, a root and three more roundings.
	const what = `normal ${dtype}, ${count} of ${mean} ± ${deviation}`;
	return assertClose(y, expected, TOLERANCE.elementwise(12), what, sizes);
}

/** What lies above z ≥ 0 of the standard normal distribution: ∫ e^(-t²/2) dt / √(2π), by Simpson's rule. */
function tail(z: number): number {
	const STEPS = 400, end = 12, h = end / STEPS;
	// e^(-z²/2) is taken out, so that what is summed is of the same size whatever z is.
	const f = (t: number) => Math.exp(-t * t / 2 - z * t);
	let sum = f(0) + f(end);
	for (let i = 1; i < STEPS; i++) sum += f(i * h) * (i % 2 ? 4 : 2);
	return Math.exp(-z * z / 2) * sum * h / 3 / Math.sqrt(2 * Math.PI);
}

/** The z ≥ 0 that q ≤ 1/2 lies above, by Newton's method on ln(tail). */
function tailInverse(q: number): number {
	let z = Math.sqrt(Math.max(0, -1.6 * Math.log(2 * q)));
	for (let i = 0; i < 60; i++) {
		const t = tail(z), slope = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI) / t;
		const change = Math.log(t / q) / slope;
		z = Math.max(0, z + change);
		if (Math.abs(change) < 1e-12) break;
	}
	return z;
}

/** Compares truncated normal numbers with the inverse of the distribution function in float64. */
export function checkTruncatedNormal(
	bench: Bench,
	draw: Draw,
	count: number,
	dtype: FloatType = "float32",
	[a, b]: readonly [number, number] = [-2, 2],
): number {
	const mass = (z: number) => z < 0 ? 1 - tail(-z) : tail(z);
	const below = Math.fround(mass(-a)), above = Math.fround(mass(b));
	const between = Math.abs(Math.fround(a > 0 ? tail(a) - tail(b) : mass(-b) - mass(-a)));
	const mean = 0.5, deviation = 2;
	const smallest = mean + deviation * a, largest = mean + deviation * b;
	const ends = [below, above, between, smallest, largest];
	const kernel = `truncated_normal_${dtype}`;
	const y = drawn(bench, kernel, dtype, count, draw, mean, deviation, ...ends);
	const expected = Float64Array.from(drawWords(draw, count), (word) => {
		const lower = Math.fround(openUnit(word) * between + below);
		const upper = Math.fround(openUnit(~word >>> 0) * between + above);
		const z = tailInverse(Math.min(lower, upper, 0.5));
		const value = mean + deviation * (lower < upper ? -z : z);
		return Math.min(Math.max(value, smallest), largest);
	});
	// What is above or below is rounded, which near the middle moves z by √(2π) of that, and a polynomial is
	// within 10⁻⁶.
	const sizes = expected.map((value) => Math.abs(value - mean) + mean + deviation);
	const what = `truncated normal ${dtype}, ${count} from ${a} to ${b}`;
	return assertClose(y, expected, 1e-6 + TOLERANCE.elementwise(4), what, sizes);
}

/** Compares masks with words. */
export function checkBernoulli(bench: Bench, draw: Draw, count: number, threshold: number): void {
	const y = drawn(bench, "bernoulli", "uint8", count, draw, threshold);
	const expected = drawWords(draw, count).map((word) => word < threshold ? 1 : 0);
	assertAllSame(y, expected, `bernoulli, ${count} below ${threshold}`);
}

/** Compares whole numbers with products of 96 bits. */
export function checkIntegers(
	bench: Bench,
	draw: Draw,
	count: number,
	[low, range]: readonly [number, number],
): void {
	const y = drawn(bench, "random_integers", "int32", count, draw, low, range);
	const expected = Int32Array.from({ length: count }, (_, i) => {
		const words = drawBlock(draw, Math.floor(i / 64) * 32 + i % 32);
		const at = i % 64 < 32 ? 0 : 2, word = BigInt(words[at]) << 32n | BigInt(words[at + 1]);
		return low + Number(word * BigInt(range) >> 64n);
	});
	assertAllSame(y, expected, `integers, ${count} of ${range} from ${low}`);
}

const SCALE = 1.25;

/** Compares what is left with a product of x, rounded. */
export function checkDropout(bench: Bench, count: number, dtype: FloatType = "float32"): void {
	const draw = anyDraw(bench), { seed, offset } = draw, threshold = bench.random.bits();
	const x = bench.given(dtype, bench.normals(count)), y = bench.wanted(dtype, count);
	const rows = Math.ceil(count / 128);
	bench.overRows(`dropout_${dtype}`, rows, y, x, count, seed, offset, threshold, SCALE);
	const words = drawWords(draw, count);
	const expected = x.numbers.map((x, i) => words[i] >= threshold ? Math.fround(x * SCALE) : 0);
	assertAllSame(y, expected, `dropout ${dtype}, ${count}`);
}

/** Compares the rows that dropout leaves, taken in two portions, with what Philox says of each element. */
export function checkDropoutRows(
	bench: Bench,
	[rows, columns, stride]: readonly number[],
	dtype: FloatType,
): void {
	const { seed, offset } = anyDraw(bench), threshold = bench.random.bits();
	const x = bench.given(dtype, bench.normals(rows * stride));
	const bytes = BYTES_PER_ELEMENT[dtype], half = Math.floor(rows / 2);
	for (const [first, some] of [[half, rows - half], [0, half]]) {
		const sizes = [x.pointer + first * stride * bytes, some, columns, stride, first + 1000];
		bench.overRows(`dropout_rows_${dtype}`, some, ...sizes, seed, offset, threshold, SCALE);
	}
	const halves = (value: number) => [value % 2 ** 32, Math.floor(value / 2 ** 32)];
	const expected = x.numbers.map((value, at) => {
		const row = Math.floor(at / stride), column = at % stride;
		if (column >= columns) return value;
		const block = Math.floor(column / 128) * 32 + column % 32;
		const words = philox([block, row + 1000, ...halves(offset)], halves(seed));
		return words[Math.floor(column % 128 / 32)] >= threshold ? Math.fround(value * SCALE) : 0;
	});
	const what = `dropout of ${rows} rows of ${columns}, ${dtype}`;
	assertAllSame(x, expected, what);
}

const COUNT = 128 * 37 + 77;

/** Each kernel of random.cu. */
export const selfTests = [
	...FLOATS.flatMap((dtype) => [
		selfTest(
			[`uniform_${dtype}`],
			(bench) => checkUniform(bench, anyDraw(bench), COUNT, dtype, [-2, 3]),
		),
		selfTest([`normal_${dtype}`], (bench) => checkNormal(bench, anyDraw(bench), COUNT, dtype)),
		selfTest(
			[`truncated_normal_${dtype}`],
			(bench) => checkTruncatedNormal(bench, anyDraw(bench), 1000, dtype),
		),
		selfTest([`dropout_${dtype}`], (bench) => checkDropout(bench, COUNT, dtype)),
		selfTest([`dropout_rows_${dtype}`], (bench) => checkDropoutRows(bench, [7, 301, 310], dtype)),
	]),
	selfTest(
		["bernoulli"],
		(bench) => checkBernoulli(bench, anyDraw(bench), COUNT, bench.random.bits()),
	),
	selfTest(["random_integers"], (bench) => {
		const range = 1 + bench.random.below(2 ** 32 - 1);
		return checkIntegers(bench, anyDraw(bench), COUNT, [-7, range]);
	}),
];
