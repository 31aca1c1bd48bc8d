// Sigmoid attention as a value.

import { scope } from "../../tensor/scope.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { sigmoid } from "../../tensor/unary.ts";
import type { Attention, AttentionInputs } from "./attention.ts";
import { composed } from "./composed.ts";
import { weightedAttention } from "./softmax_attention.ts";

/** Options of {@linkcode sigmoidVariant}. */
export interface SigmoidOptions {
	/**
	 * What is added to logits: minus the logarithm of the longest sequence that the model is made for, of the keys of
	 * each call (which makes short texts another function than the trained one), of the keys that each query sees, or
	 * a number. @default {"context"}
	 */
	bias?: "context" | "call" | "query" | number;
}

/**
 * Sigmoid attention, `Σ_j σ(z_ij + b) v_j` with b = -log T: weights that do not sum to 1 (Ramapuram et al., "Theory,
 * analysis, and best practices for sigmoid self-attention", 2025; variant f of "Systematic outliers in large
 * language models", 2025).
 */
export function sigmoidVariant({ bias = "context" }: SigmoidOptions = {}): Attention {
	return {
		name: "sigmoid",
		parameters: () => [],
		attend: (inputs) =>
			scope(() => {
				const { heads, maps, ...options } = inputs, keys = heads.k.shape[1];
				const { contextLength = keys } = inputs;
				const length = bias === "context" ? contextLength : keys;
				const b = typeof bias === "number" ? bias : -Math.log(length);
				if (!maps && bias !== "query") return weightedAttention(heads, options, ["sigmoid", b]);
				return composed(inputs, (logits) => {
					if (bias !== "query") return sigmoid(logits.add(b));
					return sigmoid(logits.add(queryBias(inputs)));
				});
			}),
	};
}

/** -log of how many keys each query sees, [T, 1, 1]. */
function queryBias({ heads, causal = true, window = Infinity }: AttentionInputs) {
	const [, T] = heads.q.shape, S = heads.k.shape[1];
	const biases = Array.from(
		{ length: T },
		(_, i) => -Math.log(causal ? Math.min(window, S - T + i + 1) : S),
	);
	return Tensor.from<"float32", 3>(heads.q.device, "float32", [T, 1, 1], biases);
}
