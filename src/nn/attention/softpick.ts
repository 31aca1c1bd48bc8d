// Attention with a rectified softmax.

import { relu } from "../../tensor/activation.ts";
import { div, sub } from "../../tensor/arithmetic.ts";
import { max } from "../../tensor/extrema.ts";
import { causalMask } from "../../tensor/masks.ts";
import { scope } from "../../tensor/scope.ts";
import { sum } from "../../tensor/sums.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { abs, clamp, exp } from "../../tensor/unary.ts";
import type { Attention } from "./attention.ts";
import { composed } from "./composed.ts";
import { weightedAttention } from "./softmax_attention.ts";

/**
 * Softpick, `max(e^z_ij - 1, 0) / (Σ_j |e^z_ij - 1| + ε)`: rectified, so that a query may attend to nothing (Zuhri et
 * al., "Softpick: no attention sink, no massive activations with rectified softmax", 2025).
 */
export function softpick({ epsilon = 1e-8 }: { epsilon?: number } = {}): Attention {
	return {
		name: "softpick",
		parameters: () => [],
		attend: (inputs) =>
			scope(() => {
				const { heads, maps, ...options } = inputs;
				if (!maps) return weightedAttention(heads, options, ["softpick", epsilon]);
				return composed(inputs, (logits) => {
					// All terms divided by e^m, which changes nothing: m = max(0, z) of the row.
					const m = clamp(max(logits, -1, { keepDims: true }), { min: 0 }).detach();
					const one = exp(m.mul(-1));
					const terms = sub(exp(sub(logits, m)), one) as Tensor<"float32", 4>;
					const { q, k } = heads, { causal = true, window } = options;
					const sizes = abs(terms);
					const seen = causal
						? causalMask(q.shape[1], k.shape[1], {
							dtype: "float32",
							device: q.device,
							...window !== undefined && { window },
						})
						: null;
					// A hidden key's term is -1, not 0.
					const counted = seen
						? sizes.mul(exp(seen).reshape([seen.shape[0], 1, seen.shape[1]]))
						: sizes;
					const divisor = sum(counted, -1, { keepDims: true }).add(one.mul(epsilon));
					return div(relu(terms), divisor) as Tensor<"float32", 4>;
				});
			}),
	};
}
