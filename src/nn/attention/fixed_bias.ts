// Attention with a fixed bias.

import { add } from "../../tensor/arithmetic.ts";
import { scope } from "../../tensor/scope.ts";
import type { Attention } from "./attention.ts";
import { parameter, softmaxRows, toContext } from "./rows.ts";

/**
 * Softmax attention and a learned vector a head, the same for every token: `o_i + v'` ("Systematic outliers in
 * large language models", 2025, variant b).
 */
export function fixedBias(): Attention {
	return {
		name: "fixed-bias",
		parameters: ({ heads, headDimension }) => [
			{
				name: "value_bias",
				shape: [heads, headDimension],
				initialize: { constant: 0 },
				decay: false,
			},
		],
		attend: (inputs, parameters) =>
			scope(() => {
				const { context } = softmaxRows(inputs);
				const sum = add(context, parameter<2>(parameters, "value_bias"));
				return toContext(sum, inputs.heads.q.dtype);
			}),
	};
}
