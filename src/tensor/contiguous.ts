// Copies between tensors of any strides.

import { defineOp } from "./autograd/define_op.ts";
import { refuseRecorded } from "./autograd/recording.ts";
import { copyStrided } from "./copy_strided.ts";
import { BYTES_PER_ELEMENT, type DType } from "./dtype.ts";
import { checkShape, Tensor } from "./tensor.ts";

function copy(target: Tensor, source: Tensor): void {
	copyStrided(
		target.device,
		BYTES_PER_ELEMENT[target.dtype],
		target.shape,
		{ pointer: target.start, strides: target.strides },
		{ pointer: source.start, strides: source.strides },
	);
}

const contiguousOp = defineOp("contiguous", (x: Tensor) => {
	const result = Tensor.empty(x.device, x.dtype, x.shape);
	copy(result, x);
	return { result, inputs: [x], backward: (gradient) => [gradient] };
});

/** `x` if its elements lie one after the other in row-major order, else a copy of it that does. */
export function contiguous<D extends DType, R extends number>(x: Tensor<D, R>): Tensor<D, R> {
	return x.isContiguous ? x : contiguousOp(x) as Tensor<D, R>;
}

/**
 * Copies the elements of `source` into `target`, a tensor or a view of one, in place. The two must not overlap.
 *
 * @throws {RangeError} if `target` takes part in a recorded computation: use {@linkcode noGrad} for parameters
 */
export function copyInto<D extends DType, R extends number>(
	target: Tensor<D, R>,
	source: Tensor<NoInfer<D>, NoInfer<R>>,
): void {
	refuseRecorded("copyInto", target);
	checkShape("copyInto", "the source", source.shape, target.shape);
	copy(target, source);
	target.changed();
}
