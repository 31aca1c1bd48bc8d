// Attention with a clipped softmax.

import { scope } from "../../tensor/scope.ts";
import { softmax } from "../../tensor/softmax.ts";
import { clamp } from "../../tensor/unary.ts";
import type { Attention } from "./attention.ts";
import { composed } from "./composed.ts";
import { weightedAttention } from "./softmax_attention.ts";

/** Options of {@linkcode clippedSoftmax}. */
export interface ClippedSoftmaxOptions {
	/** γ = -alpha / T, T being the longest sequence that the model is made for. @default {12} */
	alpha?: number;
	/** The upper end of the stretch. @default {1} */
	high?: number;
}

/**
 * Clipped softmax, `clip((η - γ) softmax(z) + γ, 0, 1)` with γ = -α / T: small probabilities become 0 at finite logits
 * (Bondarenko et al., "Quantizable transformers: removing outliers by helping attention heads do nothing", 2023).
 *
 * @throws {RangeError} if alpha is negative, or high below 1
 */
export function clippedSoftmax(
	{ alpha = 12, high = 1 }: ClippedSoftmaxOptions = {},
): Attention {
	if (!(alpha >= 0 && high >= 1)) {
		throw new RangeError(
			`Cannot clip softmax with alpha ${alpha} and the upper end ${high}: they must be 0 and 1 or more`,
		);
	}
	return {
		name: "clipped-softmax",
		parameters: () => [],
		attend: (inputs) =>
			scope(() => {
				const { heads, maps, ...options } = inputs;
				const low = -alpha / (inputs.contextLength ?? heads.k.shape[1]);
				if (!maps) return weightedAttention(heads, options, ["clipped", high - low, low]);
				return composed(
					inputs,
					(logits) => clamp(softmax(logits).mul(high - low).add(low), { min: 0, max: 1 }),
				);
			}),
	};
}
