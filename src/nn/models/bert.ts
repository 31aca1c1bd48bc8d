// BERT: an encoder whose tokens see each other both ways, with norms after each sum. It gives hidden states only.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily } from "../family.ts";
import { GGUF_NAMES, ggufLayerNorm, ggufQueries, ggufSizes } from "./gguf_settings.ts";
import { readActivation, readSizes, refuseSettings } from "./settings.ts";

/** BERT in Hugging Face's format; what comes after the encoder is left out. */
export const bertFamily: Family = {
	modelTypes: ["bert"],
	prefix: "bert.",
	ignored: /(^|\.)(pooler|cls|classifier)\.|position_ids$/,
	// As TensorFlow calls them, which BERT was first trained with.
	older: (name) =>
		name.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(
			/LayerNorm\.bias$/,
			"LayerNorm.beta",
		),
	config(json): TransformerConfig {
		const positions = json.string("position_embedding_type", "absolute");
		if (positions !== "absolute") {
			throw json.error(`its "position_embedding_type" is "${positions}", not "absolute"`);
		}
		refuseSettings(json, ["is_decoder", "add_cross_attention"]);
		return checkConfig({
			...readSizes(json, 512),
			family: "bert",
			intermediateSize: json.whole("intermediate_size"),
			embedding: { norm: true, types: json.whole("type_vocab_size", 2) },
			positions: { kind: "learned" },
			norm: {
				kind: "layer",
				epsilon: json.number("layer_norm_eps", 1e-12),
				bias: true,
				placement: "post",
				final: false,
			},
			block: "sequential",
			mlpNorm: true,
			attention: { causal: false, bias: true, outputBias: true },
			mlp: { kind: "plain", activation: readActivation(json, "hidden_act", "gelu"), bias: true },
			head: { kind: "none", bias: false },
		}, (problem) => json.error(problem));
	},
	sources() {
		const layer = "encoder.layer.*";
		return {
			"embed": "embeddings.word_embeddings",
			"embed.types": "embeddings.token_type_embeddings",
			"embed.norm": "embeddings.LayerNorm",
			"positions": "embeddings.position_embeddings",
			"layers.*.attn.norm": `${layer}.attention.output.LayerNorm`,
			"layers.*.attn.qkv": ["query", "key", "value"]
				.map((part) => `${layer}.attention.self.${part}`),
			"layers.*.attn.output": `${layer}.attention.output.dense`,
			"layers.*.mlp.norm": `${layer}.output.LayerNorm`,
			"layers.*.mlp.up": `${layer}.intermediate.dense`,
			"layers.*.mlp.down": `${layer}.output.dense`,
		};
	},
};

/** BERT in GGUF's format. */
export const bertGguf: GgufFamily = {
	architecture: "bert",
	ignored: /^cls\./,
	config(file) {
		if (file.optionalBoolean("bert.attention.causal")) {
			throw file.error('its "bert.attention.causal" is true: that of encoders is false');
		}
		return checkConfig({
			...ggufSizes(file),
			family: "bert",
			embedding: { norm: true, types: file.tensor("token_types.weight").shape[0]! },
			positions: { kind: "learned" },
			norm: { ...ggufLayerNorm(file), placement: "post", final: false },
			block: "sequential",
			mlpNorm: true,
			attention: { causal: false, bias: true, outputBias: true },
			mlp: { kind: "plain", activation: "gelu", bias: true },
			head: { kind: "none", bias: false },
		}, (problem) => file.error(problem));
	},
	sources: (_, file) => ({
		...GGUF_NAMES,
		"embed.types": "token_types",
		"embed.norm": "token_embd_norm",
		"layers.*.attn.norm": "blk.*.attn_output_norm",
		"layers.*.attn.qkv": ggufQueries(file),
		"layers.*.mlp.norm": "blk.*.layer_output_norm",
	}),
};
