// MPT: ALiBi, a fused projection of queries, keys and values, no biases.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily } from "../family.ts";
import { readLayerNorm, readSizes, refuseSettings, requireSettings } from "./settings.ts";
import { GGUF_NAMES, ggufLayerNorm, ggufSizes } from "./gguf_settings.ts";

/** MPT in Hugging Face's format. */
export const mptFamily: Family = {
	modelTypes: ["mpt"],
	ignored: /^lm_head\.weight$/,
	config(json): TransformerConfig {
		const sizes = readSizes(json, undefined, ["n_layers", "n_heads", "d_model", "max_seq_len"]);
		const attention = json.object("attn_config");
		requireSettings(attention, ["alibi"]);
		refuseSettings(attention, ["qk_ln", "prefix_lm"]);
		for (const [settings, key] of [[attention, "softmax_scale"], [json, "logit_scale"]] as const) {
			if (settings.has(key)) {
				throw json.error(`it has ${settings.nameOf(key)}, which is not supported`);
			}
		}
		const norm = json.string("norm_type", "low_precision_layernorm");
		if (!norm.endsWith("layernorm")) {
			throw json.error(`its "norm_type" is "${norm}", no layer norm`);
		}
		if (attention.string("attn_type", "multihead_attention") !== "multihead_attention") {
			throw json.error('its "attn_config.attn_type" must be "multihead_attention"');
		}
		requireSettings(json, ["no_bias", "tie_word_embeddings"]);
		return checkConfig({
			...sizes,
			family: "mpt",
			intermediateSize: json.whole("expansion_ratio", 4) * sizes.hiddenSize,
			positions: { kind: "alibi", maximum: attention.number("alibi_bias_max", 8) },
			norm: { ...readLayerNorm(json, "layer_norm_epsilon"), bias: false },
			block: "sequential",
			mlpNorm: true,
			attention: {
				causal: true,
				...attention.has("clip_qkv") && { clip: attention.number("clip_qkv") },
				bias: false,
				outputBias: false,
			},
			mlp: { kind: "plain", activation: "gelu", bias: false },
			head: { kind: "tied", bias: false },
		}, (problem) => json.error(problem));
	},
	sources: () => ({
		"embed": "transformer.wte",
		"norm": "transformer.norm_f",
		"layers.*.attn.norm": "transformer.blocks.*.norm_1",
		"layers.*.attn.qkv": "transformer.blocks.*.attn.Wqkv",
		"layers.*.attn.output": "transformer.blocks.*.attn.out_proj",
		"layers.*.mlp.norm": "transformer.blocks.*.norm_2",
		"layers.*.mlp.up": "transformer.blocks.*.ffn.up_proj",
		"layers.*.mlp.down": "transformer.blocks.*.ffn.down_proj",
	}),
};

/** MPT in GGUF's format. */
export const mptGguf: GgufFamily = {
	architecture: "mpt",
	config(file) {
		const clip = file.optionalNumber("mpt.attention.clamp_kqv") ?? 0;
		return checkConfig({
			...ggufSizes(file),
			family: "mpt",
			positions: { kind: "alibi", maximum: file.number("mpt.attention.max_alibi_bias") },
			norm: ggufLayerNorm(file, false),
			block: "sequential",
			mlpNorm: true,
			attention: { causal: true, ...clip > 0 && { clip }, bias: false, outputBias: false },
			mlp: { kind: "plain", activation: "gelu", bias: false },
		}, (problem) => file.error(problem));
	},
	sources: () => ({ ...GGUF_NAMES, "layers.*.attn.qkv": "blk.*.attn_qkv" }),
};
