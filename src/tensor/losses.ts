// Losses of predictions and targets, element by element, in float32.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous } from "./contiguous.ts";
import type { LossReduction } from "./cross_entropy.ts";
import { reduceMiddle, shaped } from "./reduce.ts";
import { checkShape, Tensor } from "./tensor.ts";

type Float32 = Tensor<"float32">;

/** Options of a loss. */
export interface LossOptions<L extends string = LossReduction> {
	/** What becomes of the losses of single elements. @default {"mean"} */
	reduction?: L;
}

const PART = 4096; // elements that a warp sums

function loss(x: Float32, target: Float32, name: string, reduction: string) {
	const { device, shape, size } = x, isEach = reduction === "none";
	const from = contiguous(x), to = contiguous(target), parts = Math.ceil(size / PART);
	const divisors: Record<string, number> = { mean: size, batchMean: shape[0] ?? 1 };
	const scale = 1 / (divisors[reduction] ?? 1);
	const y = Tensor.empty<"float32", number>(device, "float32", isEach ? shape : [parts]);
	if (size > 0 && isEach) {
		device.kernel(`${name}_each`).overElements(size, y.pointer, from.pointer, to.pointer, size);
	} else if (size > 0) {
		device.kernel(`${name}_parts`)
			.overRows(parts, y.pointer, from.pointer, to.pointer, size, parts);
	}
	const whole = { outer: 1, reduced: parts, inner: 1 };
	return {
		result: isEach ? y : shaped(reduceMiddle("sum", y, whole, null, scale), []),
		inputs: [x, target],
		saved: [from, to] as const,
		backward: (
			gradient: Float32,
			[from, to]: readonly [Float32, Float32],
			needs: readonly boolean[],
		) => {
			const g = contiguous(gradient);
			const wanted = needs.map((need) => need ? Tensor.empty(device, "float32", shape) : null);
			if (size > 0) {
				device.kernel(`${name}_backward`).overElements(
					size,
					wanted[0]?.pointer ?? 0,
					wanted[1]?.pointer ?? 0,
					from.pointer,
					to.pointer,
					g.pointer,
					isEach ? 0 : 1,
					size,
					scale,
				);
			}
			return wanted;
		},
	};
}

/** The rank of a loss of tensors of rank R. */
export type LossRank<R extends number, L extends string> = L extends "none" ? R : 0;

function elementwise(operation: string, name: string) {
	const op = defineOp(operation, loss);
	return (x: Float32, target: Float32, reduction: string) => {
		checkShape(operation, "the target", target.shape, x.shape);
		return op(x, target, name, reduction) as Tensor;
	};
}

const mse = elementwise("mseLoss", "squared_error");
const binary = elementwise("binaryCrossEntropyWithLogits", "binary_cross_entropy");
const divergence = elementwise("klDivergence", "kl_divergence");

/**
 * Squared errors: (x - t)².
 *
 * @param target t, of the shape of x
 */
export function mseLoss<R extends number, const L extends LossReduction = "mean">(
	x: Tensor<"float32", R>,
	target: Tensor<"float32", NoInfer<R>>,
	{ reduction }: LossOptions<L> = {},
): Tensor<"float32", LossRank<R, L>> {
	return mse(x, target, reduction ?? "mean") as Tensor<"float32", LossRank<R, L>>;
}

/**
 * Cross-entropy of independent decisions: -t log p - (1 - t) log(1 - p) of p = sigmoid(x), accurate for any x.
 *
 * @param logits x
 * @param target t, from 0 to 1, of the shape of x
 */
export function binaryCrossEntropyWithLogits<
	R extends number,
	const L extends LossReduction = "mean",
>(
	logits: Tensor<"float32", R>,
	target: Tensor<"float32", NoInfer<R>>,
	{ reduction }: LossOptions<L> = {},
): Tensor<"float32", LossRank<R, L>> {
	return binary(logits, target, reduction ?? "mean") as Tensor<"float32", LossRank<R, L>>;
}

/**
 * The Kullback-Leibler divergence of a distribution t from predictions x = log q: t (log t - x), 0 where t is 0.
 * "batchMean" divides the sum by the first extent, as the divergence is defined; "mean" by all elements.
 *
 * @param logPrediction x
 * @param target t, of the shape of x
 */
export function klDivergence<
	R extends number,
	const L extends LossReduction | "batchMean" = "mean",
>(
	logPrediction: Tensor<"float32", R>,
	target: Tensor<"float32", NoInfer<R>>,
	{ reduction }: LossOptions<L> = {},
): Tensor<"float32", LossRank<R, L>> {
	return divergence(logPrediction, target, reduction ?? "mean") as Tensor<
		"float32",
		LossRank<R, L>
	>;
}
