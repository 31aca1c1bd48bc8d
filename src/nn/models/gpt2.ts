// GPT-2: layer norms with biases, learned positions, GELU. Its files keep matrices [in, out].

import type { ConfigJson } from "../../formats/config_json.ts";
import { type BuildOptions, buildTransformer } from "../build.ts";
import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily, StoredPart } from "../family.ts";
import { GGUF_NAMES, ggufLayerNorm, ggufSizes } from "./gguf_settings.ts";
import {
	readActivation,
	readLayerNorm,
	readSizes,
	refuseSettings,
	requireSettings,
} from "./settings.ts";
import type { Transformer } from "../transformer.ts";

/** GPT-2 in Hugging Face's format. */
export const gpt2Family: Family = {
	modelTypes: ["gpt2"],
	prefix: "transformer.",
	ignored: /attn\.(masked_)?bias$|^lm_head\.weight$/,
	config(json: ConfigJson): TransformerConfig {
		const sizes = readSizes(json, undefined, ["n_layer", "n_head", "n_embd", "n_positions"]);
		refuseSettings(json, ["scale_attn_by_inverse_layer_idx", "add_cross_attention"]);
		requireSettings(json, ["scale_attn_weights", "tie_word_embeddings"]);
		return checkConfig({
			...sizes,
			family: "gpt2",
			intermediateSize: json.whole("n_inner", 4 * sizes.hiddenSize),
			positions: { kind: "learned" },
			norm: readLayerNorm(json, "layer_norm_epsilon"),
			block: "sequential",
			mlpNorm: true,
			attention: { causal: true, bias: true, outputBias: true },
			mlp: {
				kind: "plain",
				activation: readActivation(json, "activation_function", "gelu_new"),
				bias: true,
			},
			head: { kind: "tied", bias: false },
		}, (problem) => json.error(problem));
	},
	settings: (config) => ({
		architectures: ["GPT2LMHeadModel"],
		model_type: "gpt2",
		n_layer: config.layers,
		n_head: config.heads,
		n_embd: config.hiddenSize,
		n_inner: config.intermediateSize,
		vocab_size: config.vocabularySize,
		n_positions: config.contextLength,
		activation_function: config.mlp.activation === "gelu" ? "gelu" : "gelu_new",
		layer_norm_epsilon: config.norm.epsilon,
		tie_word_embeddings: true,
	}),
	sources({ hiddenSize: H, intermediateSize: I }) {
		const transposed = (name: string, shape: readonly number[]): StoredPart => ({
			tensor: `h.*.${name}.weight`,
			shape,
			view: (stored) => stored.transpose(),
		});
		return {
			"embed": "wte",
			"positions": "wpe",
			"norm": "ln_f",
			"layers.*.attn.norm": "h.*.ln_1",
			"layers.*.attn.qkv.weight": transposed("attn.c_attn", [H, 3 * H]),
			"layers.*.attn.qkv.bias": "h.*.attn.c_attn.bias",
			"layers.*.attn.output.weight": transposed("attn.c_proj", [H, H]),
			"layers.*.attn.output.bias": "h.*.attn.c_proj.bias",
			"layers.*.mlp.norm": "h.*.ln_2",
			"layers.*.mlp.up.weight": transposed("mlp.c_fc", [H, I]),
			"layers.*.mlp.up.bias": "h.*.mlp.c_fc.bias",
			"layers.*.mlp.down.weight": transposed("mlp.c_proj", [I, H]),
			"layers.*.mlp.down.bias": "h.*.mlp.c_proj.bias",
		};
	},
};

/** GPT-2 in GGUF's format, which keeps matrices [out, in]. */
export const gpt2Gguf: GgufFamily = {
	architecture: "gpt2",
	config: (file) =>
		checkConfig({
			...ggufSizes(file),
			family: "gpt2",
			positions: { kind: "learned" },
			norm: ggufLayerNorm(file),
			block: "sequential",
			mlpNorm: true,
			attention: { causal: true, bias: true, outputBias: true },
			mlp: { kind: "plain", activation: "gelu_tanh", bias: true },
		}, (problem) => file.error(problem)),
	sources: () => ({ ...GGUF_NAMES, "layers.*.attn.qkv": "blk.*.attn_qkv" }),
};

/** GPT-2 as nanoGPT has it: exact GELU, and biases everywhere or nowhere. */
export function nanoGptConfig(
	{ layers, heads, hiddenSize, vocabularySize, contextLength, bias }:
		& Pick<
			TransformerConfig,
			"layers" | "heads" | "hiddenSize" | "vocabularySize" | "contextLength"
		>
		& { bias: boolean },
): TransformerConfig {
	return {
		family: "gpt2",
		layers,
		heads,
		keyValueHeads: heads,
		hiddenSize,
		headDimension: hiddenSize / heads,
		intermediateSize: 4 * hiddenSize,
		vocabularySize,
		contextLength,
		embedding: {},
		positions: { kind: "learned" },
		norm: { kind: "layer", epsilon: 1e-5, bias, placement: "pre", final: true },
		block: "sequential",
		mlpNorm: true,
		attention: { causal: true, bias, outputBias: bias },
		mlp: { kind: "plain", activation: "gelu", bias },
		head: { kind: "tied", bias: false },
	};
}

/** Options of {@linkcode gpt2}. */
export interface Gpt2Options extends BuildOptions {
	/** L @default {12} */
	layers?: number;
	/** n @default {12} */
	heads?: number;
	/** H; the MLP is four times as wide. @default {768} */
	hiddenSize?: number;
	/** V @default {50304, GPT-2's 50257 rounded up to a multiple of 64} */
	vocabularySize?: number;
	/** Longest sequence. @default {1024} */
	contextLength?: number;
	/** Whether projections and norms have biases. @default {false} */
	bias?: boolean;
	/** Whether the output matrix is the embedding. @default {true} */
	tied?: boolean;
}

/**
 * Builds GPT-2 as nanoGPT has it: exact GELU, no biases unless asked for, weights N(0, 0.02²), those that join the
 * residual stream N(0, 0.02² / 2L), biases 0 and gains 1. With its defaults it has 123,587,328 parameters beside the
 * positions.
 *
 * @throws {RangeError} if the numbers do not go together
 */
export function gpt2({
	layers = 12,
	heads = 12,
	hiddenSize = 768,
	vocabularySize = 50304,
	contextLength = 1024,
	bias = false,
	tied = true,
	...options
}: Gpt2Options = {}): Promise<Transformer> {
	const sizes = { layers, heads, hiddenSize, vocabularySize, contextLength, bias };
	const head = { kind: tied ? "tied" : "own", bias: false } as const;
	return buildTransformer({ ...nanoGptConfig(sizes), head }, options);
}
