// Softmax attention as a value.

import { scope } from "../../tensor/scope.ts";
import type { Attention } from "./attention.ts";
import { observe } from "./rows.ts";
import { softmaxAttention } from "./softmax_attention.ts";

/**
 * Softmax attention, `o_i = Σ_j softmax_j(z_ij) v_j` with `z_ij = q_i·k_j / √d` (Vaswani et al., "Attention is all
 * you need", 2017): what Transformers have, and what forms systematic outliers.
 */
export function softmaxVariant(): Attention {
	return {
		name: "softmax",
		parameters: () => [],
		attend: (inputs) =>
			scope(() => {
				const { heads, cumulative, maps, ...options } = inputs;
				observe(inputs, null);
				return softmaxAttention(heads, { ...options, cumulative: maps ? undefined : cumulative });
			}),
	};
}
