// Comparisons and logic, element by element with broadcasting: tensors of uint8, 0 or 1. No gradient flows
// through them.

import { defineOp } from "./autograd/define_op.ts";
import type { FloatType } from "./dtype.ts";
import { checkFloat, compare, type Operand } from "./elementwise.ts";
import type { MaxRank } from "./rank.ts";
import type { Tensor } from "./tensor.ts";

/** The element types that are compared. */
export type ComparedType = FloatType | "int32" | "uint8";

/** A comparison of two tensors of one dtype, broadcast together, or of a tensor and a number. */
export interface Comparison<T extends ComparedType> {
	/** Of two tensors. */
	<D extends T, R extends number, S extends number>(
		a: Tensor<D, R>,
		b: Tensor<NoInfer<D>, S>,
	): Tensor<"uint8", MaxRank[R][S]>;
	/** Of a tensor and a number. */
	<D extends T, R extends number>(a: Tensor<D, R>, b: number): Tensor<"uint8", R>;
	/** Of a number and a tensor. */
	<D extends T, R extends number>(a: number, b: Tensor<D, R>): Tensor<"uint8", R>;
}

function comparison(name: string, kernel: string, swapped = false) {
	return defineOp(name, (a: Operand, b: Operand) => ({
		result: swapped ? compare("compare", kernel, b, a) : compare("compare", kernel, a, b),
		inputs: [],
		backward: () => [],
	}));
}

/** a = b; NaN equals nothing. */
export const equal = comparison("equal", "equal") as Comparison<ComparedType>;
/** a ≠ b; true of NaN. */
export const notEqual = comparison("notEqual", "not_equal") as Comparison<ComparedType>;
/** a < b */
export const less = comparison("less", "less") as Comparison<FloatType | "int32">;
/** a ≤ b */
export const lessEqual = comparison("lessEqual", "less_equal") as Comparison<FloatType | "int32">;
/** a > b */
export const greater = comparison("greater", "less", true) as Comparison<FloatType | "int32">;
/** a ≥ b */
export const greaterEqual = comparison("greaterEqual", "less_equal", true) as Comparison<
	FloatType | "int32"
>;

/** A logical operation of masks, in which any value but 0 is true. */
export type Logical = <R extends number, S extends number>(
	a: Tensor<"uint8", R>,
	b: Tensor<"uint8", S>,
) => Tensor<"uint8", MaxRank[R][S]>;

/** Whether both are true. */
export const logicalAnd = comparison("logicalAnd", "and") as Logical;
/** Whether one is true, or both. */
export const logicalOr = comparison("logicalOr", "or") as Logical;

/** 1 where x is 0, and 0 elsewhere. */
export function logicalNot<R extends number>(x: Tensor<"uint8", R>): Tensor<"uint8", R> {
	return equal(x, 0);
}

const isNaNOp = defineOp("isNaN", (x: Tensor) => {
	checkFloat("isNaN", x);
	return {
		result: compare("compare", "not_equal", x, x) as Tensor,
		inputs: [],
		backward: () => [],
	};
});

/** Whether x is NaN. */
export function isNaN<R extends number>(x: Tensor<FloatType, R>): Tensor<"uint8", R> {
	return isNaNOp(x) as Tensor<"uint8", R>;
}

const isFiniteOp = defineOp("isFinite", (x: Tensor) => {
	checkFloat("isFinite", x);
	const above = compare("compare", "less", -Infinity, x);
	const below = compare("compare", "less", x, Infinity);
	return {
		result: compare("compare", "and", above, below) as Tensor,
		inputs: [],
		backward: () => [],
	};
});

/** Whether x is neither infinite nor NaN. */
export function isFinite<R extends number>(x: Tensor<FloatType, R>): Tensor<"uint8", R> {
	return isFiniteOp(x) as Tensor<"uint8", R>;
}
