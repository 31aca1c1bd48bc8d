// The LLaMA family: RMSNorm, rotary positions, grouped-query attention, SwiGLU. TinyLLaMA, SmolLM2 and LLaMA 1 to
// 3 are of it; Mistral sees a window of keys, and Qwen2 has biases.

import type { ConfigJson } from "../../formats/config_json.ts";
import type { GgufFile } from "../../formats/gguf.ts";
import { type BuildOptions, buildTransformer } from "../build.ts";
import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family, GgufFamily, Sources, StoredPart } from "../family.ts";
import type { Transformer } from "../transformer.ts";
import { rotaryFactors } from "../rotary_scaling.ts";

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

const GGUF_NAMES = {
  "embed": "token_embd",
  "norm": "output_norm",
  "head": "output",
  "layers.*.attn.norm": "blk.*.attn_norm",
  "layers.*.attn.output": "blk.*.attn_output",
  "layers.*.mlp.norm": "blk.*.ffn_norm",
  "layers.*.mlp.gate_up": ["blk.*.ffn_gate", "blk.*.ffn_up"],
  "layers.*.mlp.down": "blk.*.ffn_down",
} satisfies Sources;

/** The LLaMA family in GGUF's format, where rotary pairs lie side by side. */
export const llamaGguf: GgufFamily = {
  architecture: "llama",
  ignored: /^rope_freqs\.weight$/,
  config(file: GgufFile): TransformerConfig {
    const heads = file.number("llama.attention.head_count");
    const hiddenSize = file.number("llama.embedding_length");
    const headDimension = file.optionalNumber("llama.attention.key_length") ?? hiddenSize / heads;
    const config = checkConfig({
      ...SHAPE,
      family: "llama",
      layers: file.number("llama.block_count"),
      hiddenSize,
      intermediateSize: file.number("llama.feed_forward_length"),
      heads,
      keyValueHeads: file.optionalNumber("llama.attention.head_count_kv") ?? heads,
      headDimension,
      vocabularySize: file.tensor("token_embd.weight").shape[0]!,
      contextLength: file.number("llama.context_length"),
      positions: rotaryOfGguf(file, headDimension),
      norm: {
        kind: "rms",
        epsilon: file.number("llama.attention.layer_norm_rms_epsilon"),
        bias: false,
        placement: "pre",
        final: true,
      },
      attention: { causal: true, bias: false, outputBias: false },
      mlp: { kind: "gated", activation: "silu", bias: false },
      head: { kind: file.tensors.has("output.weight") ? "own" : "tied", bias: false },
    }, (problem) => file.error(problem));
    const { positions } = config;
    if (positions.kind === "rotary" && positions.dimensions !== headDimension) {
      throw file.error(
        `it rotates ${positions.dimensions} of ${headDimension} features of a head; only all can be`,
      );
    }
    return config;
  },
  sources({ heads, keyValueHeads, headDimension: d, hiddenSize: H }) {
    const halves = (name: string, count: number): StoredPart => ({
      tensor: `blk.*.${name}.weight`,
      shape: [count * d, H],
      view: (pairs) => pairs.reshape([count, d / 2, 2, H]).permute([0, 2, 1, 3]),
    });
    return {
      ...GGUF_NAMES,
      "layers.*.attn.qkv.weight": [
        halves("attn_q", heads),
        halves("attn_k", keyValueHeads),
        "blk.*.attn_v.weight",
      ],
    };
  },
};

function rotaryOfGguf(file: GgufFile, headDimension: number): TransformerConfig["positions"] {
  const scaling = file.optionalString("llama.rope.scaling.type") ?? "none";
  if (scaling !== "none" && scaling !== "linear") {
    throw file.error(`rotary scaling "${scaling}" is not supported; "linear" is`);
  }
  const scale = scaling === "linear" ? file.number("llama.rope.scaling.factor") : 1;
  const dimensions = file.optionalNumber("llama.rope.dimension_count") ?? headDimension;
  const stored = file.tensors.has("rope_freqs.weight") ? readFactors(file, dimensions / 2) : null;
  const factors = scale === 1 && !stored
    ? undefined
    : Array.from({ length: Math.floor(dimensions / 2) }, (_, i) => scale * (stored?.[i] ?? 1));
  return {
    kind: "rotary",
    base: file.optionalNumber("llama.rope.freq_base") ?? 10000,
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
