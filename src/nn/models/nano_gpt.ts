// nanoGPT's checkpoints: GPT-2 with exact GELU, matrices [out, in], and biases only if it says so.

import { checkConfig, type TransformerConfig } from "../config.ts";
import type { Family } from "../family.ts";
import { nanoGptConfig } from "./gpt2.ts";

/** nanoGPT's GPT, configured by the `model_args` in its checkpoint. */
export const nanoGptFamily: Family = {
	modelTypes: [],
	ignored: /attn\.bias$/,
	config(args): TransformerConfig {
		const config = nanoGptConfig({
			hiddenSize: args.whole("n_embd"),
			heads: args.whole("n_head"),
			layers: args.whole("n_layer"),
			vocabularySize: args.whole("vocab_size"),
			contextLength: args.whole("block_size"),
			bias: args.boolean("bias", true),
		});
		return checkConfig(config, (problem) => args.error(problem));
	},
	sources: () => ({
		"embed": "transformer.wte",
		"positions": "transformer.wpe",
		"norm": "transformer.ln_f",
		"layers.*.attn.norm": "transformer.h.*.ln_1",
		"layers.*.attn.qkv": "transformer.h.*.attn.c_attn",
		"layers.*.attn.output": "transformer.h.*.attn.c_proj",
		"layers.*.mlp.norm": "transformer.h.*.ln_2",
		"layers.*.mlp.up": "transformer.h.*.mlp.c_fc",
		"layers.*.mlp.down": "transformer.h.*.mlp.c_proj",
	}),
};
