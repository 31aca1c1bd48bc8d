// A complete model of the LLaMA family with random weights, small enough to be written in a test.

import { type GgufContents, llamaMetadata, tinyVocabulary } from "./write_gguf.ts";

const SIZES = {
	layers: 2,
	width: 32,
	hidden: 64,
	heads: 4,
	keyValueHeads: 2,
	context: 128,
};

/** Contents of the file: float32 weights, tied embedding, 264 tokens. */
export function tinyModel(): GgufContents {
	const { layers, width: H, hidden: I, heads, keyValueHeads } = SIZES;
	const keyValue = H / heads * keyValueHeads;
	const tensor = (name: string, ...shape: number[]) => {
		const count = shape.reduce((product, extent) => product * extent, 1);
		const values = Float32Array.from({ length: count }, () => Math.random() - 0.5);
		return { name, shape, type: "F32" as const, data: new Uint8Array(values.buffer) };
	};
	const vocabulary = tinyVocabulary();
	const tokens = vocabulary["tokenizer.ggml.tokens"]!.value as string[];
	return {
		metadata: { ...llamaMetadata({ ...SIZES, vocabulary: tokens.length }), ...vocabulary },
		tensors: [
			tensor("token_embd.weight", tokens.length, H),
			tensor("output_norm.weight", H),
			...Array.from({ length: layers }, (_, layer) => [
				tensor(`blk.${layer}.attn_norm.weight`, H),
				tensor(`blk.${layer}.attn_q.weight`, H, H),
				tensor(`blk.${layer}.attn_k.weight`, keyValue, H),
				tensor(`blk.${layer}.attn_v.weight`, keyValue, H),
				tensor(`blk.${layer}.attn_output.weight`, H, H),
				tensor(`blk.${layer}.ffn_norm.weight`, H),
				tensor(`blk.${layer}.ffn_gate.weight`, I, H),
				tensor(`blk.${layer}.ffn_up.weight`, I, H),
				tensor(`blk.${layer}.ffn_down.weight`, H, I),
			]).flat(),
		],
	};
}
