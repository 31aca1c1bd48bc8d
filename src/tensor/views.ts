// Views: other shapes and orders of the same elements, without copies.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous, copyInto } from "./contiguous.ts";
import type { DType } from "./dtype.ts";
import type { Minus1, Plus1 } from "./rank.ts";
import { sumTo } from "./sum_to.ts";
import { elements, isCount, rowMajor } from "./strides.ts";
import { Tensor } from "./tensor.ts";

/** An axis counted from the front; throws if there is none of that number. */
export function resolveAxis(operation: string, shape: readonly number[], axis: number): number {
	const rank = shape.length;
	if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
		throw new RangeError(
			`Cannot compute ${operation} of [${shape}]: there is no axis ${axis}` +
				(rank === 0 ? "" : `, only ${-rank} to ${rank - 1}`),
		);
	}
	return axis < 0 ? axis + rank : axis;
}

/** The shape with its one extent of -1, if any, as what is left. */
function inferExtent(shape: readonly number[], size: number): readonly number[] {
	const at = shape.indexOf(-1);
	if (at < 0) return shape;
	const rest = elements(shape.toSpliced(at, 1));
	return rest > 0 && size % rest === 0 ? shape.with(at, size / rest) : shape;
}

const reshapeOp = defineOp("reshape", (x: Tensor, shape: readonly number[]) => {
	const from = x.shape;
	return {
		result: contiguous(x).asStrided(shape, rowMajor(shape)),
		inputs: [x],
		backward: (gradient) => [reshape(gradient, from)],
	};
});

/**
 * The same elements in row-major order with another shape; copied only if `x` is not contiguous.
 *
 * @param shape with as many elements; one extent may be -1, and is then what is left
 */
export function reshape<D extends DType, const S extends readonly number[]>(
	x: Tensor<D>,
	shape: S,
): Tensor<D, S["length"]> {
	const full = inferExtent(shape, x.size);
	if (!full.every(isCount) || elements(full) !== x.size) {
		throw new RangeError(
			`Cannot reshape [${x.shape}] to [${shape}]: ` +
				(shape.every(isCount)
					? `${x.size} elements are not ${elements(shape)}`
					: "extents must be whole and not negative, but for one -1 that what is left fits"),
		);
	}
	return reshapeOp(x, full) as Tensor<D, S["length"]>;
}

const sliceOp = defineOp("slice", (x: Tensor, begin: number, end: number, axis: number) => {
	const { shape, device, dtype } = x;
	return {
		result: x.asStrided(shape.with(axis, end - begin), x.strides, begin * x.strides[axis]!),
		inputs: [x],
		backward: (gradient) => {
			const all = Tensor.zeros(device, dtype, shape);
			copyInto(all.slice(begin, end, axis), gradient);
			return [all];
		},
	};
});

/**
 * The entries `begin` to `end` (not included) along an axis.
 *
 * @param begin negative counts from the end
 * @param end negative counts from the end; by default the extent
 */
export function slice<D extends DType, R extends number>(
	x: Tensor<D, R>,
	begin: number,
	end?: number,
	axis: number = 0,
): Tensor<D, R> {
	const along = resolveAxis("slice", x.shape, axis), extent = x.shape[along]!;
	const [from, to] = [begin, end ?? extent].map((at) => at < 0 ? at + extent : at);
	if (![from, to].every((at) => isCount(at!)) || from! > to! || to! > extent) {
		throw new RangeError(
			`Cannot slice ${begin} to ${
				end ?? extent
			} from axis ${axis} of a tensor of shape [${x.shape}]`,
		);
	}
	return sliceOp(x, from!, to!, along) as Tensor<D, R>;
}

const permuteOp = defineOp("permute", (x: Tensor, axes: readonly number[]) => ({
	result: x.asStrided(axes.map((axis) => x.shape[axis]!), axes.map((axis) => x.strides[axis]!)),
	inputs: [x],
	backward: (gradient) => [permute(gradient, axes.map((_, axis) => axes.indexOf(axis)))],
}));

/** The axes in another order: axis `i` of the result is axis `axes[i]` of `x`. */
export function permute<D extends DType, R extends number>(
	x: Tensor<D, R>,
	axes: readonly number[],
): Tensor<D, R> {
	const resolved = axes.map((axis) => resolveAxis("permute", x.shape, axis));
	if (axes.length !== x.shape.length || new Set(resolved).size !== axes.length) {
		throw new RangeError(
			`Cannot permute [${x.shape}] by [${axes}]: each of its ${x.shape.length} axes must be named once`,
		);
	}
	return permuteOp(x, resolved) as Tensor<D, R>;
}

/** Two axes exchanged, by default the last two. */
export function transpose<D extends DType, R extends number>(
	x: Tensor<D, R>,
	first: number = -2,
	second: number = -1,
): Tensor<D, R> {
	const a = resolveAxis("transpose", x.shape, first), b = resolveAxis("transpose", x.shape, second);
	const axes = x.shape.map((_, axis) => axis === a ? b : axis === b ? a : axis);
	return permuteOp(x, axes) as Tensor<D, R>;
}

const expandOp = defineOp("expand", (x: Tensor, shape: readonly number[]) => {
	const from = x.shape, added = shape.length - from.length;
	const strides = shape.map((extent, axis) =>
		axis < added || from[axis - added] !== extent ? 0 : x.strides[axis - added]!
	);
	return {
		result: x.asStrided(shape, strides),
		inputs: [x],
		backward: (gradient) => [sumTo(gradient as Tensor<"float32">, from)],
	};
});

/** Repeated along axes of extent 1, and along new leading axes, without copies. */
export function expand<D extends DType, const S extends readonly number[]>(
	x: Tensor<D>,
	shape: S,
): Tensor<D, S["length"]> {
	const added = shape.length - x.shape.length;
	const fits = added >= 0 && shape.every(isCount) &&
		x.shape.every((extent, axis) => extent === 1 || extent === shape[axis + added]);
	if (!fits) {
		throw new RangeError(
			`Cannot expand [${x.shape}] to [${shape}]: counted from the last, extents must be equal, or 1 before`,
		);
	}
	return expandOp(x, shape) as Tensor<D, S["length"]>;
}

/** A new axis of extent 1 before `axis`; -1 puts it last. */
export function unsqueeze<D extends DType, R extends number>(
	x: Tensor<D, R>,
	axis: number,
): Tensor<D, Plus1[R]> {
	const at = resolveAxis("unsqueeze", [...x.shape, 1], axis);
	return reshape(x, x.shape.toSpliced(at, 0, 1)) as Tensor<D, Plus1[R]>;
}

/** Without an axis of extent 1. */
export function squeeze<D extends DType, R extends number>(
	x: Tensor<D, R>,
	axis: number,
): Tensor<D, Minus1[R]> {
	const at = resolveAxis("squeeze", x.shape, axis);
	if (x.shape[at] !== 1) {
		throw new RangeError(`Cannot squeeze axis ${axis} of [${x.shape}]: its extent is not 1`);
	}
	return reshape(x, x.shape.toSpliced(at, 1)) as Tensor<D, Minus1[R]>;
}
