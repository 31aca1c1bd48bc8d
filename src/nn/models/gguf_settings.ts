// What GGUF files of all architectures say alike: sizes, rotary positions, where the common tensors are.

import type { Checkpoint, GgufFile } from "../../formats/mod.ts";
import type { Positions, TransformerConfig } from "../config.ts";
import type { Sources } from "../family.ts";

/** Names that llama.cpp gives the parameters that most architectures have. */
export const GGUF_NAMES = {
	"embed": "token_embd",
	"positions": "position_embd",
	"norm": "output_norm",
	"head": "output",
	"layers.*.attn.norm": "blk.*.attn_norm",
	"layers.*.attn.output": "blk.*.attn_output",
	"layers.*.mlp.norm": "blk.*.ffn_norm",
	"layers.*.mlp.up": "blk.*.ffn_up",
	"layers.*.mlp.down": "blk.*.ffn_down",
} satisfies Sources;

/** Queries, keys and values, which lie one below the other in one tensor or are three. */
export function ggufQueries(file: Pick<Checkpoint, "tensors">): string | string[] {
	const parts = ["q", "k", "v"].map((part) => `blk.*.attn_${part}`);
	return file.tensors.has("blk.0.attn_qkv.weight") ? "blk.*.attn_qkv" : parts;
}

/** The sizes of a model, and its output layer. */
export function ggufSizes(file: GgufFile) {
	const key = (name: string) => `${file.string("general.architecture")}.${name}`;
	const heads = file.number(key("attention.head_count"));
	const hiddenSize = file.number(key("embedding_length"));
	return {
		layers: file.number(key("block_count")),
		hiddenSize,
		intermediateSize: file.number(key("feed_forward_length")),
		heads,
		keyValueHeads: file.optionalNumber(key("attention.head_count_kv")) ?? heads,
		headDimension: file.optionalNumber(key("attention.key_length")) ?? hiddenSize / heads,
		vocabularySize: file.tensor("token_embd.weight").shape[0]!,
		contextLength: file.number(key("context_length")),
		embedding: {},
		head: {
			kind: file.tensors.has("output.weight") ? "own" : "tied",
			bias: file.tensors.has("output.bias"),
		},
	} satisfies Partial<TransformerConfig>;
}

/** The layer norms of a model. */
export function ggufLayerNorm(file: GgufFile, bias = true): TransformerConfig["norm"] {
	const epsilon = file.number(
		`${file.string("general.architecture")}.attention.layer_norm_epsilon`,
	);
	return { kind: "layer", epsilon, bias, placement: "pre", final: true };
}

/** The rotary positions of a model. */
export function ggufRotary(file: GgufFile, headDimension: number): Positions & { kind: "rotary" } {
	const rope = `${file.string("general.architecture")}.rope`;
	const scaling = file.optionalString(`${rope}.scaling.type`) ?? "none";
	if (scaling !== "none" && scaling !== "linear") {
		throw file.error(`rotary scaling "${scaling}" is not supported; "linear" is`);
	}
	const scale = scaling === "linear" ? file.number(`${rope}.scaling.factor`) : 1;
	const dimensions = file.optionalNumber(`${rope}.dimension_count`) ?? headDimension;
	const stored = file.tensors.has("rope_freqs.weight") ? readFactors(file, dimensions / 2) : null;
	const factors = scale === 1 && !stored
		? undefined
		: Array.from({ length: Math.floor(dimensions / 2) }, (_, i) => scale * (stored?.[i] ?? 1));
	return {
		kind: "rotary",
		base: file.optionalNumber(`${rope}.freq_base`) ?? 10000,
		dimensions,
		...factors && { factors },
	};
}

/** What the frequencies of the rotary angles are divided by, where a file holds it. */
function readFactors(file: GgufFile, count: number): Float32Array {
	const tensor = file.tensor("rope_freqs.weight");
	if (tensor.shape.join() !== `${count}` || tensor.type !== "F32") {
		throw file.error(
			`tensor "${tensor.name}" is ${tensor.type} of shape [${tensor.shape}], expected F32 [${count}]`,
		);
	}
	return new Float32Array(file.read(tensor).slice().buffer);
}
