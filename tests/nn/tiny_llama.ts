// Small LLaMA models as GGUF files: the one recorded in tests/fixtures/tiny_llama.json with what
// transformers computes from it, and random ones of any size over a byte vocabulary.

import { loadModel, type Transformer } from "../../mod.ts";
import {
	type GgufContents,
	llamaMetadata,
	type LlamaSizes,
	type TensorToWrite,
	tinyVocabulary,
	type TypedValue,
	writeGguf,
} from "../formats/write_gguf.ts";
import { normal } from "../tensor/on_device.ts";

interface Encoded {
	shape: number[];
	base64: string;
}

/** What transformers computes with one kind of rotary positions. */
export interface Variant {
	name: "default" | "linear" | "llama3";
	rope: { factor?: number; rope_theta: number };
	factors: Encoded;
	logits: Encoded;
	hiddenState: Encoded;
	downInput: Encoded;
	attention: Encoded;
}

interface Record_ {
	config: Record<string, number>;
	tokenIds: number[];
	weights: Record<string, Encoded>;
	variants: Variant[];
}

/** The recorded model. */
export const recorded: Record_ = JSON.parse(
	Deno.readTextFileSync(new URL("../fixtures/tiny_llama.json", import.meta.url)),
);

/** The numbers of an array of the record. */
export function decode({ base64 }: Encoded): Float32Array<ArrayBuffer> {
	return new Float32Array(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)).buffer);
}

const f32 = (name: string, shape: readonly number[], data: Float32Array): TensorToWrite => ({
	name,
	shape,
	type: "F32",
	data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
});

/** Rows of a query or key projection from Hugging Face's order, two halves, to GGUF's, pairs. */
export function interleaveRows(data: Float32Array, columns: number, d: number): Float32Array {
	const result = new Float32Array(data.length);
	for (let row = 0; row < data.length / columns; row++) {
		const head = Math.floor(row / d), within = row % d;
		const half = Math.floor(within / (d / 2)), i = within % (d / 2);
		const to = head * d + 2 * i + half;
		result.set(data.subarray(row * columns, (row + 1) * columns), to * columns);
	}
	return result;
}

const NAMES: Record<string, string> = {
	"input_layernorm": "attn_norm",
	"self_attn.q_proj": "attn_q",
	"self_attn.k_proj": "attn_k",
	"self_attn.v_proj": "attn_v",
	"self_attn.o_proj": "attn_output",
	"post_attention_layernorm": "ffn_norm",
	"mlp.gate_proj": "ffn_gate",
	"mlp.up_proj": "ffn_up",
	"mlp.down_proj": "ffn_down",
};

function ggufName(name: string): string {
	if (name === "model.embed_tokens.weight") return "token_embd.weight";
	if (name === "model.norm.weight") return "output_norm.weight";
	if (name === "lm_head.weight") return "output.weight";
	const [, layer, module] = name.match(/^model\.layers\.(\d+)\.(.*)\.weight$/)!;
	return `blk.${layer}.${NAMES[module]}.weight`;
}

/** The recorded model as the contents of a GGUF file. */
export function recordedContents(variant: Variant): GgufContents {
	const { config } = recorded;
	const tensors = Object.entries(recorded.weights).map(([name, encoded]) => {
		const data = decode(encoded);
		const rotary = /[qk]_proj/.test(name);
		const columns = encoded.shape.at(-1)!;
		return f32(
			ggufName(name),
			encoded.shape,
			rotary ? interleaveRows(data, columns, config.head_dim) : data,
		);
	});
	const vocabulary = tinyVocabulary([]);
	for (const key of ["tokens", "token_type"]) { // of its bytes, as many as the model has embeddings for
		const entry = vocabulary[`tokenizer.ggml.${key}`]!;
		entry.value = (entry.value as string[]).slice(0, config.vocab_size);
	}
	const metadata: Record<string, TypedValue> = {
		...vocabulary,
		...llamaMetadata({
			layers: config.num_hidden_layers,
			width: config.hidden_size,
			heads: config.num_attention_heads,
			keyValueHeads: config.num_key_value_heads,
			hidden: config.intermediate_size,
			vocabulary: config.vocab_size,
			context: config.max_position_embeddings,
			epsilon: config.rms_norm_eps,
			ropeBase: variant.rope.rope_theta,
		}),
	};
	if (variant.name === "linear") {
		metadata["llama.rope.scaling.type"] = { kind: "string", value: "linear" };
		metadata["llama.rope.scaling.factor"] = { kind: "float32", value: variant.rope.factor! };
	} else if (variant.name === "llama3") {
		tensors.push(f32("rope_freqs.weight", variant.factors.shape, decode(variant.factors)));
	}
	return { metadata, tensors };
}

/** A random model over the tiny byte vocabulary, with tied output; `deviation` sets the weights' size. */
export function randomContents(
	sizes: Partial<LlamaSizes> = {},
	change: (name: string, data: Float32Array, columns: number) => void = () => {},
): GgufContents {
	const vocabulary = tinyVocabulary();
	const all: LlamaSizes = {
		layers: 2,
		width: 16,
		heads: 4,
		keyValueHeads: 2,
		hidden: 24,
		vocabulary: (vocabulary["tokenizer.ggml.tokens"].value as readonly string[]).length,
		context: 512,
		...sizes,
	};
	const { width, hidden } = all;
	const keyValue = width / all.heads * all.keyValueHeads;
	const matrices: Record<string, [number, number]> = {
		attn_q: [width, width],
		attn_k: [keyValue, width],
		attn_v: [keyValue, width],
		attn_output: [width, width],
		ffn_gate: [hidden, width],
		ffn_up: [hidden, width],
		ffn_down: [width, hidden],
	};
	const make = (name: string, shape: readonly number[], data: Float32Array) => {
		change(name, data, shape.at(-1)!);
		return f32(name, shape, data);
	};
	const ones = (name: string) => make(name, [width], new Float32Array(width).fill(1));
	const tensors = [
		make("token_embd.weight", [all.vocabulary, width], normal(all.vocabulary * width)),
		ones("output_norm.weight"),
	];
	for (let layer = 0; layer < all.layers; layer++) {
		tensors.push(ones(`blk.${layer}.attn_norm.weight`), ones(`blk.${layer}.ffn_norm.weight`));
		for (const [name, shape] of Object.entries(matrices)) {
			const data = normal(shape[0] * shape[1], 1 / Math.sqrt(shape[1]));
			tensors.push(make(`blk.${layer}.${name}.weight`, shape, data));
		}
	}
	return { metadata: { ...vocabulary, ...llamaMetadata(all) }, tensors };
}

/** Opens a model from contents; the file is gone from the disk when `use` is done. */
export async function withModel<T>(
	contents: GgufContents,
	use: (model: Transformer) => T | Promise<T>,
): Promise<T> {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		writeGguf(path, contents);
		using model = await loadModel(path);
		return await use(model);
	} finally {
		await Deno.remove(path);
	}
}
