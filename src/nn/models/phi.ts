// Phi-2: attention and MLP side by side after one layer norm, rotary positions for part of a head, biases everywhere.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family } from "../family.ts";
import { rotaryFactors } from "../rotary_scaling.ts";
import { readActivation, refuseSettings } from "./settings.ts";

/** Phi-1, 1.5 and 2 in Hugging Face's format. */
export const phiFamily: Family = {
  modelTypes: ["phi"],
  config(json): TransformerConfig {
    const hiddenSize = json.whole("hidden_size"), heads = json.whole("num_attention_heads");
    const headDimension = hiddenSize / heads;
    refuseSettings(json, ["qk_layernorm", "tie_word_embeddings"]);
    const parameters = json.object("rope_parameters");
    const share = parameters.number(
      "partial_rotary_factor",
      json.number("partial_rotary_factor", 0.5),
    );
    const dimensions = Math.floor(share * headDimension);
    return checkConfig({
      family: "phi",
      layers: json.whole("num_hidden_layers"),
      hiddenSize,
      intermediateSize: json.whole("intermediate_size"),
      heads,
      keyValueHeads: json.whole("num_key_value_heads", heads),
      headDimension,
      vocabularySize: json.whole("vocab_size"),
      contextLength: json.whole("max_position_embeddings", 2048),
      embedding: {},
      positions: { kind: "rotary", dimensions, ...rotaryFactors(json, dimensions) },
      norm: {
        kind: "layer",
        epsilon: json.number("layer_norm_eps", 1e-5),
        bias: true,
        placement: "pre",
        final: true,
      },
      block: "parallel",
      mlpNorm: false,
      attention: { causal: true, bias: true, outputBias: true },
      mlp: {
        kind: "plain",
        activation: readActivation(json, "hidden_act", "gelu_new"),
        bias: true,
      },
      head: { kind: "own", bias: true },
    }, (problem) => json.error(problem));
  },
  sources: () => ({
    "embed": "model.embed_tokens",
    "norm": "model.final_layernorm",
    "head": "lm_head",
    "layers.*.attn.norm": "model.layers.*.input_layernorm",
    "layers.*.attn.qkv": ["q", "k", "v"].map((part) => `model.layers.*.self_attn.${part}_proj`),
    "layers.*.attn.output": "model.layers.*.self_attn.dense",
    "layers.*.mlp.up": "model.layers.*.mlp.fc1",
    "layers.*.mlp.down": "model.layers.*.mlp.fc2",
  }),
};
