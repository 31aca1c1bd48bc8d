// Mixtral: LLaMA's layers with a mixture of experts for an MLP.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family } from "../family.ts";
import { LLAMA_NAMES, readLlama } from "./llama.ts";

const EXPERT = "model.layers.*.block_sparse_moe.experts.*";

/** Mixtral in Hugging Face's format. */
export const mixtralFamily: Family = {
	modelTypes: ["mixtral"],
	config(json): TransformerConfig {
		const config = readLlama(json);
		return checkConfig({
			...config,
			attention: {
				...config.attention,
				...json.has("sliding_window") && { window: json.whole("sliding_window") },
			},
			mlp: {
				...config.mlp,
				experts: {
					count: json.whole("num_local_experts", 8),
					perToken: json.whole("num_experts_per_tok", 2),
				},
			},
		}, (problem) => json.error(problem));
	},
	sources: () => ({
		...LLAMA_NAMES,
		"layers.*.mlp.router": "model.layers.*.block_sparse_moe.gate",
		"layers.*.mlp.experts.*.gate_up": [`${EXPERT}.w1`, `${EXPERT}.w3`],
		"layers.*.mlp.experts.*.down": `${EXPERT}.w2`,
	}),
};
