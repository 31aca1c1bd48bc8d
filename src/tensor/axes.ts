// Which axes an operation goes over, and the ranks and shapes that it leaves.

import { contiguous } from "./contiguous.ts";
import type { DType } from "./dtype.ts";
import type { Minus, Minus1 } from "./rank.ts";
import { type Collapsed, runsOf } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";
import { resolveAxis, transpose } from "./views.ts";

/** One axis, or several; negative ones count from the end. */
export type Axes = number | readonly number[];

/** Options of a reduction. */
export interface ReduceOptions<K extends boolean = boolean> {
	/** Leaves the reduced axes in the result, with extent 1, so that it can be broadcast to the input. @default {false} */
	keepDims?: K;
}

/** The rank that is left of R: without axes 0, of one axis one less, of a list as many less; R with `keepDims`. */
export type ReducedRank<R extends number, A extends Axes | undefined, K extends boolean> = K extends
	true ? R
	: A extends number ? Minus1[R]
	: A extends readonly number[] ? Minus[R][A["length"]]
	: 0;

/** A reduction of a shape over axes. */
export interface Reduction {
	/** The shape that is reduced. */
	from: readonly number[];
	/** Whether an axis is reduced. */
	isReduced: (axis: number) => boolean;
	/** The shape with 1 for the reduced axes. */
	kept: readonly number[];
	/** The shape of the result. */
	shape: readonly number[];
	/** Number of elements that become one. */
	count: number;
}

/** Resolves what a reduction was called with. */
export function reductionOf(
	operation: string,
	{ shape: from }: { shape: readonly number[] },
	axes: Axes | undefined,
	{ keepDims = false }: ReduceOptions,
): Reduction {
	const list = axes === undefined ? [...from.keys()] : [axes].flat();
	const reduced = new Set(list.map((axis) => resolveAxis(operation, from, axis)));
	if (reduced.size < list.length) {
		throw new RangeError(
			`Cannot compute ${operation} of [${from}] over axes ${list}: one is named twice`,
		);
	}
	const isReduced = (axis: number) => reduced.has(axis);
	const kept = from.map((extent, axis) => isReduced(axis) ? 1 : extent);
	return {
		from,
		isReduced,
		kept,
		shape: keepDims ? kept : from.filter((_, axis) => !isReduced(axis)),
		count: from.reduce((count, extent, axis) => isReduced(axis) ? count * extent : count, 1),
	};
}

/** Throws if a reduction has no element to choose. */
export function refuseNone(operation: string, { from, count }: Reduction): void {
	if (count > 0) return;
	throw new RangeError(
		`Cannot compute ${operation} of [${from}]: there are no elements to choose from`,
	);
}

/** A reduction over axes, by default all: of tensors of the types T, with options O. */
export type OverAxes<T extends DType, O extends ReduceOptions = ReduceOptions> = <
	D extends T,
	R extends number,
	const A extends Axes | undefined = undefined,
	K extends boolean = false,
>(x: Tensor<D, R>, axes?: A, options?: O & ReduceOptions<K>) => Tensor<D, ReducedRank<R, A, K>>;

/** The reduction that `compute` does once the axes are resolved. */
export function overAxes<T extends DType, O extends ReduceOptions = ReduceOptions>(
	name: string,
	compute: (x: Tensor<T>, reduction: Reduction, options: O) => Tensor<DType>,
): OverAxes<NoInfer<T>, NoInfer<O>> {
	const reduce = (x: Tensor<T>, axes?: Axes, options = {} as O) =>
		compute(x, reductionOf(name, x, axes, options), options);
	return reduce as OverAxes<T, O>;
}

/** A tensor as lines along the axes that are reduced. */
export interface Lines<D extends DType> {
	/** The elements as [outer, reduced, inner], contiguous. */
	dense: Tensor<D>;
	/** Its extents. */
	extents: Collapsed;
	/** Takes a tensor of as many elements in the order of `dense` to the shape of the input. */
	restore: <E extends DType>(flat: Tensor<E>) => Tensor<E>;
}

/** The lines of `x`: its own elements if the reduced axes lie side by side, else a copy in which they come last. */
export function linesOf<D extends DType>(
	x: Tensor<D>,
	{ from, isReduced, count }: Reduction,
): Lines<D> {
	const runs = runsOf(from, isReduced);
	if (runs.filter(({ reduced }) => reduced).length <= 1) {
		const at = runs.findIndex(({ reduced }) => reduced), last = at < 0 ? runs.length : at;
		const product = (part: typeof runs) =>
			part.reduce((product, { extent }) => product * extent, 1);
		const extents = {
			outer: product(runs.slice(0, last)),
			reduced: count,
			inner: product(runs.slice(last + 1)),
		};
		return { dense: contiguous(x), extents, restore: (flat) => flat.reshape(from) };
	}
	const axes = [...from.keys()];
	const order = [...axes.filter((axis) => !isReduced(axis)), ...axes.filter(isReduced)];
	const shape = order.map((axis) => from[axis]!), back = axes.map((axis) => order.indexOf(axis));
	return {
		dense: contiguous(x.permute(order)),
		extents: { outer: count === 0 ? 0 : x.size / count, reduced: count, inner: 1 },
		restore: (flat) => flat.reshape(shape).permute(back),
	};
}

/** `x` with an axis and the last one exchanged; itself if they are the same. */
export function lastTo<D extends DType>(x: Tensor<D>, axis: number): Tensor<D> {
	return axis === x.shape.length - 1 ? x : transpose(x, axis, -1);
}
