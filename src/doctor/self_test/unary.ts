// Functions of one tensor, and their gradients, against Math in float64: unary.cu, and the functions of one
// tensor in activation.cu.

import { erf } from "./functions.ts";
import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** A function in float64. */
export interface PlainFunction {
	/** y = f(x) */
	value: (x: number) => number;
	/** f'(x), given x or y as the kernel is; none where there is no kernel for it. */
	slope?: (saved: number) => number;
	/** What errors of y are relative to, where not to y itself. */
	size?: (x: number) => number;
	/** The same of f'. */
	slopeSize?: (saved: number) => number;
	/** Of positive numbers only. */
	positive?: boolean;
}

/** The logistic function. */
export const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const asArgument = (x: number) => 1 + Math.abs(x);
const density = (x: number) => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
const share = (x: number) => (1 + erf(x / Math.SQRT2)) / 2;
const argument = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
const change = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x ** 2);
const evenRound = (x: number) =>
	x % 1 === 0.5 || x % 1 === -0.5 ? 2 * Math.round(x / 2) : Math.round(x);

/** The activations in activation.cu. */
export const ACTIVATIONS: Record<string, Required<Omit<PlainFunction, "positive">>> = {
	relu: {
		value: (x) => x < 0 ? 0 : x,
		slope: (x) => x <= 0 ? 0 : 1,
		size: Math.abs,
		slopeSize: () => 1,
	},
	silu: {
		value: (x) => x * sigmoid(x),
		slope: (x) => sigmoid(x) * (1 + x * sigmoid(-x)),
		size: (x) => Math.abs(x * sigmoid(x)) * asArgument(x),
		slopeSize: asArgument,
	},
	gelu: {
		value: (x) => x * share(x),
		slope: (x) => share(x) + x * density(x),
		size: Math.abs,
		slopeSize: asArgument,
	},
	gelu_tanh: {
		value: (x) => x * sigmoid(argument(x)),
		slope: (x) =>
			sigmoid(argument(x)) + x * sigmoid(argument(x)) * sigmoid(-argument(x)) * change(x),
		size: Math.abs,
		slopeSize: asArgument,
	},
	softplus: {
		value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
		slope: sigmoid,
		size: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
		slopeSize: sigmoid,
	},
};

/** Every function of one tensor, by the name of its kernels. */
export const FUNCTIONS: Record<string, PlainFunction> = {
	...ACTIVATIONS,
	neg: { value: (x) => -x },
	abs: { value: Math.abs, slope: Math.sign },
	square: { value: (x) => x * x, slope: (x) => 2 * x },
	log: { value: Math.log, slope: (x) => 1 / x, positive: true },
	log1p: { value: Math.log1p, slope: (x) => 1 / (1 + x), positive: true },
	erf: {
		value: erf,
		slope: (x) => 2 / Math.sqrt(Math.PI) * Math.exp(-x * x),
		slopeSize: (x) => 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * (1 + x * x),
	},
	exp: { value: Math.exp, slope: (y) => y },
	expm1: { value: Math.expm1, slope: (y) => 1 + y, slopeSize: asArgument },
	sqrt: { value: Math.sqrt, slope: (y) => 0.5 / y, positive: true },
	rsqrt: { value: (x) => 1 / Math.sqrt(x), slope: (y) => -0.5 * y ** 3, positive: true },
	reciprocal: { value: (x) => 1 / x, slope: (y) => -(y ** 2), positive: true },
	tanh: { value: Math.tanh, slope: (y) => 1 - y * y, slopeSize: (y) => 1 + y * y },
	sigmoid: {
		value: sigmoid,
		slope: (y) => y * (1 - y),
		slopeSize: (y) => Math.abs(y) * (1 + Math.abs(y)),
	},
	sin: { value: Math.sin, slope: Math.cos, size: () => 1, slopeSize: () => 1 },
	cos: { value: Math.cos, slope: (x) => -Math.sin(x), size: () => 1, slopeSize: () => 1 },
	sign: { value: Math.sign },
	floor: { value: Math.floor },
	round: { value: evenRound },
};

// The functions are within four places, eight roundings; some arithmetic around them.
const tolerance = TOLERANCE.elementwise(16);

/** Compares y = f(x) with the function in float64. */
export function checkValue(
	bench: Bench,
	name: string,
	dtype: FloatType,
	data: ArrayLike<number>,
): number {
	const { value, size } = FUNCTIONS[name], count = data.length;
	const x = bench.given(dtype, data), y = bench.wanted(dtype, count);
	bench.overElements(`unary_${name}_${dtype}`, count, y, x, count);
	const sizes = size && x.numbers.map(size);
	return assertClose(y, x.numbers.map(value), tolerance, `${name} of ${dtype}`, sizes);
}

/** Compares dx = g · f' with the derivative in float64. */
export function checkSlope(
	bench: Bench,
	name: string,
	dtype: FloatType,
	gradients: ArrayLike<number>,
	data: ArrayLike<number>,
): number {
	const { slope, slopeSize } = FUNCTIONS[name], count = data.length;
	if (!slope) return 0;
	const g = bench.given(dtype, gradients), saved = bench.given(dtype, data);
	const dx = bench.wanted(dtype, count);
	bench.overElements(`unary_${name}_backward_${dtype}`, count, dx, g, saved, count);
	const of = (f: (saved: number) => number) =>
		saved.numbers.map((saved, i) => g.numbers[i] * f(saved));
	const sizes = of(slopeSize ?? slope).map(Math.abs);
	return assertClose(dx, of(slope), tolerance, `gradient of ${name}, ${dtype}`, sizes);
}

/** Inputs that suit a function. */
export function inputsOf(bench: Bench, name: string, count: number): Float32Array {
	const x = bench.normals(count, 2);
	return FUNCTIONS[name].positive ? x.map((value) => Math.abs(value) + 2 ** -10) : x;
}

/** Compares a clamp and its gradient with the comparisons that it is. */
export function checkClamp(bench: Bench, dtype: FloatType, data: ArrayLike<number>): number {
	const [low, high] = [-0.75, 1.25], count = data.length, x = bench.given(dtype, data);
	const y = bench.wanted(dtype, count), dx = bench.wanted(dtype, count);
	bench.overElements(`unary_clamp_${dtype}`, count, y, x, low, high, count);
	bench.overElements(`unary_clamp_backward_${dtype}`, count, dx, x, x, low, high, count);
	const clamped = x.numbers.map((x) => x < low ? low : x > high ? high : x);
	const passed = x.numbers.map((x) => x >= low && x <= high ? x : 0);
	assertClose(y, clamped, 0, `clamp of ${dtype}`);
	return assertClose(dx, passed, 0, `gradient of clamp, ${dtype}`);
}

/** Each kernel of unary.cu, and the functions of one tensor in activation.cu. */
export const selfTests = FLOATS.flatMap((dtype) => [
	...Object.entries(FUNCTIONS).flatMap(([name, { slope }]) => {
		const value = selfTest(
			[`unary_${name}_${dtype}`],
			(bench) => checkValue(bench, name, dtype, inputsOf(bench, name, 5003)),
		);
		const gradient = selfTest(
			[`unary_${name}_backward_${dtype}`],
			(bench) => checkSlope(bench, name, dtype, bench.normals(5003), inputsOf(bench, name, 5003)),
		);
		return slope ? [value, gradient] : [value];
	}),
	selfTest(
		[`unary_clamp_${dtype}`, `unary_clamp_backward_${dtype}`],
		(bench) => checkClamp(bench, dtype, bench.normals(5003)),
	),
]);
