// GPT-NeoX and Pythia: attention and MLP side by side after a norm each, rotary positions for part of a head.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily } from "../family.ts";
import { rotaryFactors } from "../rotary_scaling.ts";
import { readActivation, readLayerNorm, readSizes } from "./settings.ts";
import { groupedParts } from "./fused.ts";
import { GGUF_NAMES, ggufLayerNorm, ggufRotary, ggufSizes } from "./gguf_settings.ts";

/** GPT-NeoX in Hugging Face's format. */
export const gptNeoxFamily: Family = {
	modelTypes: ["gpt_neox"],
	ignored: /attention\.(rotary_emb\.inv_freq|masked_bias|bias)$/,
	config(json): TransformerConfig {
		const sizes = readSizes(json, 2048), { headDimension } = sizes;
		const bias = json.boolean("attention_bias", true);
		const parameters = json.object("rope_parameters");
		const share = parameters.number("partial_rotary_factor", json.number("rotary_pct", 0.25));
		const dimensions = Math.floor(share * headDimension);
		const { base, ...factors } = rotaryFactors(json, dimensions);
		return checkConfig({
			...sizes,
			family: "gpt_neox",
			intermediateSize: json.whole("intermediate_size"),
			positions: {
				kind: "rotary",
				dimensions,
				base: json.number("rotary_emb_base", base),
				...factors,
			},
			norm: readLayerNorm(json, "layer_norm_eps"),
			block: json.boolean("use_parallel_residual", true) ? "parallel" : "sequential",
			mlpNorm: true,
			attention: { causal: true, bias, outputBias: bias },
			mlp: { kind: "plain", activation: readActivation(json, "hidden_act", "gelu"), bias: true },
			head: { kind: json.boolean("tie_word_embeddings", false) ? "tied" : "own", bias: false },
		}, (problem) => json.error(problem));
	},
	sources({ heads, headDimension: d, hiddenSize }) {
		const layer = "gpt_neox.layers.*", fused = `${layer}.attention.query_key_value`;
		const rows = { groups: heads, group: 1, d };
		return {
			"embed": "gpt_neox.embed_in",
			"norm": "gpt_neox.final_layer_norm",
			"head": "embed_out",
			"layers.*.attn.norm": `${layer}.input_layernorm`,
			"layers.*.attn.qkv.weight": groupedParts(`${fused}.weight`, { ...rows, width: hiddenSize }),
			"layers.*.attn.qkv.bias": groupedParts(`${fused}.bias`, rows),
			"layers.*.attn.output": `${layer}.attention.dense`,
			"layers.*.mlp.norm": `${layer}.post_attention_layernorm`,
			"layers.*.mlp.up": `${layer}.mlp.dense_h_to_4h`,
			"layers.*.mlp.down": `${layer}.mlp.dense_4h_to_h`,
		};
	},
};

/** GPT-NeoX and Pythia in GGUF's format, which has queries, keys and values one below the other. */
export const gptNeoxGguf: GgufFamily = {
	architecture: "gptneox",
	config(file) {
		const sizes = ggufSizes(file);
		return checkConfig({
			...sizes,
			family: "gpt_neox",
			positions: ggufRotary(file, sizes.headDimension),
			norm: ggufLayerNorm(file),
			block: file.optionalBoolean("gptneox.use_parallel_residual") ?? true
				? "parallel"
				: "sequential",
			mlpNorm: true,
			attention: { causal: true, bias: true, outputBias: true },
			mlp: { kind: "plain", activation: "gelu", bias: true },
		}, (problem) => file.error(problem));
	},
	sources: () => ({ ...GGUF_NAMES, "layers.*.attn.qkv": "blk.*.attn_qkv" }),
};
