// BERT: an encoder whose tokens see each other both ways, with norms after each sum. It gives hidden states only.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family } from "../family.ts";
import { readActivation, refuseSettings } from "./settings.ts";

/** BERT in Hugging Face's format; what comes after the encoder is left out. */
export const bertFamily: Family = {
  modelTypes: ["bert"],
  prefix: "bert.",
  ignored: /(^|\.)(pooler|cls|classifier)\.|position_ids$/,
  // As TensorFlow calls them, which BERT was first trained with.
  older: (name) =>
    name.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(
      /LayerNorm\.bias$/,
      "LayerNorm.beta",
    ),
  config(json): TransformerConfig {
    const hiddenSize = json.whole("hidden_size"), heads = json.whole("num_attention_heads");
    const positions = json.string("position_embedding_type", "absolute");
    if (positions !== "absolute") {
      throw json.error(`its "position_embedding_type" is "${positions}", not "absolute"`);
    }
    refuseSettings(json, ["is_decoder", "add_cross_attention"]);
    return checkConfig({
      family: "bert",
      layers: json.whole("num_hidden_layers"),
      hiddenSize,
      intermediateSize: json.whole("intermediate_size"),
      heads,
      keyValueHeads: heads,
      headDimension: hiddenSize / heads,
      vocabularySize: json.whole("vocab_size"),
      contextLength: json.whole("max_position_embeddings", 512),
      embedding: { norm: true, types: json.whole("type_vocab_size", 2) },
      positions: { kind: "learned" },
      norm: {
        kind: "layer",
        epsilon: json.number("layer_norm_eps", 1e-12),
        bias: true,
        placement: "post",
        final: false,
      },
      block: "sequential",
      mlpNorm: true,
      attention: { causal: false, bias: true, outputBias: true },
      mlp: { kind: "plain", activation: readActivation(json, "hidden_act", "gelu"), bias: true },
      head: { kind: "none", bias: false },
    }, (problem) => json.error(problem));
  },
  sources() {
    const layer = "encoder.layer.*";
    return {
      "embed": "embeddings.word_embeddings",
      "embed.types": "embeddings.token_type_embeddings",
      "embed.norm": "embeddings.LayerNorm",
      "positions": "embeddings.position_embeddings",
      "layers.*.attn.norm": `${layer}.attention.output.LayerNorm`,
      "layers.*.attn.qkv": ["query", "key", "value"]
        .map((part) => `${layer}.attention.self.${part}`),
      "layers.*.attn.output": `${layer}.attention.output.dense`,
      "layers.*.mlp.norm": `${layer}.output.LayerNorm`,
      "layers.*.mlp.up": `${layer}.intermediate.dense`,
      "layers.*.mlp.down": `${layer}.output.dense`,
    };
  },
};
