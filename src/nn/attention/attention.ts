// An attention as a value that a model is given: what it adds to a layer's parameters, and what it computes.

import type { FloatType } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { ParameterSpec } from "../parameters.ts";
import type { AttentionOptions, Heads } from "./softmax_attention.ts";

/** What an attention is given. */
export interface AttentionInputs<D extends FloatType = FloatType> extends AttentionOptions {
	/** Queries, keys and values, positions already in them. */
	heads: Heads<D>;
	/** [B·T, H]: what the projections read, the normed hidden state, for scales and gates. */
	input: Tensor<FloatType, 2>;
	/** Longest sequence that the model is made for. @default the number of keys */
	contextLength?: number;
	/**
	 * If given, handed the weights of keys, [B·kv, T, g, S], before dropout: all at once, for short sequences. Not
	 * recorded, and freed after the call unless kept.
	 */
	maps?: ((maps: Tensor<"float32", 4>) => void) | undefined;
	/**
	 * If given, handed the factors of the heads' results, [B·T, n, 1] or one a feature, [B·T, n, d], where an attention
	 * has such gates; a gate that is the same for all tokens is [1, n, 1]. Not recorded, and freed after the call.
	 */
	gates?: ((gates: Tensor<"float32", 3>) => void) | undefined;
}

/** The sizes of a layer's attention. */
export interface AttentionSizes {
	/** n */
	heads: number;
	/** kv */
	keyValueHeads: number;
	/** d */
	headDimension: number;
	/** H */
	hiddenSize: number;
}

/** An attention's own parameters of a layer, by the names that it gave them. */
export type AttentionParameters = Readonly<Record<string, Tensor<FloatType>>>;

/** An attention: what happens between a layer's projections. */
export interface Attention {
	/** What it is called, as on the command line. */
	readonly name: string;
	/** Whether results of heads are multiplied by gates, which it hands out. @default {false} */
	readonly gated?: boolean;
	/** What it adds to each layer; names are those below `layers.N.attn.`. */
	parameters(sizes: AttentionSizes): readonly ParameterSpec[];
	/**
	 * Computes it, so that gradients flow to heads, input and parameters.
	 *
	 * @returns [B·T, n·d], heads side by side, of the type of the heads
	 */
	attend<D extends FloatType>(
		inputs: AttentionInputs<D>,
		parameters: AttentionParameters,
	): Tensor<D, 2>;
}
