// Activation functions: of one tensor, of a tensor and a bias, and gated ones.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { checkFloat } from "./elementwise.ts";
import { reduceAxes } from "./reduce.ts";
import { cast } from "./cast.ts";
import { elements } from "./strides.ts";
import { checkShape, Tensor } from "./tensor.ts";
import { type Unary, unaryOp } from "./unary.ts";

/** max(x, 0); NaN stays NaN. */
export const relu: Unary = unaryOp("relu", "x");

/** x · sigmoid(x) = x / (1 + e⁻ˣ), also called swish (Elfwing et al. 2017). */
export const silu: Unary = unaryOp("silu", "x");

/** ln(1 + eˣ) */
export const softplus: Unary = unaryOp("softplus", "x");

/** Options of {@linkcode gelu}. */
export interface GeluOptions {
	/** `"tanh"`: x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, as GPT-2 has it. @default {"none"} */
	approximate?: "none" | "tanh";
}

const exactGelu = unaryOp("gelu", "x"), tanhGelu = unaryOp("gelu_tanh", "x");

/** x (1 + erf(x/√2)) / 2, the share of x that a normal distribution gives it (Hendrycks and Gimpel 2016). */
export function gelu<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	{ approximate = "none" }: GeluOptions = {},
): Tensor<D, R> {
	return approximate === "tanh" ? tanhGelu(x) : exactGelu(x);
}

/** What {@linkcode biasActivation} computes of x + bias; `"gelu_tanh"` is {@linkcode gelu}'s approximation. */
export type Activation = "relu" | "silu" | "gelu" | "gelu_tanh" | "softplus";

/** Rows and columns of a tensor whose last axis is a row. */
function rowsOf(shape: readonly number[]): [number, number] {
	const columns = shape.at(-1) ?? 1;
	return [elements(shape.slice(0, -1)), columns];
}

const biasOp = defineOp("biasActivation", (x: Tensor, bias: Tensor, activation: Activation) => {
	checkFloat("biasActivation", x);
	checkShape("biasActivation", "the bias", bias.shape, x.shape.slice(-1));
	if (x.shape.length === 0 || x.dtype !== bias.dtype) {
		throw new TypeError(
			`Cannot compute biasActivation of ${x.dtype} [${x.shape}] and a ${bias.dtype} bias: ` +
				"x must have an axis, and the bias x's type",
		);
	}
	const [rows, columns] = rowsOf(x.shape), name = `bias_${activation}`;
	const from = contiguous(x), b = contiguous(bias);
	const y = Tensor.empty<FloatType, number>(x.device, x.dtype, x.shape);
	if (y.size > 0) {
		x.device.kernel(`${name}_${x.dtype}`)
			.overRows(rows, y.pointer, from.pointer, b.pointer, rows, columns);
	}
	return {
		result: y as Tensor,
		inputs: [x, bias],
		saved: [from, b],
		backward: (gradient, [x, b], needs) => {
			const g = contiguous(gradient);
			const dx = Tensor.empty<FloatType, number>(x.device, g.dtype as FloatType, x.shape);
			if (dx.size > 0) {
				x.device.kernel(`${name}_backward_${x.dtype}`)
					.overRows(rows, dx.pointer, g.pointer, x.pointer, b.pointer, rows, columns);
			}
			if (!needs[1]) return [dx, null];
			const sums = reduceAxes("sum", dx, (axis) => axis < x.shape.length - 1);
			return [needs[0] ? dx : null, b.dtype === "float32" ? sums : cast(sums, "bfloat16")];
		},
	};
});

/**
 * An activation of x + bias in one pass, forward and backward, as the first half of an MLP has it.
 *
 * @param x [..., columns]
 * @param bias [columns], of x's type
 */
export function biasActivation<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	bias: Tensor<NoInfer<D>, 1>,
	activation: Activation,
): Tensor<D, R> {
	return biasOp(x, bias, activation) as Tensor<D, R>;
}

const gatedOp = defineOp("gated activation", (x: Tensor, name: string, dtype: FloatType) => {
	const width = x.shape.at(-1);
	checkFloat(name, x);
	if (width === undefined || width % 2 !== 0) {
		throw new RangeError(
			width === undefined
				? `Cannot compute ${name} of a tensor without axes`
				: `Cannot compute ${name}: the width ${width} of [${x.shape}] is odd`,
		);
	}
	const columns = width / 2, rows = rowsOf(x.shape)[0], from = contiguous(x);
	const types = `${x.dtype}_to_${dtype}`;
	const y = Tensor.empty<FloatType, number>(x.device, dtype, [...x.shape.slice(0, -1), columns]);
	if (y.size > 0) {
		x.device.kernel(`gated_${name}_${types}`)
			.overRows(rows, y.pointer, from.pointer, rows, columns);
	}
	return {
		result: y as Tensor,
		inputs: [x],
		saved: [from],
		backward: (gradient, [x]) => {
			const g = contiguous(gradient), dx = Tensor.empty(x.device, x.dtype, x.shape);
			if (dx.size > 0) {
				x.device.kernel(`gated_${name}_backward_${types}`)
					.overRows(rows, dx.pointer, g.pointer, x.pointer, rows, columns);
			}
			return [dx];
		},
	};
});

/**
 * SwiGLU: silu(gate) · up, with silu(z) = z / (1 + e⁻ᶻ) (Shazeer 2020).
 *
 * @param gateUp [..., 2I]: gate, then up
 * @param dtype type of the result; the arithmetic is in float32 in any case
 * @returns [..., I]
 */
export function swiglu<R extends number, D extends FloatType = "float32">(
	gateUp: Tensor<FloatType, R>,
	dtype: D = "float32" as D,
): Tensor<D, R> {
	return gatedOp(gateUp, "swiglu", dtype) as Tensor<D, R>;
}

/**
 * GEGLU: gelu(gate) · up (Shazeer 2020).
 *
 * @param gateUp [..., 2I]: gate, then up
 * @returns [..., I]
 */
export function geglu<D extends FloatType, R extends number>(
	gateUp: Tensor<D, R>,
	{ approximate = "none" }: GeluOptions = {},
): Tensor<D, R> {
	const name = approximate === "tanh" ? "geglu_tanh" : "geglu";
	return gatedOp(gateUp, name, gateUp.dtype) as Tensor<D, R>;
}

/**
 * ReGLU: relu(gate) · up (Shazeer 2020).
 *
 * @param gateUp [..., 2I]: gate, then up
 * @returns [..., I]
 */
export function reglu<D extends FloatType, R extends number>(gateUp: Tensor<D, R>): Tensor<D, R> {
	return gatedOp(gateUp, "reglu", gateUp.dtype) as Tensor<D, R>;
}

/**
 * GLU: up · sigmoid(gate) (Dauphin et al. 2016).
 *
 * @param upGate [..., 2I]: up, then gate, unlike the others
 * @returns [..., I]
 */
export function glu<D extends FloatType, R extends number>(upGate: Tensor<D, R>): Tensor<D, R> {
	return gatedOp(upGate, "glu", upGate.dtype) as Tensor<D, R>;
}
