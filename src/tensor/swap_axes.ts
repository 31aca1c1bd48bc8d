// Exchange of axes, as attention needs it between tokens and heads.

import type { FloatType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";

/**
 * The two middle axes exchanged: y[a, c, b, d] = x[a, b, c, d].
 *
 * @param x [A, B, C, D]
 * @param dtype type of the result; float32 to bfloat16 rounds to nearest even
 * @returns [A, C, B, D]
 */
export function swapAxes<D extends FloatType>(
	x: Tensor<FloatType, 4>,
	dtype: D,
): Tensor<D, 4> {
	const [a, b, c, d] = x.shape;
	const y = Tensor.empty<D, 4>(x.device, dtype, [a, c, b, d]);
	x.device.kernel(`swap_axes_${x.dtype}_to_${dtype}`)
		.overRows(a * b * c, y.pointer, x.pointer, a, b, c, d);
	return y;
}
