// OPT: learned positions that begin at row 2 of their table, ReLU; the 350m model norms after each sum, and embeds
// tokens in fewer dimensions.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family } from "../family.ts";
import { readActivation, readSizes, requireSettings } from "./settings.ts";

/** Rows of the table of positions before the first one. */
const OFFSET = 2;

/** OPT in Hugging Face's format. */
export const optFamily: Family = {
	modelTypes: ["opt"],
	prefix: "model.",
	ignored: /(^|\.)lm_head\.weight$/,
	config(json): TransformerConfig {
		const sizes = readSizes(json, 2048), { hiddenSize } = sizes;
		const width = json.whole("word_embed_proj_dim", hiddenSize);
		const pre = json.boolean("do_layer_norm_before", true);
		const bias = json.boolean("enable_bias", true);
		requireSettings(json, ["tie_word_embeddings", "layer_norm_elementwise_affine"]);
		return checkConfig({
			...sizes,
			family: "opt",
			intermediateSize: json.whole("ffn_dim"),
			embedding: width === hiddenSize ? {} : { width },
			positions: { kind: "learned" },
			norm: {
				kind: "layer",
				epsilon: 1e-5,
				bias: true,
				placement: pre ? "pre" : "post",
				final: pre && !json.boolean("_remove_final_layer_norm", false),
			},
			block: "sequential",
			mlpNorm: true,
			attention: { causal: true, bias, outputBias: bias },
			mlp: { kind: "plain", activation: readActivation(json, "activation_function", "relu"), bias },
			head: { kind: "tied", bias: false },
		}, (problem) => json.error(problem));
	},
	sources: ({ contextLength, hiddenSize }) => ({
		"embed": "decoder.embed_tokens",
		"embed.projection": "decoder.project_in",
		"positions.weight": {
			tensor: "decoder.embed_positions.weight",
			shape: [contextLength + OFFSET, hiddenSize],
			view: (table) => table.slice(OFFSET),
		},
		"norm": "decoder.final_layer_norm",
		"head.projection": "decoder.project_out",
		"layers.*.attn.norm": "decoder.layers.*.self_attn_layer_norm",
		"layers.*.attn.qkv": ["q", "k", "v"].map((part) => `decoder.layers.*.self_attn.${part}_proj`),
		"layers.*.attn.output": "decoder.layers.*.self_attn.out_proj",
		"layers.*.mlp.norm": "decoder.layers.*.final_layer_norm",
		"layers.*.mlp.up": "decoder.layers.*.fc1",
		"layers.*.mlp.down": "decoder.layers.*.fc2",
	}),
};
