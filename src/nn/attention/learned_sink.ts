// Attention with a learned sink.

import { scope } from "../../tensor/scope.ts";
import type { Attention } from "./attention.ts";
import { beside } from "./beside.ts";
import { parameter } from "./rows.ts";

/**
 * Softmax over the keys and a learned logit of each head without a key, `e^z_ij / (e^s + Σ_j e^z_ij)` (OpenAI,
 * gpt-oss, 2025). It starts at 0, where it is `softmaxN` with n = 1.
 */
export function learnedSink(): Attention {
	return {
		name: "learned-sink",
		parameters: ({ heads }) => [
			{ name: "sink", shape: [heads], initialize: { constant: 0 }, decay: false },
		],
		attend: (inputs, parameters) =>
			scope(() => beside(inputs, parameter<1>(parameters, "sink").reshape([-1, 1]))),
	};
}
