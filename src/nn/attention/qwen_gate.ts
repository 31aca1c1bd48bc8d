// Attention with gated heads, or gated features of heads, without a bias.

import { scope } from "../../tensor/scope.ts";
import { sigmoid } from "../../tensor/unary.ts";
import type { Attention } from "./attention.ts";
import { matrix, project, scaled } from "./gates.ts";

/**
 * Gated attention with no bias, `σ(x Wᵀ) ∘ o`, one gate a head and token, or one for each of its features (Qiu et
 * al., "Gated attention for large language models: non-linearity, sparsity, and attention-sink-free", 2025).
 */
export function qwenGate({ elementwise = false }: { elementwise?: boolean } = {}): Attention {
	return {
		name: elementwise ? "qwen-gate-elementwise" : "qwen-gate",
		gated: true,
		parameters: ({ heads, headDimension, hiddenSize }) => [
			matrix("gate.weight", [heads * (elementwise ? headDimension : 1), hiddenSize]),
		],
		attend: (inputs, parameters) =>
			scope(() =>
				scaled(
					inputs,
					({ shape: [tokens, heads, d] }) =>
						sigmoid(project(inputs, parameters, "gate"))
							.reshape([tokens, heads, elementwise ? d : 1]),
				)
			),
	};
}
