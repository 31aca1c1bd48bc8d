// Softmax and its logarithm along an axis.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous } from "./contiguous.ts";
import { lastTo } from "./axes.ts";
import type { FloatType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";
import { resolveAxis } from "./views.ts";

type Float = Tensor<FloatType>;

/** Options of {@linkcode softmax}. */
export interface SoftmaxOptions {
	/** What x is multiplied by first; positive. @default {1} */
	scale?: number;
	/**
	 * Masks attention scores [..., queries, keys], whose last axis is the one: query i sees the first
	 * keys - queries + i + 1 keys, so that the last one sees all; the others get probability 0. @default {false}
	 */
	causal?: boolean;
}

/** `x` with `axis` exchanged with the last one, contiguous. */
const rowsAlong = (x: Float, axis: number) => contiguous(lastTo(x, axis));

/** Launches a kernel of softmax.cu over the rows of contiguous tensors of one shape. */
function overRows(name: string, inputs: Float[], ...rest: number[]): Float {
	const [{ device, dtype, shape, size }] = inputs as [Float];
	const y = Tensor.empty(device, dtype, shape), columns = shape.at(-1)!;
	if (size === 0) return y;
	device.kernel(`${name}_${dtype}`)
		.overRows(
			size / columns,
			y.pointer,
			...inputs.map(({ pointer }) => pointer),
			size / columns,
			columns,
			...rest,
		);
	return y;
}

const softmaxOp = defineOp("softmax", (x: Float, axis: number, scale: number, queries: number) => {
	const y = overRows("softmax", [rowsAlong(x, axis)], queries, scale);
	return {
		result: lastTo(y, axis),
		inputs: [x],
		saved: [y] as const,
		backward: (g, [y]) => [
			lastTo(overRows("softmax_backward", [y, rowsAlong(g, axis)], scale), axis),
		],
	};
});

/**
 * Softmax along an axis: exp(scale · x) / Σ exp(scale · x).
 *
 * @param x of rank 1 or more; bfloat16 is computed in float32 and rounded at the end
 * @param axis by default the last
 * @throws {RangeError} if the scale is not positive, or a causal mask has fewer keys than queries
 * @example The rows of a matrix
 * ```ts
 * import { Device, softmax, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using x = Tensor.from<"float32", 2>(device, "float32", [2, 2], [0, 0, 0, Math.log(3)]);
 * using y = softmax(x);
 * console.log(y.dataSync()); // Float32Array [0.5, 0.5, 0.25, 0.75]
 * ```
 */
export function softmax<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	axis: number = -1,
	{ scale = 1, causal = false }: SoftmaxOptions = {},
): Tensor<D, R> {
	const along = resolveAxis("softmax", x.shape, axis), rank = x.shape.length;
	if (!(scale > 0)) {
		throw new RangeError(`Cannot compute softmax: the scale must be positive, got ${scale}`);
	}
	const [queries = 0, keys = 0] = x.shape.slice(-2);
	if (causal && (rank < 2 || along !== rank - 1 || keys < queries)) {
		throw new RangeError(
			`Cannot compute causal softmax of [${x.shape}] along axis ${axis}: it takes scores ` +
				"[..., queries, keys] along the last axis, with at least as many keys as queries",
		);
	}
	return softmaxOp(x, along, scale, causal ? queries : 0) as Tensor as Tensor<D, R>;
}

const logSoftmaxOp = defineOp("logSoftmax", (x: Float, axis: number) => {
	const y = overRows("log_softmax", [rowsAlong(x, axis)]);
	return {
		result: lastTo(y, axis),
		inputs: [x],
		saved: [y] as const,
		backward: (g, [y]) => [
			lastTo(overRows("log_softmax_backward", [y, rowsAlong(g, axis)]), axis),
		],
	};
});

/**
 * The logarithm of {@linkcode softmax}, accurate where that is small: x - log Σ exp x.
 *
 * @param x of rank 1 or more
 * @param axis by default the last
 */
export function logSoftmax<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	axis: number = -1,
): Tensor<D, R> {
	return logSoftmaxOp(x, resolveAxis("logSoftmax", x.shape, axis)) as Tensor as Tensor<D, R>;
}
