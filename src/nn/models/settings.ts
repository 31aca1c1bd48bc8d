// What several families read alike: sizes, layer norms, Hugging Face's names of activation functions, switches that
// must be off or on.

import type { ConfigJson } from "../../formats/config_json.ts";
import type { MlpActivation, TransformerConfig } from "../config.ts";

/** Hugging Face's usual keys of the layers, the heads, the hidden size and the longest sequence. */
const SIZES = [
	"num_hidden_layers",
	"num_attention_heads",
	"hidden_size",
	"max_position_embeddings",
] as const;

/**
 * The sizes of a model, with as many key-value heads as heads.
 *
 * @param longest the sequence that a model without the setting is for; by default the setting is required
 */
export function readSizes(
	json: ConfigJson,
	longest?: number,
	[layers, n, H, length]: readonly [string, string, string, string] = SIZES,
) {
	const hiddenSize = json.whole(H), heads = json.whole(n);
	return {
		layers: json.whole(layers),
		hiddenSize,
		heads,
		keyValueHeads: heads,
		headDimension: hiddenSize / heads,
		vocabularySize: json.whole("vocab_size"),
		contextLength: json.whole(length, longest),
		embedding: {},
	} satisfies Partial<TransformerConfig>;
}

/** Layer norms with biases before each branch, and at the end. */
export function readLayerNorm(json: ConfigJson, key: string) {
	const epsilon = json.number(key, 1e-5);
	return { kind: "layer", epsilon, bias: true, placement: "pre", final: true } as const;
}

const ACTIVATIONS: Record<string, MlpActivation> = {
	silu: "silu",
	swish: "silu",
	relu: "relu",
	gelu: "gelu",
	gelu_new: "gelu_tanh",
	gelu_fast: "gelu_tanh",
	gelu_pytorch_tanh: "gelu_tanh",
};

/** The activation function that a setting names. */
export function readActivation(json: ConfigJson, key: string, otherwise: string): MlpActivation {
	const name = json.string(key, otherwise), activation = ACTIVATIONS[name];
	if (activation) return activation;
	const known = Object.keys(ACTIVATIONS).join(", ");
	throw json.error(`its "${key}" is "${name}"; what is known is ${known}`);
}

/** Throws if one of these settings is true. */
export function refuseSettings(json: ConfigJson, keys: readonly string[]): void {
	for (const key of keys) {
		if (json.boolean(key, false)) {
			throw json.error(`its ${json.nameOf(key)} is true, which is not supported`);
		}
	}
}

/** Throws if one of these settings is false. */
export function requireSettings(json: ConfigJson, keys: readonly string[]): void {
	for (const key of keys) {
		if (!json.boolean(key, true)) {
			throw json.error(`its ${json.nameOf(key)} is false, which is not supported`);
		}
	}
}
