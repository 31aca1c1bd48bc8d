// The inverse of broadcasting, which gradients of broadcast operands need.

import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { inType } from "./precision.ts";
import { reduceAxes } from "./reduce.ts";
import type { Shape, Tensor } from "./tensor.ts";

/**
 * Sums x over the axes that broadcasting `shape` to its shape would add or repeat: the gradient of an operand
 * from that of the broadcast one. Sums in float32.
 *
 * @param shape can be broadcast to x.shape
 * @returns of that shape; where nothing is to be summed, a view of x
 * @throws {RangeError} if `shape` cannot be broadcast to x.shape
 */
export function sumTo<D extends FloatType, R extends number>(
	x: Tensor<D>,
	shape: Shape<R>,
): Tensor<D, R> {
	const added = x.shape.length - shape.length;
	const isSummed = (axis: number) => axis < added || shape[axis - added] !== x.shape[axis];
	if (added < 0 || shape.some((extent, i) => extent !== 1 && extent !== x.shape[i + added])) {
		throw new RangeError(
			`Cannot sum [${x.shape}] to [${shape}]: that shape does not broadcast to it`,
		);
	}
	if (!x.shape.some((extent, axis) => isSummed(axis) && extent !== 1)) return x.reshape(shape);
	const dense = contiguous(x);
	using sums = reduceAxes("sum", dense, isSummed);
	if (dense !== x) dense.dispose();
	using rounded = inType(sums, x.dtype);
	return rounded.reshape(shape);
}
