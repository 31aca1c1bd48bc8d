// The linear map y = x · Wᵀ + b, the product that models spend their time on.

import { defineOp } from "./autograd/define_op.ts";
import { refuseRecorded } from "./autograd/recording.ts";
import { contiguous, copyInto } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { inType } from "./precision.ts";
import { multiply, multiplyMatrices } from "./product.ts";
import { reduceAxes } from "./reduce.ts";
import { scope } from "./scope.ts";
import { elements } from "./strides.ts";
import { checkShape, Tensor } from "./tensor.ts";

/** A weight matrix: float32, or bfloat16 for products with bfloat16 inputs and float32 sums. */
export type Weight = Tensor<FloatType, 2>;

/** Rows that a weight of type `D` is applied to: of its type, or float32, which is rounded to it. */
export type Rows<D extends FloatType = FloatType, R extends number = 2> =
	| Tensor<"float32", R>
	| Tensor<D, R>;

/** Options of {@linkcode linear}. */
export interface LinearOptions<Y extends FloatType> {
	/** Type of the result. @default {"float32"} */
	dtype?: Y;
	/** b, [out]; rounded to the result's type. */
	bias?: Tensor<FloatType, 1> | undefined;
}

/** Options of {@linkcode linear} that computes in another type than the weight's. */
export interface MixedLinearOptions<Y extends FloatType> extends LinearOptions<Y> {
	/**
	 * Type that x and the weight are rounded to for the products, forward and backward. The weight's gradient is
	 * of the weight's type, without a rounding in between.
	 */
	compute: "bfloat16";
}

function checkWeight(operation: string, x: Tensor, weight: Weight, compute?: "bfloat16"): void {
	checkShape(operation, "the weight", weight.shape, [weight.shape[0], x.shape.at(-1) ?? 1]);
	if (x.dtype === "bfloat16" && weight.dtype === "float32" && !compute) {
		throw new TypeError(
			`Cannot compute ${operation}: the input is bfloat16, the weight float32; ` +
				'cast one, or compute: "bfloat16"',
		);
	}
}

/** x [..., in] as [rows, in]. */
function asRows<D extends FloatType>(x: Tensor<D>): Tensor<D, 2> {
	if (x.shape.length === 2) return contiguous(x) as Tensor<D, 2>;
	return contiguous(x).reshape([elements(x.shape.slice(0, -1)), x.shape.at(-1)!]);
}

const linearOp = defineOp("linear", (
	x: Tensor<FloatType>,
	weight: Weight,
	bias: Tensor<FloatType, 1> | null,
	dtype: FloatType,
	compute: FloatType,
) => {
	const { device, dtype: xType, shape } = x;
	const rows = inType(asRows(x), compute), w = inType(weight, compute);
	const y = Tensor.empty<FloatType, 2>(device, dtype, [rows.shape[0]!, weight.shape[0]]);
	if (bias) copyInto(y, inType(bias, dtype).expand(y.shape));
	multiplyMatrices(y, rows, w, { transposeB: true, beta: bias ? 1 : 0 });
	return {
		result: shape.length === 2 ? y as Tensor : y.reshape(shape.with(-1, weight.shape[0])),
		inputs: bias ? [x, weight, bias] : [x, weight],
		saved: [rows, w],
		backward: (gradient, [rows, w], needs) => {
			const dy = asRows(gradient as Tensor<FloatType>), g = inType(dy, compute);
			return [
				needs[0] ? multiply(g, w, xType).reshape(shape) : null,
				needs[1] ? multiply(g.transpose(), rows, weight.dtype) : null,
				needs[2] ? inType(reduceAxes("sum", dy, (axis) => axis === 0), bias!.dtype) : null,
			];
		},
	};
});

/**
 * y = x · Wᵀ + b.
 *
 * @param x [..., in]
 * @param weight W, [out, in]; if bfloat16, x is rounded to it for the product
 * @returns [..., out]; a float32 weight gives float32, unless `compute` says otherwise
 * @throws {RangeError} if the shapes do not fit
 */
export function linear<
	D extends FloatType,
	R extends number,
	Y extends "float32" | NoInfer<D> = "float32",
>(
	x: Rows<NoInfer<D>, R>,
	weight: Tensor<D, 2>,
	options?: LinearOptions<Y>,
): Tensor<Y, R>;
/** The same in mixed precision: x and W are rounded to bfloat16 for the products, whose sums are float32. */
export function linear<R extends number, Y extends FloatType = "float32">(
	x: Tensor<FloatType, R>,
	weight: Weight,
	options: MixedLinearOptions<Y>,
): Tensor<Y, R>;
export function linear(
	x: Tensor<FloatType>,
	weight: Weight,
	{ dtype = "float32", bias, compute }: LinearOptions<FloatType> & { compute?: "bfloat16" } = {},
): Tensor {
	checkWeight("linear", x, weight, compute);
	if (bias) checkShape("linear", "the bias", bias.shape, [weight.shape[0]]);
	const input = compute ?? weight.dtype;
	if (input === "float32" && dtype !== "float32") {
		throw new TypeError(`Cannot compute linear: a float32 weight gives float32, not ${dtype}`);
	}
	return linearOp(x, weight, bias ?? null, dtype, input);
}

/**
 * y += x · Wᵀ in place, as a residual connection adds a branch. No gradient flows through it.
 *
 * @param y [T, out]
 * @param x [T, in]
 * @param weight [out, in]
 */
export function addLinear<D extends FloatType>(
	y: Tensor<"float32", 2>,
	x: Rows<NoInfer<D>>,
	weight: Tensor<D, 2>,
): void {
	checkWeight("addLinear", x, weight);
	checkShape("addLinear", "the sum", y.shape, [x.shape[0], weight.shape[0]]);
	refuseRecorded("addLinear", y);
	refuseRecorded("addLinear", x);
	refuseRecorded("addLinear", weight);
	scope(() => multiplyMatrices(y, inType(x, weight.dtype), weight, { transposeB: true, beta: 1 }));
	y.changed();
}
