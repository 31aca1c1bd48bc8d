// The tiny models of tests/fixtures/families as GGUF files, written as llama.cpp's converter writes them (names and
// keys: gguf-py's constants). Run as a program, it writes all of them into a folder:
//   deno run -A --config .offline.deno.json tests/nn/models/gguf_conversions.ts FOLDER

import { assert } from "@std/assert";
import { Device, loadModel, Safetensors, Tensor, type Transformer } from "../../../mod.ts";
import {
	pieceVocabulary,
	tinyVocabulary,
	type TypedValue,
	writeGguf,
} from "../../formats/write_gguf.ts";

/** Where the models are. */
export const folder = new URL("../../fixtures/families", import.meta.url).pathname;

/** A tensor to be stored. */
interface Stored {
	shape: number[];
	data: Float32Array;
}
type Named = Map<string, Stored>;

/** The tensors of a fixture, as float32. */
async function read(name: string): Promise<Named> {
	using file = await Safetensors.open(`${folder}/${name}`);
	const tensors: Named = new Map();
	for (const { name, shape } of file.tensors.values()) {
		using tensor = file.load(Device.current, name);
		tensors.set(name, { shape: [...shape], data: tensor.dataSync().slice() });
	}
	return tensors;
}

/** A tensor with its elements in another order: of the extents, the axes as given. */
function permuted({ shape, data }: Stored, extents: number[], axes: number[]): Stored {
	using tensor = Tensor.from<"float32", number>(Device.current, "float32", extents, data);
	using other = tensor.permute(axes);
	return { shape, data: other.dataSync().slice() as Float32Array };
}
const transposed = (stored: Stored) => ({
	...permuted(stored, stored.shape, [1, 0]),
	shape: stored.shape.toReversed(),
});
/** Rotary halves as pairs side by side, as llama.cpp's converter stores queries and keys of LLaMA. */
const paired = (stored: Stored, heads: number) => {
	const d = stored.shape[0]! / heads, columns = stored.shape[1] ?? 1;
	return permuted(stored, [heads, 2, d / 2, columns], [0, 2, 1, 3]);
};
/** Queries, keys and values of each group as all queries, all keys, all values. */
function ungrouped(stored: Stored, groups: number, group: number): Stored {
	const columns = stored.shape[1] ?? 1, d = stored.shape[0]! / groups / (group + 2);
	const rows: number[] = [];
	for (const [first, end] of [[0, group], [group, group + 1], [group + 1, group + 2]] as const) {
		for (let g = 0; g < groups; g++) {
			for (let part = first; part < end; part++) {
				for (let i = 0; i < d; i++) rows.push((g * (group + 2) + part) * d + i);
			}
		}
	}
	const data = rows.flatMap((row) => [...stored.data.subarray(row * columns, (row + 1) * columns)]);
	return { shape: stored.shape, data: Float32Array.from(data) };
}
/** Tensors of equal shape one after the other. */
const stack = (parts: Stored[]): Stored => ({
	shape: [parts.length, ...parts[0]!.shape],
	data: Float32Array.from(parts.flatMap(({ data }) => [...data])),
});

interface Conversion {
	architecture: string;
	/** Patterns of names, and what they become. */
	names: [RegExp, string][];
	change?: (name: string, stored: Stored, model: Transformer) => Stored;
	metadata?: (model: Transformer) => Record<string, number | boolean>;
}

const BLOCK = "blk.$1.";
const LLAMA: [RegExp, string][] = [
	[/^model\.embed_tokens\./, "token_embd."],
	[/^model\.norm\./, "output_norm."],
	[/^lm_head\./, "output."],
	[/^model\.layers\.(\d+)\.input_layernorm\./, BLOCK + "attn_norm."],
	[/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj\./, BLOCK + "attn_$2."],
	[/^model\.layers\.(\d+)\.self_attn\.o_proj\./, BLOCK + "attn_output."],
	[/^model\.layers\.(\d+)\.post_attention_layernorm\./, BLOCK + "ffn_norm."],
	[/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\./, BLOCK + "ffn_$2."],
	[/^model\.layers\.(\d+)\.block_sparse_moe\.gate\./, BLOCK + "ffn_gate_inp."],
];
const rms = ({ config }: Transformer) => ({
	"attention.layer_norm_rms_epsilon": config.norm.epsilon,
});
const layerNorm = ({ config }: Transformer) => ({
	"attention.layer_norm_epsilon": config.norm.epsilon,
});
const rotary = ({ config: { positions } }: Transformer): Record<string, number> => {
	if (positions.kind !== "rotary") return {};
	return { "rope.freq_base": positions.base, "rope.dimension_count": positions.dimensions };
};
const llama: Conversion = {
	architecture: "llama",
	names: LLAMA,
	change: (name, stored, { config }) =>
		/attn_[qk]\./.test(name)
			? paired(stored, name.includes("attn_q") ? config.heads : config.keyValueHeads)
			: stored,
	metadata: (model) => ({
		...rms(model),
		...rotary(model),
		"attention.key_length": model.config.headDimension,
		"attention.value_length": model.config.headDimension,
		...model.config.mlp.experts && {
			expert_count: model.config.mlp.experts.count,
			expert_used_count: model.config.mlp.experts.perToken,
		},
	}),
};
const falcon: Conversion = {
	architecture: "falcon",
	names: [
		[/^transformer\.word_embeddings\./, "token_embd."],
		[/^transformer\.ln_f\./, "output_norm."],
		[/^lm_head\./, "output."],
		[/^transformer\.h\.(\d+)\.(input_layernorm|ln_mlp)\./, BLOCK + "attn_norm."],
		[/^transformer\.h\.(\d+)\.ln_attn\./, BLOCK + "attn_norm_2."],
		[/^transformer\.h\.(\d+)\.self_attention\.query_key_value\./, BLOCK + "attn_qkv."],
		[/^transformer\.h\.(\d+)\.self_attention\.dense\./, BLOCK + "attn_output."],
		[/^transformer\.h\.(\d+)\.mlp\.dense_h_to_4h\./, BLOCK + "ffn_up."],
		[/^transformer\.h\.(\d+)\.mlp\.dense_4h_to_h\./, BLOCK + "ffn_down."],
	],
	change: (name, stored, { config: { heads, keyValueHeads } }) =>
		name.includes("attn_qkv") ? ungrouped(stored, keyValueHeads, heads / keyValueHeads) : stored,
	metadata: (model) => ({ ...layerNorm(model), ...rotary(model) }),
};
const neox: Conversion = {
	architecture: "gptneox",
	names: [
		[/^gpt_neox\.embed_in\./, "token_embd."],
		[/^gpt_neox\.final_layer_norm\./, "output_norm."],
		[/^embed_out\./, "output."],
		[/^gpt_neox\.layers\.(\d+)\.input_layernorm\./, BLOCK + "attn_norm."],
		[/^gpt_neox\.layers\.(\d+)\.post_attention_layernorm\./, BLOCK + "ffn_norm."],
		[/^gpt_neox\.layers\.(\d+)\.attention\.query_key_value\./, BLOCK + "attn_qkv."],
		[/^gpt_neox\.layers\.(\d+)\.attention\.dense\./, BLOCK + "attn_output."],
		[/^gpt_neox\.layers\.(\d+)\.mlp\.dense_h_to_4h\./, BLOCK + "ffn_up."],
		[/^gpt_neox\.layers\.(\d+)\.mlp\.dense_4h_to_h\./, BLOCK + "ffn_down."],
	],
	change: (name, stored, { config }) =>
		name.includes("attn_qkv") ? ungrouped(stored, config.heads, 1) : stored,
	metadata: (model) => ({
		...layerNorm(model),
		...rotary(model),
		use_parallel_residual: model.config.block === "parallel",
	}),
};
const mpt: Conversion = {
	architecture: "mpt",
	names: [
		[/^transformer\.wte\./, "token_embd."],
		[/^transformer\.norm_f\./, "output_norm."],
		[/^transformer\.blocks\.(\d+)\.norm_1\./, BLOCK + "attn_norm."],
		[/^transformer\.blocks\.(\d+)\.norm_2\./, BLOCK + "ffn_norm."],
		[/^transformer\.blocks\.(\d+)\.attn\.Wqkv\./, BLOCK + "attn_qkv."],
		[/^transformer\.blocks\.(\d+)\.attn\.out_proj\./, BLOCK + "attn_output."],
		[/^transformer\.blocks\.(\d+)\.ffn\.(up|down)_proj\./, BLOCK + "ffn_$2."],
	],
	metadata: (model) => ({
		...layerNorm(model),
		"attention.max_alibi_bias": 8,
		...model.config.attention.clip && { "attention.clamp_kqv": model.config.attention.clip },
	}),
};

/** How each model is converted. */
export const CONVERSIONS: Record<string, Conversion> = {
	llama,
	mistral: llama,
	mixtral: llama,
	qwen2: {
		architecture: "qwen2",
		names: LLAMA,
		metadata: (model) => ({ ...rms(model), ...rotary(model) }),
	},
	gpt2: {
		architecture: "gpt2",
		names: [
			[/^wte\./, "token_embd."],
			[/^wpe\./, "position_embd."],
			[/^ln_f\./, "output_norm."],
			[/^h\.(\d+)\.ln_1\./, BLOCK + "attn_norm."],
			[/^h\.(\d+)\.ln_2\./, BLOCK + "ffn_norm."],
			[/^h\.(\d+)\.attn\.c_attn\./, BLOCK + "attn_qkv."],
			[/^h\.(\d+)\.attn\.c_proj\./, BLOCK + "attn_output."],
			[/^h\.(\d+)\.mlp\.c_fc\./, BLOCK + "ffn_up."],
			[/^h\.(\d+)\.mlp\.c_proj\./, BLOCK + "ffn_down."],
		],
		change: (name, stored) =>
			/blk.*(attn|ffn)_(qkv|output|up|down)\.weight/.test(name) ? transposed(stored) : stored,
		metadata: layerNorm,
	},
	phi: {
		architecture: "phi2",
		names: [
			...LLAMA.slice(0, 5),
			[/^model\.final_layernorm\./, "output_norm."],
			[/^model\.layers\.(\d+)\.self_attn\.dense\./, BLOCK + "attn_output."],
			[/^model\.layers\.(\d+)\.mlp\.fc1\./, BLOCK + "ffn_up."],
			[/^model\.layers\.(\d+)\.mlp\.fc2\./, BLOCK + "ffn_down."],
		],
		metadata: (model) => ({ ...layerNorm(model), ...rotary(model) }),
	},
	falcon_7b: falcon,
	falcon_40b: falcon,
	falcon_11b: falcon,
	gpt_neox: neox,
	gpt_neox_sequential: neox,
	mpt,
	mpt_clipped: mpt,
	bert: {
		architecture: "bert",
		names: [
			[/^embeddings\.word_embeddings\./, "token_embd."],
			[/^embeddings\.position_embeddings\./, "position_embd."],
			[/^embeddings\.token_type_embeddings\./, "token_types."],
			[/^embeddings\.LayerNorm\./, "token_embd_norm."],
			[/^encoder\.layer\.(\d+)\.attention\.self\.([qkv])[a-z]+\./, BLOCK + "attn_$2."],
			[/^encoder\.layer\.(\d+)\.attention\.output\.dense\./, BLOCK + "attn_output."],
			[/^encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\./, BLOCK + "attn_output_norm."],
			[/^encoder\.layer\.(\d+)\.intermediate\.dense\./, BLOCK + "ffn_up."],
			[/^encoder\.layer\.(\d+)\.output\.dense\./, BLOCK + "ffn_down."],
			[/^encoder\.layer\.(\d+)\.output\.LayerNorm\./, BLOCK + "layer_output_norm."],
		],
		metadata: (model) => ({ ...layerNorm(model), "attention.causal": false, pooling_type: 1 }),
	},
};

/** Names of bytes, as far as they have ids. */
function byteVocabulary(count: number): Record<string, TypedValue> {
	const vocabulary = tinyVocabulary([]);
	for (const key of ["tokens", "token_type"]) {
		const entry = vocabulary[`tokenizer.ggml.${key}`]!;
		entry.value = (entry.value as string[]).slice(0, count);
	}
	return vocabulary;
}

/** Settings that are stored as float32 also where they are whole. */
const FRACTIONS = /epsilon|freq_base|alibi|clamp/;

/** Writes a fixture as a GGUF file. */
export async function convert(
	name: string,
	model: Transformer,
	path: string,
	tokenCount = model.config.vocabularySize,
): Promise<void> {
	const { architecture, names, change, metadata } = CONVERSIONS[name]!, { config } = model;
	const tensors: Named = new Map(), experts = new Map<string, Stored[]>();
	for (const [key, stored] of await read(name)) {
		const expert = /layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.w([123])\./.exec(key);
		if (expert) {
			const part = { 1: "gate", 2: "down", 3: "up" }[expert[3]!];
			const list = experts.get(`blk.${expert[1]}.ffn_${part}_exps.weight`) ?? [];
			list[Number(expert[2])] = stored;
			experts.set(`blk.${expert[1]}.ffn_${part}_exps.weight`, list);
			continue;
		}
		const rule = names.find(([pattern]) => pattern.test(key));
		if (!rule) {
			assert(/attn\.bias$|lm_head\.weight$|^pooler\./.test(key), `${key} is not converted`);
			continue;
		}
		const to = key.replace(...rule);
		tensors.set(to, change?.(to, stored, model) ?? stored);
	}
	for (const [key, list] of experts) tensors.set(key, stack(list));
	const typed = (key: string, value: number | boolean): TypedValue => ({
		kind: typeof value === "boolean" ? "bool" : FRACTIONS.test(key) ? "float32" : "uint32",
		value,
	});
	const settings = {
		block_count: config.layers,
		context_length: config.contextLength,
		embedding_length: config.hiddenSize,
		feed_forward_length: config.intermediateSize,
		"attention.head_count": config.heads,
		"attention.head_count_kv": config.keyValueHeads,
		...metadata?.(model),
	};
	const vocabulary = (architecture === "bert" ? pieceVocabulary : byteVocabulary)(tokenCount);
	writeGguf(path, {
		metadata: {
			"general.architecture": { kind: "string", value: architecture },
			...Object.fromEntries(
				Object.entries(settings).map(([key, it]) => [`${architecture}.${key}`, typed(key, it)]),
			),
			...vocabulary,
		},
		tensors: [...tensors].map(([name, { shape, data }]) => ({
			name,
			shape,
			type: "F32",
			data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
		})),
	});
}

if (import.meta.main) {
	await Device.open();
	for (const name of Object.keys(CONVERSIONS)) {
		using model = await loadModel(`${folder}/${name}`);
		await convert(name, model, `${Deno.args[0]}/${name}.gguf`);
	}
}
