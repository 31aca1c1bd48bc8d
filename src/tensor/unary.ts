// Functions of one tensor, element by element. Each is float32 or bfloat16, computed in float32 and rounded
// once, within a few units in the last place; its derivative is one kernel, given x or f(x).

import { defineOp } from "./autograd/define_op.ts";
import type { FloatType } from "./dtype.ts";
import { checkFloat, map, mapBackward, mapTo } from "./elementwise.ts";
import type { Tensor } from "./tensor.ts";

/** A function of a tensor of floats, element by element, with a gradient. */
export type Unary = <D extends FloatType, R extends number>(x: Tensor<D, R>) => Tensor<D, R>;

/**
 * The operation of the kernels `unary_name` and `unary_name_backward`.
 *
 * @param saved what the latter takes beside the gradient
 */
export function unaryOp(name: string, saved: "x" | "y"): Unary {
	const op = defineOp(name, (x: Tensor) => {
		checkFloat(name, x);
		const y = map(`unary_${name}`, x) as Tensor;
		return {
			result: y,
			inputs: [x],
			saved: [saved === "x" ? x : y],
			backward: (g, [from]) => [mapBackward(`unary_${name}`, g, from)],
		};
	});
	return op as Unary;
}

const negOp = defineOp("neg", (x: Tensor) => {
	checkFloat("neg", x);
	const result = map("unary_neg", x) as Tensor;
	return { result, inputs: [x], backward: (g) => [map("unary_neg", g)] };
});

/** -x */
export const neg: Unary = negOp as Unary;
/** |x|, with gradient 0 at 0. */
export const abs: Unary = unaryOp("abs", "x");
/** x² */
export const square: Unary = unaryOp("square", "x");
/** ln x: -∞ at 0, NaN below. */
export const log: Unary = unaryOp("log", "x");
/** ln(1 + x), near 0 as well. */
export const log1p: Unary = unaryOp("log1p", "x");
/** erf x = 2/√π ∫₀ˣ e^(-t²) dt */
export const erf: Unary = unaryOp("erf", "x");
/** eˣ */
export const exp: Unary = unaryOp("exp", "y");
/** eˣ - 1, near 0 as well. */
export const expm1: Unary = unaryOp("expm1", "y");
/** √x */
export const sqrt: Unary = unaryOp("sqrt", "y");
/** 1 / √x */
export const rsqrt: Unary = unaryOp("rsqrt", "y");
/** 1 / x */
export const reciprocal: Unary = unaryOp("reciprocal", "y");
/** sin x, for x of any size */
export const sin: Unary = unaryOp("sin", "x");
/** cos x, for x of any size */
export const cos: Unary = unaryOp("cos", "x");
/** tanh x */
export const tanh: Unary = unaryOp("tanh", "y");
/** 1 / (1 + e⁻ˣ) */
export const sigmoid: Unary = unaryOp("sigmoid", "y");

/** A function that is flat almost everywhere: no gradient flows through it. */
function flat(name: string): Unary {
	const op = defineOp(name, (x: Tensor) => {
		checkFloat(name, x);
		return { result: map(`unary_${name}`, x) as Tensor, inputs: [], backward: () => [] };
	});
	return op as Unary;
}

/** -1, 0 or 1, by the sign of x; 0 for NaN. No gradient flows through it. */
export const sign: Unary = flat("sign");
/** The largest whole number that is not above x. No gradient flows through it. */
export const floor: Unary = flat("floor");
/** The nearest whole number, of two the even one. No gradient flows through it. */
export const round: Unary = flat("round");

/** The limits of {@linkcode clamp}. */
export interface ClampOptions {
	/** Smaller values become this. @default {-Infinity} */
	min?: number;
	/** Larger values become this. @default {Infinity} */
	max?: number;
}

const clampOp = defineOp("clamp", (x: Tensor, low: number, high: number) => {
	checkFloat("clamp", x);
	return {
		result: mapTo("unary_clamp", x, x.dtype, low, high) as Tensor,
		inputs: [x],
		saved: [x],
		backward: (g, [x]) => [mapBackward("unary_clamp", g, x, low, high)],
	};
});

/**
 * x where it lies within the limits, else the limit that it is beyond; NaN stays NaN. The gradient passes where x
 * lies within the limits.
 */
export function clamp<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	{ min = -Infinity, max = Infinity }: ClampOptions,
): Tensor<D, R> {
	return clampOp(x, min, max) as Tensor<D, R>;
}
