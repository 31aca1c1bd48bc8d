// Variance, standard deviation, norms and log-sum-exp over axes, in float32.

import { defineOp } from "./autograd/define_op.ts";
import { linesOf, type OverAxes, overAxes, type ReduceOptions, type Reduction } from "./axes.ts";
import { contiguous } from "./contiguous.ts";
import { toFloat32 } from "./precision.ts";
import { reduceAxes, reduceMiddle, shaped, spread } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

type Float32 = Tensor<"float32">;

/** Options of a variance. */
export interface VarianceOptions extends ReduceOptions {
	/** What is taken from the number of elements that the sum of squares is divided by. @default {1} */
	correction?: number;
}

/** y = √y in place. */
function root(y: Float32): Float32 {
	if (y.size > 0) y.device.kernel("root_in_place").overElements(y.size, y.pointer, y.size);
	return y;
}

/** The sum of squared deviations from the mean, divided by the degrees of freedom; and the mean. */
function deviations(x: Float32, reduction: Reduction, correction: number) {
	const { dense, extents } = linesOf(x, reduction), { count } = reduction;
	const scale = 1 / Math.max(0, count - correction);
	const mean = reduceMiddle("sum", dense, extents, null, 1 / count);
	return { mean, variance: reduceMiddle("sum_squares", dense, extents, mean, scale), scale };
}

const varianceOp = defineOp("variance", (x: Float32, reduction: Reduction, correction: number) => {
	const { mean, variance, scale } = deviations(x, reduction, correction);
	return {
		result: shaped(variance, reduction.shape),
		inputs: [x],
		saved: [x, mean] as const,
		backward: (g, [x, b]) => {
			const { dense, extents, restore } = linesOf<"float32">(x, reduction);
			return [restore(spread("centered", dense, extents, toFloat32(g), { b, scale: 2 * scale }))];
		},
	};
});

/**
 * Σ (x - mean(x))² / (n - correction) over axes of n elements.
 *
 * @param axes by default all
 */
export const variance: OverAxes<"float32", VarianceOptions> = overAxes(
	"variance",
	(x: Float32, axes, { correction = 1 }: VarianceOptions) => varianceOp(x, axes, correction),
);

const stdOp = defineOp("std", (x: Float32, reduction: Reduction, correction: number) => {
	const { mean, variance, scale } = deviations(x, reduction, correction), std = root(variance);
	return {
		result: shaped(std, reduction.shape),
		inputs: [x],
		saved: [x, std, mean] as const,
		backward: (g, [x, a, b]) => {
			const { dense, extents, restore } = linesOf<"float32">(x, reduction);
			return [restore(spread("centered", dense, extents, toFloat32(g), { a, b, scale }))];
		},
	};
});

/** The square root of {@linkcode variance}. Where it is 0, so is its gradient. */
export const std: OverAxes<"float32", VarianceOptions> = overAxes(
	"std",
	(x: Float32, axes, { correction = 1 }: VarianceOptions) => stdOp(x, axes, correction),
);

/** Options of a norm. */
export interface VectorNormOptions extends ReduceOptions {
	/** 1 for Σ |x|, 2 for √Σ x², Infinity for the largest |x|. @default {2} */
	p?: 1 | 2 | typeof Infinity;
}

const NORMS = new Map([[1, "sum_absolute"], [2, "sum_squares"], [Infinity, "max_absolute"]]);

const normOp = defineOp("norm", (x: Float32, reduction: Reduction, p: number) => {
	const sums = reduceAxes(NORMS.get(p)!, contiguous(x), reduction.isReduced);
	const norm = p === 2 ? root(sums) : sums;
	return {
		result: shaped(norm, reduction.shape),
		inputs: [x],
		saved: [x, norm] as const,
		backward: (gradient, [x, norm]) => {
			const { dense, extents, restore } = linesOf<"float32">(x, reduction), g = toFloat32(gradient);
			if (p === 1) return [restore(spread("sign", dense, extents, g))];
			if (p === 2) return [restore(spread("centered", dense, extents, g, { a: norm }))];
			const ties = reduceMiddle("count_absolute", dense, extents, norm);
			return [restore(spread("equal_absolute", dense, extents, g, { a: ties, b: norm }))];
		},
	};
});

/**
 * The p-norm over axes. Its gradient is 0 where the norm is; that of the largest |x| is shared by equal ones.
 *
 * @param axes by default all
 */
export const norm: OverAxes<"float32", VectorNormOptions> = overAxes(
	"norm",
	(x: Float32, axes, { p = 2 }: VectorNormOptions) => {
		if (!NORMS.has(p)) {
			throw new RangeError(`Cannot compute norm: p must be 1, 2 or Infinity, got ${p}`);
		}
		return normOp(x, axes, p);
	},
);

const logSumExpOp = defineOp("logSumExp", (x: Float32, reduction: Reduction) => {
	const { dense, extents } = linesOf(x, reduction);
	const largest = reduceMiddle("max", dense, extents);
	const result = reduceMiddle("sum_exp", dense, extents, largest);
	if (result.size > 0) {
		x.device.kernel("log_plus_in_place")
			.overElements(result.size, result.pointer, largest.pointer, result.size);
	}
	return {
		result: shaped(result, reduction.shape),
		inputs: [x],
		saved: [x, result] as const,
		backward: (g, [x, b]) => {
			const { dense, extents, restore } = linesOf<"float32">(x, reduction);
			return [restore(spread("exp", dense, extents, toFloat32(g), { b }))];
		},
	};
});

/**
 * log Σ exp x over axes, without overflow; of no elements it is -∞.
 *
 * @param axes by default all
 */
export const logSumExp: OverAxes<"float32"> = overAxes("logSumExp", logSumExpOp);
