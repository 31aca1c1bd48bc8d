// The largest and smallest elements along axes, where they are, and whether any or all elements are true.

import { defineOp } from "./autograd/define_op.ts";
import {
  type Axes,
  linesOf,
  type ReducedRank,
  type ReduceOptions,
  type Reduction,
  reductionOf,
  refuseNone,
} from "./axes.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { inType, toFloat32 } from "./precision.ts";
import { partsOf, reduceAxes, reduceMiddle, shaped, spread } from "./reduce.ts";
import { Tensor } from "./tensor.ts";

type Extremum = "max" | "min";

function extremum(x: Tensor<FloatType>, name: Extremum, reduction: Reduction) {
  const values = reduceAxes(name, contiguous(x), reduction.isReduced);
  return {
    result: shaped(inType(values, x.dtype), reduction.shape),
    inputs: [x],
    saved: [x, values] as const,
    backward: (g: Tensor<FloatType>, [x, b]: readonly [Tensor<FloatType>, Tensor<"float32">]) => {
      const { dense, extents, restore } = linesOf(x, reduction);
      const a = reduceMiddle("count", dense, extents, b);
      return [restore(spread("equal", dense, extents, toFloat32(g), { a, b }))];
    },
  };
}

const maxOp = defineOp("max", extremum), minOp = defineOp("min", extremum);

/**
 * The largest element over axes; NaN if there is one. The gradient is shared by the elements that are equal to it.
 *
 * @param axes by default all
 * @throws {RangeError} if there is no element
 */
export function max<
  D extends FloatType,
  R extends number,
  const A extends Axes | undefined = undefined,
  K extends boolean = false,
>(x: Tensor<D, R>, axes?: A, options: ReduceOptions<K> = {}): Tensor<D, ReducedRank<R, A, K>> {
  const reduction = reductionOf("max", x, axes, options);
  refuseNone("max", reduction);
  return maxOp(x, "max", reduction) as Tensor as Tensor<D, ReducedRank<R, A, K>>;
}

/** The smallest element over axes, as {@linkcode max} is the largest. */
export function min<
  D extends FloatType,
  R extends number,
  const A extends Axes | undefined = undefined,
  K extends boolean = false,
>(x: Tensor<D, R>, axes?: A, options: ReduceOptions<K> = {}): Tensor<D, ReducedRank<R, A, K>> {
  const reduction = reductionOf("min", x, axes, options);
  refuseNone("min", reduction);
  return minOp(x, "min", reduction) as Tensor as Tensor<D, ReducedRank<R, A, K>>;
}

const whereOp = defineOp("argmax", (x: Tensor<FloatType>, name: Extremum, reduction: Reduction) => {
  const { dense, extents } = linesOf(x, reduction), { outer, reduced, inner } = extents;
  const values = reduceMiddle(name, dense, extents), parts = partsOf(extents);
  const index = Tensor.empty(x.device, "int32", [outer * inner]);
  if (index.size > 0) {
    x.device.fill(index.pointer, 0x7f, index.byteLength); // more than any index
    const sizes = inner === 1 ? [outer, reduced] : [outer, reduced, inner];
    x.device.kernel(`find_${inner === 1 ? "rows" : "columns"}_${x.dtype}`).overRows(
      outer * parts * Math.ceil(inner / 64),
      index.pointer,
      dense.pointer,
      values.pointer,
      ...sizes,
      parts,
    );
  }
  return { result: shaped(index, reduction.shape), inputs: [], backward: () => [] };
});

/**
 * Where the largest element is along an axis: the first of equal ones, and the first NaN if there is one.
 *
 * @param axis by default the elements are taken in row-major order, as one line
 * @returns indices
 * @throws {RangeError} if there is no element
 */
export function argmax<
  R extends number,
  A extends number | undefined = undefined,
  K extends boolean = false,
>(
  x: Tensor<FloatType, R>,
  axis?: A,
  options: ReduceOptions<K> = {},
): Tensor<"int32", ReducedRank<R, A, K>> {
  const reduction = reductionOf("argmax", x, axis, options);
  refuseNone("argmax", reduction);
  return whereOp(x, "max", reduction) as Tensor<"int32", ReducedRank<R, A, K>>;
}

/** Where the smallest element is along an axis, as {@linkcode argmax} says where the largest is. */
export function argmin<
  R extends number,
  A extends number | undefined = undefined,
  K extends boolean = false,
>(
  x: Tensor<FloatType, R>,
  axis?: A,
  options: ReduceOptions<K> = {},
): Tensor<"int32", ReducedRank<R, A, K>> {
  const reduction = reductionOf("argmin", x, axis, options);
  refuseNone("argmin", reduction);
  return whereOp(x, "min", reduction) as Tensor<"int32", ReducedRank<R, A, K>>;
}

const truthOp = defineOp("any", (x: Tensor<"uint8">, name: string, reduction: Reduction) => ({
  result: shaped(reduceAxes<"uint8">(name, contiguous(x), reduction.isReduced), reduction.shape),
  inputs: [],
  backward: () => [],
}));

/** Whether any element over axes differs from 0, as 0 or 1; of no elements it is 0. */
export function any<
  R extends number,
  const A extends Axes | undefined = undefined,
  K extends boolean = false,
>(
  x: Tensor<"uint8", R>,
  axes?: A,
  options: ReduceOptions<K> = {},
): Tensor<"uint8", ReducedRank<R, A, K>> {
  return truthOp(x, "any", reductionOf("any", x, axes, options)) as Tensor<
    "uint8",
    ReducedRank<R, A, K>
  >;
}

/** Whether all elements over axes differ from 0, as 0 or 1; of no elements it is 1. */
export function all<
  R extends number,
  const A extends Axes | undefined = undefined,
  K extends boolean = false,
>(
  x: Tensor<"uint8", R>,
  axes?: A,
  options: ReduceOptions<K> = {},
): Tensor<"uint8", ReducedRank<R, A, K>> {
  return truthOp(x, "all", reductionOf("all", x, axes, options)) as Tensor<
    "uint8",
    ReducedRank<R, A, K>
  >;
}
