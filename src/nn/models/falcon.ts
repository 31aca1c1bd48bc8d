// Falcon: attention and MLP side by side; one key-value head (7B), groups (40B, 11B), or one a query head with ALiBi
// (RW).

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily } from "../family.ts";
import { rotaryFactors } from "../rotary_scaling.ts";
import { readActivation, readLayerNorm, readSizes } from "./settings.ts";
import { groupedParts } from "./fused.ts";
import { GGUF_NAMES, ggufLayerNorm, ggufRotary, ggufSizes } from "./gguf_settings.ts";

/** Falcon in Hugging Face's format. */
export const falconFamily: Family = {
	modelTypes: ["falcon"],
	ignored: /^lm_head\.weight$/,
	config(json): TransformerConfig {
		const sizes = readSizes(json, 2048), { hiddenSize, heads, headDimension } = sizes;
		const bias = json.boolean("bias", false);
		const grouped = json.boolean("new_decoder_architecture", false);
		const keyValueHeads = grouped
			? json.whole("num_kv_heads", heads)
			: json.boolean("multi_query", true)
			? 1
			: heads;
		const parallel = grouped || json.boolean("parallel_attn", true);
		return checkConfig({
			...sizes,
			family: "falcon",
			intermediateSize: json.whole("ffn_hidden_size", 4 * hiddenSize),
			keyValueHeads,
			positions: json.boolean("alibi", false)
				? { kind: "alibi", maximum: 8, scaled: true }
				: { kind: "rotary", dimensions: headDimension, ...rotaryFactors(json, headDimension) },
			norm: readLayerNorm(json, "layer_norm_epsilon"),
			block: parallel ? "parallel" : "sequential",
			mlpNorm: !parallel || (grouped && json.whole("num_ln_in_parallel_attn", 2) === 2),
			attention: { causal: true, bias, outputBias: bias },
			mlp: { kind: "plain", activation: readActivation(json, "activation", "gelu"), bias },
			head: { kind: json.boolean("tie_word_embeddings", true) ? "tied" : "own", bias: false },
		}, (problem) => json.error(problem));
	},
	sources({ heads, keyValueHeads, headDimension: d, hiddenSize, block, mlpNorm }) {
		const layer = "transformer.h.*", fused = `${layer}.self_attention.query_key_value`;
		const rows = { groups: keyValueHeads, group: heads / keyValueHeads, d };
		const two = block === "parallel" && mlpNorm;
		return {
			"embed": "transformer.word_embeddings",
			"norm": "transformer.ln_f",
			"head": "lm_head",
			"layers.*.attn.norm": two ? `${layer}.ln_attn` : `${layer}.input_layernorm`,
			"layers.*.attn.qkv.weight": groupedParts(`${fused}.weight`, { ...rows, width: hiddenSize }),
			"layers.*.attn.qkv.bias": groupedParts(`${fused}.bias`, rows),
			"layers.*.attn.output": `${layer}.self_attention.dense`,
			"layers.*.mlp.norm": two ? `${layer}.ln_mlp` : `${layer}.post_attention_layernorm`,
			"layers.*.mlp.up": `${layer}.mlp.dense_h_to_4h`,
			"layers.*.mlp.down": `${layer}.mlp.dense_4h_to_h`,
		};
	},
};

/** Falcon with rotary positions in GGUF's format, which has queries, keys and values one below the other. */
export const falconGguf: GgufFamily = {
	architecture: "falcon",
	config(file) {
		const sizes = ggufSizes(file);
		return checkConfig({
			...sizes,
			family: "falcon",
			positions: ggufRotary(file, sizes.headDimension),
			norm: ggufLayerNorm(file),
			block: "parallel",
			mlpNorm: file.tensors.has("blk.0.attn_norm_2.weight"),
			attention: { causal: true, bias: false, outputBias: false },
			mlp: { kind: "plain", activation: "gelu", bias: false },
		}, (problem) => file.error(problem));
	},
	sources: ({ mlpNorm }) => ({
		...GGUF_NAMES,
		"layers.*.attn.norm": mlpNorm ? "blk.*.attn_norm_2" : "blk.*.attn_norm",
		"layers.*.attn.qkv": "blk.*.attn_qkv",
		"layers.*.mlp.norm": "blk.*.attn_norm",
	}),
};
