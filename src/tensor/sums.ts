// Sums, means and products over axes, and cumulative sums.

import { defineOp } from "./autograd/define_op.ts";
import { linesOf, type OverAxes, overAxes, type Reduction } from "./axes.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { inType, toFloat32 } from "./precision.ts";
import { reduceAxes, reduceMiddle, scaled, shaped, spread } from "./reduce.ts";
import { elements } from "./strides.ts";
import { Tensor } from "./tensor.ts";
import { resolveAxis } from "./views.ts";

/** scale · Σ x */
function scaledSum(
	x: Tensor<FloatType>,
	{ from, isReduced, kept, shape }: Reduction,
	scale: number,
) {
	const { dtype } = x;
	const sums = reduceAxes("sum", contiguous(x), isReduced, scale);
	return {
		result: shaped(inType(sums, dtype), shape),
		inputs: [x],
		backward: (g: Tensor<FloatType>) => {
			const each = scale === 1 ? g : inType(scaled(contiguous(g), scale), dtype);
			return [each.reshape(kept).expand(from)];
		},
	};
}

const sumOp = defineOp("sum", scaledSum);
const meanOp = defineOp("mean", scaledSum);

/**
 * Σ x over axes. Summed in float32, in a fixed order; of no elements it is 0.
 *
 * @param x float32 or bfloat16, of any shape
 * @param axes by default all
 * @example Of all elements, and of each row
 * ```ts
 * import { Device, sum, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using x = Tensor.from<"float32", 2>(device, "float32", [2, 3], [1, 2, 3, 4, 5, 6]);
 * using all = sum(x), rows = sum(x, 1);
 * console.log(all.dataSync(), rows.dataSync()); // Float32Array [21] Float32Array [6, 15]
 * ```
 */
export const sum: OverAxes<FloatType> = overAxes(
	"sum",
	(x: Tensor<FloatType>, axes) => sumOp(x, axes, 1),
);

/** The mean of x over axes, as {@linkcode sum} is its sum; of no elements it is NaN. */
export const mean: OverAxes<FloatType> = overAxes(
	"mean",
	(x: Tensor<FloatType>, axes) => meanOp(x, axes, 1 / axes.count),
);

const prodOp = defineOp("prod", (x: Tensor<"float32">, reduction: Reduction) => ({
	result: shaped(reduceAxes("prod", contiguous(x), reduction.isReduced), reduction.shape),
	inputs: [x],
	saved: [x],
	backward: (g, [x]) => {
		const { dense, extents, restore } = linesOf(x, reduction);
		const a = reduceMiddle("prod_nonzero", dense, extents);
		const b = reduceMiddle("count", dense, extents); // of zeros
		return [restore(spread("factor", dense, extents, toFloat32(g as Tensor<"float32">), { a, b }))];
	},
}));

/** The product of x over axes; of no elements it is 1. The gradient is right where elements are 0, too. */
export const prod: OverAxes<"float32"> = overAxes("prod", prodOp);

function scan(x: Tensor<"float32">, axis: number, reverse: boolean): Tensor<"float32"> {
	const { shape } = x, from = contiguous(x);
	const outer = elements(shape.slice(0, axis)), inner = elements(shape.slice(axis + 1));
	const y = Tensor.empty(x.device, "float32", shape);
	if (y.size === 0) return y;
	const sizes = inner === 1 ? [outer, shape[axis]!] : [outer, shape[axis]!, inner];
	x.device.kernel(inner === 1 ? "scan_rows" : "scan_columns").overRows(
		outer * Math.ceil(inner / 32),
		y.pointer,
		from.pointer,
		...sizes,
		reverse ? 1 : 0,
	);
	return y;
}

const cumulativeSumOp = defineOp("cumulativeSum", (x: Tensor<"float32">, axis: number) => ({
	result: scan(x, axis, false),
	inputs: [x],
	backward: (g) => [scan(g, axis, true)],
}));

/** The sums of the elements up to each one along an axis: y[i] = x[0] + … + x[i]. */
export function cumulativeSum<R extends number>(
	x: Tensor<"float32", R>,
	axis: number,
): Tensor<"float32", R> {
	const along = resolveAxis("cumulativeSum", x.shape, axis);
	return cumulativeSumOp(x, along) as Tensor<"float32", R>;
}
