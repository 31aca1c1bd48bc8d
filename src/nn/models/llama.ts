// The LLaMA family: RMSNorm, rotary positions, grouped-query attention, SwiGLU. TinyLLaMA, SmolLM2 and LLaMA 1 to
// 3 are of it; Mistral sees a window of keys, and Qwen2 has biases.

import type { ConfigJson } from "../../formats/config_json.ts";
import type { GgufFile } from "../../formats/gguf.ts";
import { type BuildOptions, buildTransformer } from "../build.ts";
import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily, Sources, StoredPart } from "../family.ts";
import type { Transformer } from "../transformer.ts";
import { rotaryFactors } from "../rotary_scaling.ts";
import { GGUF_NAMES, ggufRotary, ggufSizes } from "./gguf_settings.ts";

/** What all of the family have in common. */
const SHAPE = {
	embedding: {},
	block: "sequential",
	mlpNorm: true,
} as const;

/** Where LLaMA's files have each parameter. */
export const LLAMA_NAMES = {
	"embed": "model.embed_tokens",
	"norm": "model.norm",
	"head": "lm_head",
	"layers.*.attn.norm": "model.layers.*.input_layernorm",
	"layers.*.attn.qkv": ["q", "k", "v"].map((part) => `model.layers.*.self_attn.${part}_proj`),
	"layers.*.attn.output": "model.layers.*.self_attn.o_proj",
	"layers.*.mlp.norm": "model.layers.*.post_attention_layernorm",
	"layers.*.mlp.gate_up": ["gate", "up"].map((part) => `model.layers.*.mlp.${part}_proj`),
	"layers.*.mlp.down": "model.layers.*.mlp.down_proj",
} satisfies Sources;

/** Reads the configuration of a model with LLaMA's layers. */
export function readLlama(json: ConfigJson): TransformerConfig {
	const family = json.string("model_type");
	const hiddenSize = json.whole("hidden_size"), heads = json.whole("num_attention_heads");
	const headDimension = json.whole("head_dim", hiddenSize / heads);
	const activation = json.string("hidden_act", "silu");
	if (activation !== "silu") throw json.error(`its "hidden_act" is "${activation}", not "silu"`);
	const bias = json.boolean("attention_bias", family === "qwen2");
	const windowed = family === "mistral" || (family === "qwen2" && usesWindow(json));
	return checkConfig({
		...SHAPE,
		family,
		layers: json.whole("num_hidden_layers"),
		hiddenSize,
		intermediateSize: json.whole("intermediate_size"),
		heads,
		keyValueHeads: json.whole("num_key_value_heads", heads),
		headDimension,
		vocabularySize: json.whole("vocab_size"),
		contextLength: json.whole("max_position_embeddings", 2048),
		positions: {
			kind: "rotary",
			dimensions: headDimension,
			...rotaryFactors(json, headDimension),
		},
		norm: {
			kind: "rms",
			epsilon: json.number("rms_norm_eps", 1e-6),
			bias: false,
			placement: "pre",
			final: true,
		},
		attention: {
			causal: true,
			...windowed && json.has("sliding_window") && { window: json.whole("sliding_window") },
			bias,
			outputBias: bias && family === "llama",
		},
		mlp: { kind: "gated", activation, bias: json.boolean("mlp_bias", false) },
		head: { kind: json.boolean("tie_word_embeddings", false) ? "tied" : "own", bias: false },
	}, (problem) => json.error(problem));
}

/** Whether the layers of a Qwen2 model see a window of keys: those from the one it names on do, if it says so at all. */
function usesWindow(json: ConfigJson): boolean {
	if (!json.boolean("use_sliding_window", false)) return false;
	const first = json.whole("max_window_layers", 28);
	if (first === 0 || first >= json.whole("num_hidden_layers")) return first === 0;
	throw json.error(
		`its "max_window_layers" is ${first}: a window for some layers and not for others is not supported`,
	);
}

/** LLaMA, Mistral and Qwen2 in Hugging Face's format. */
export const llamaFamily: Family = {
	modelTypes: ["llama", "mistral", "qwen2"],
	ignored: /rotary_emb\.inv_freq$/,
	config: readLlama,
	settings: (config) => ({
		architectures: ["LlamaForCausalLM"],
		model_type: "llama",
		num_hidden_layers: config.layers,
		hidden_size: config.hiddenSize,
		intermediate_size: config.intermediateSize,
		num_attention_heads: config.heads,
		num_key_value_heads: config.keyValueHeads,
		head_dim: config.headDimension,
		vocab_size: config.vocabularySize,
		max_position_embeddings: config.contextLength,
		rms_norm_eps: config.norm.epsilon,
		rope_theta: config.positions.kind === "rotary" ? config.positions.base : 10000,
		hidden_act: "silu",
		tie_word_embeddings: config.head.kind === "tied",
	}),
	sources: () => LLAMA_NAMES,
};

/** Where GGUF files have what both architectures have. */
const GGUF_SOURCES = {
	...GGUF_NAMES,
	"layers.*.mlp.gate_up": ["blk.*.ffn_gate", "blk.*.ffn_up"],
	"layers.*.mlp.router": "blk.*.ffn_gate_inp",
} satisfies Sources;

function ggufConfig(file: GgufFile): TransformerConfig {
	const family = file.string("general.architecture"), sizes = ggufSizes(file);
	const experts = file.optionalNumber(`${family}.expert_count`) ?? 0;
	const positions = ggufRotary(file, sizes.headDimension);
	const bias = file.tensors.has("blk.0.attn_q.bias");
	const config = checkConfig({
		...SHAPE,
		...sizes,
		family,
		positions,
		norm: {
			kind: "rms",
			epsilon: file.number(`${family}.attention.layer_norm_rms_epsilon`),
			bias: false,
			placement: "pre",
			final: true,
		},
		attention: { causal: true, bias, outputBias: file.tensors.has("blk.0.attn_output.bias") },
		mlp: {
			kind: "gated",
			activation: "silu",
			bias: false,
			...experts > 0 &&
				{ experts: { count: experts, perToken: file.number(`${family}.expert_used_count`) } },
		},
	}, (problem) => file.error(problem));
	if (positions.dimensions !== sizes.headDimension) {
		throw file.error(
			`it rotates ${positions.dimensions} of ${sizes.headDimension} features of a head; only all can be`,
		);
	}
	return config;
}

/** LLaMA, Mistral and Mixtral in GGUF's format, where rotary pairs lie side by side. */
export const llamaGguf: GgufFamily = {
	architecture: "llama",
	ignored: /^rope_freqs\.weight$/,
	config: ggufConfig,
	sources({ heads, keyValueHeads, headDimension: d, hiddenSize: H, intermediateSize: I, mlp }) {
		const halves = (name: string, count: number, columns: number[] = []): StoredPart => ({
			tensor: `blk.*.${name}`,
			shape: [count * d, ...columns],
			view: (pairs) => pairs.reshape([count, d / 2, 2, ...columns]).transpose(1, 2),
		});
		const count = mlp.experts?.count ?? 0;
		const expert = (name: string, shape: [number, number]): StoredPart => ({
			tensor: `blk.*.ffn_${name}_exps.weight`,
			shape: [count, ...shape],
			stacked: true,
			view: (one) => one,
		});
		return {
			...GGUF_SOURCES,
			"layers.*.attn.qkv.weight": [
				halves("attn_q.weight", heads, [H]),
				halves("attn_k.weight", keyValueHeads, [H]),
				"blk.*.attn_v.weight",
			],
			"layers.*.attn.qkv.bias": [
				halves("attn_q.bias", heads),
				halves("attn_k.bias", keyValueHeads),
				"blk.*.attn_v.bias",
			],
			"layers.*.mlp.experts.*.gate_up.weight": [expert("gate", [I, H]), expert("up", [I, H])],
			"layers.*.mlp.experts.*.down.weight": expert("down", [H, I]),
		};
	},
};

/** Qwen2 in GGUF's format. */
export const qwen2Gguf: GgufFamily = {
	architecture: "qwen2",
	ignored: /^rope_freqs\.weight$/,
	config: ggufConfig,
	sources: () => ({
		...GGUF_SOURCES,
		"layers.*.attn.qkv": ["q", "k", "v"].map((part) => `blk.*.attn_${part}`),
	}),
};

/** Options of {@linkcode llama}. */
export interface LlamaOptions extends BuildOptions {
	/** L @default {12} */
	layers?: number;
	/** n @default {12} */
	heads?: number;
	/** Key-value heads. @default {1} */
	keyValueHeads?: number;
	/** H @default {768} */
	hiddenSize?: number;
	/** I @default {2048} */
	intermediateSize?: number;
	/** V @default {32000} */
	vocabularySize?: number;
	/** Longest sequence. @default {2048} */
	contextLength?: number;
	/** θ of the rotary positions. @default {10000} */
	rotaryBase?: number;
	/** Whether the output matrix is the embedding. @default {false} */
	tied?: boolean;
}

/**
 * Builds a LLaMA as TinyLLaMA-120M is: weights N(0, 2 / (5 · inputs)), down projections N(0, 1 / (inputs · L²)). With
 * its defaults it has 121,129,728 parameters.
 *
 * @throws {RangeError} if the numbers do not go together
 */
export function llama({
	layers = 12,
	heads = 12,
	keyValueHeads = 1,
	hiddenSize = 768,
	intermediateSize = 2048,
	vocabularySize = 32000,
	contextLength = 2048,
	rotaryBase = 10000,
	tied = false,
	...options
}: LlamaOptions = {}): Promise<Transformer> {
	const headDimension = hiddenSize / heads;
	return buildTransformer(
		{
			...SHAPE,
			family: "llama",
			layers,
			heads,
			keyValueHeads,
			hiddenSize,
			headDimension,
			intermediateSize,
			vocabularySize,
			contextLength,
			positions: { kind: "rotary", base: rotaryBase, dimensions: headDimension },
			norm: { kind: "rms", epsilon: 1e-5, bias: false, placement: "pre", final: true },
			attention: { causal: true, bias: false, outputBias: false },
			mlp: { kind: "gated", activation: "silu", bias: false },
			head: { kind: tied ? "tied" : "own", bias: false },
		},
		options,
		({ name, shape, initialize }) => {
			if (shape.length < 2 || !("normal" in initialize)) return initialize;
			const inputs = shape[1]!;
			return {
				normal: name.endsWith("mlp.down.weight")
					? 1 / Math.sqrt(inputs) / layers
					: Math.sqrt(2 / (5 * inputs)),
			};
		},
	);
}
