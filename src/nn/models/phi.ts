// Phi-2: attention and MLP side by side after one layer norm, rotary positions for part of a head, biases everywhere.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily } from "../family.ts";
import { rotaryFactors } from "../rotary_scaling.ts";
import { readActivation, readLayerNorm, readSizes, refuseSettings } from "./settings.ts";
import { GGUF_NAMES, ggufLayerNorm, ggufQueries, ggufRotary, ggufSizes } from "./gguf_settings.ts";

/** Phi-1, 1.5 and 2 in Hugging Face's format. */
export const phiFamily: Family = {
	modelTypes: ["phi"],
	config(json): TransformerConfig {
		const sizes = readSizes(json, 2048);
		refuseSettings(json, ["qk_layernorm", "tie_word_embeddings"]);
		const parameters = json.object("rope_parameters");
		const share = parameters.number(
			"partial_rotary_factor",
			json.number("partial_rotary_factor", 0.5),
		);
		const dimensions = Math.floor(share * sizes.headDimension);
		return checkConfig({
			...sizes,
			family: "phi",
			intermediateSize: json.whole("intermediate_size"),
			keyValueHeads: json.whole("num_key_value_heads", sizes.heads),
			positions: { kind: "rotary", dimensions, ...rotaryFactors(json, dimensions) },
			norm: readLayerNorm(json, "layer_norm_eps"),
			block: "parallel",
			mlpNorm: false,
			attention: { causal: true, bias: true, outputBias: true },
			mlp: {
				kind: "plain",
				activation: readActivation(json, "hidden_act", "gelu_new"),
				bias: true,
			},
			head: { kind: "own", bias: true },
		}, (problem) => json.error(problem));
	},
	sources: () => ({
		"embed": "model.embed_tokens",
		"norm": "model.final_layernorm",
		"head": "lm_head",
		"layers.*.attn.norm": "model.layers.*.input_layernorm",
		"layers.*.attn.qkv": ["q", "k", "v"].map((part) => `model.layers.*.self_attn.${part}_proj`),
		"layers.*.attn.output": "model.layers.*.self_attn.dense",
		"layers.*.mlp.up": "model.layers.*.mlp.fc1",
		"layers.*.mlp.down": "model.layers.*.mlp.fc2",
	}),
};

/** Phi-1, 1.5 and 2 in GGUF's format. */
export const phiGguf: GgufFamily = {
	architecture: "phi2",
	config(file) {
		const sizes = ggufSizes(file);
		return checkConfig({
			...sizes,
			family: "phi",
			positions: ggufRotary(file, sizes.headDimension),
			norm: ggufLayerNorm(file),
			block: "parallel",
			mlpNorm: false,
			attention: { causal: true, bias: true, outputBias: true },
			mlp: { kind: "plain", activation: "gelu_tanh", bias: true },
		}, (problem) => file.error(problem));
	},
	sources: (_, file) => ({ ...GGUF_NAMES, "layers.*.attn.qkv": ggufQueries(file) }),
};
