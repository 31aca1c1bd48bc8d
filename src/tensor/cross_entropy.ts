// Cross-entropy, the loss of language models, in one pass forward and one backward.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { toFloat32 } from "./precision.ts";
import type { Minus1 } from "./rank.ts";
import { reduceMiddle, shaped } from "./reduce.ts";
import { checkShape, Tensor } from "./tensor.ts";

/** What becomes of the losses of single examples. */
export type LossReduction = "mean" | "sum" | "none";

/** Options of {@linkcode crossEntropy}. */
export interface CrossEntropyOptions<L extends LossReduction = LossReduction> {
	/** "mean" is over the examples that are not ignored. @default {"mean"} */
	reduction?: L;
	/** Examples with this class have no loss. @default {-100} */
	ignoreIndex?: number;
	/** The share of the target that is spread over all classes (Szegedy et al. 2016, section 7). @default {0} */
	labelSmoothing?: number;
}

const crossEntropyOp = defineOp("crossEntropy", (
	logits: Tensor<FloatType>,
	targets: Tensor<"int32">,
	reduction: LossReduction,
	ignored: number,
	smoothing: number,
) => {
	const { device, dtype, shape } = logits, columns = shape.at(-1)!, rows = targets.size;
	const x = contiguous(logits), to = contiguous(targets);
	const losses = Tensor.empty<"float32", 1>(device, "float32", [rows]);
	const logSums = Tensor.empty<"float32", 1>(device, "float32", [rows]);
	if (rows > 0) {
		device.kernel(`cross_entropy_${dtype}`).overRows(
			rows,
			losses.pointer,
			logSums.pointer,
			x.pointer,
			to.pointer,
			rows,
			columns,
			ignored,
			smoothing,
		);
	}
	const mean = Tensor.empty<"float32", 1>(device, "float32", [2]); // and the share of an example in it
	device.kernel("cross_entropy_mean")
		.once(mean.pointer, losses.pointer, to.pointer, rows, ignored);
	const result = reduction === "mean"
		? mean.asStrided<number>([], [])
		: reduction === "sum"
		? shaped(reduceMiddle("sum", losses, { outer: 1, reduced: rows, inner: 1 }), [])
		: shaped(losses, targets.shape);
	return {
		result,
		inputs: [logits],
		saved: [x, logSums, to, mean.asStrided<1>([1], [1], 1)] as const,
		backward: (g, [x, logSums, to, share]) => {
			const dx = Tensor.empty(device, dtype, shape), gradient = toFloat32(g);
			if (rows === 0) return [dx];
			device.kernel(`cross_entropy_backward_${dtype}`).overRows(
				rows,
				dx.pointer,
				x.pointer,
				logSums.pointer,
				to.pointer,
				gradient.pointer,
				reduction === "mean" ? share.pointer : 0,
				rows,
				columns,
				reduction === "none" ? 0 : 1,
				ignored,
				smoothing,
			);
			return [dx];
		},
	};
});

/**
 * Cross-entropy of logits with classes: log Σ exp x - x[target] an example. With label smoothing ε, x[target] is
 * (1 - ε) x[target] + ε mean(x) instead. Neither probabilities nor their logarithms are stored.
 *
 * @param logits x, [..., V]: float32, or bfloat16 with arithmetic in float32
 * @param targets [...], each in 0..V-1 or `ignoreIndex`; others make the loss NaN
 * @returns in float32 the mean, the sum, or a loss an example; the mean of none is NaN
 * @example Two examples of three classes
 * ```ts
 * import { crossEntropy, Device, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using logits = Tensor.from<"float32", 2>(device, "float32", [2, 3], [9, 0, 0, 0, 0, 9]);
 * using targets = Tensor.from<"int32", 1>(device, "int32", [2], [0, 2]);
 * using loss = crossEntropy(logits, targets);
 * console.log(loss.dataSync()[0] < 0.001); // true
 * ```
 */
export function crossEntropy<R extends number, const L extends LossReduction = "mean">(
	logits: Tensor<FloatType, R>,
	targets: Tensor<"int32", NoInfer<Minus1[R]>>,
	options: CrossEntropyOptions<L> = {},
): Tensor<"float32", L extends "none" ? Minus1[R] : 0> {
	const { reduction = "mean", ignoreIndex = -100, labelSmoothing = 0 } = options;
	if (logits.shape.length === 0) {
		throw new RangeError("Cannot compute crossEntropy: the logits need an axis of classes");
	}
	checkShape("crossEntropy", "the targets", targets.shape, logits.shape.slice(0, -1));
	if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
		throw new RangeError(
			`Cannot compute crossEntropy: labelSmoothing must be from 0 to 1, got ${labelSmoothing}`,
		);
	}
	const loss = crossEntropyOp(logits, targets, reduction, ignoreIndex, labelSmoothing);
	return loss as Tensor as Tensor<"float32", L extends "none" ? Minus1[R] : 0>;
}
