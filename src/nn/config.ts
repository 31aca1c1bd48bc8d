// What defines a Transformer: plain data that every model family is described by.

import { alibiSlopes } from "../tensor/masks.ts";

/** The activation function of an MLP. */
export type MlpActivation = "silu" | "gelu" | "gelu_tanh" | "relu";

/** How a model knows the order of tokens. */
export type Positions =
	| {
		/** Pairs of features of queries and keys turn with the position (Su et al. 2021). */
		kind: "rotary";
		/** θ of the angles position · θ^(-2i/dimensions). */
		base: number;
		/** How many features of a head turn: the first ones, i together with i + dimensions / 2. */
		dimensions: number;
		/** What each pair's frequency is divided by, for stretched contexts: dimensions / 2 numbers. */
		factors?: readonly number[];
	}
	| {
		/** A learned vector for each position is added to the embedding. */
		kind: "learned";
	}
	| {
		/** Logits fall with the distance, by a slope for each head (Press et al. 2022). */
		kind: "alibi";
		/** The slopes are 2^(-maximum · h / n). */
		maximum: number;
		/** Whether the slopes are divided by √d like the logits. */
		scaled?: boolean;
	}
	| { kind: "none" };

/** The numbers and choices that define a Transformer. */
export interface TransformerConfig {
	/** The model family, such as `"llama"`. */
	family: string;
	/** Number of layers, L. */
	layers: number;
	/** Width of the hidden state, H. */
	hiddenSize: number;
	/** Width of the MLP, I. */
	intermediateSize: number;
	/** Number of attention heads, n. */
	heads: number;
	/** Number of key-value heads; each serves heads / keyValueHeads query heads. */
	keyValueHeads: number;
	/** Width of a head, d. */
	headDimension: number;
	/** Number of tokens in the vocabulary, V. */
	vocabularySize: number;
	/** Longest sequence that the model was trained for. */
	contextLength: number;
	/**
	 * k: how many register tokens there are, learned vectors r_1 … r_k of width H before each sequence: the layers read
	 * [r; h_0], and the rows of r are left out of the result, so that no loss is computed of them. Attention has a place
	 * for what is to go nowhere other than the first token (Darcet et al. 2024, "Vision Transformers Need Registers";
	 * as meta tokens of language models, Dong et al. 2024, "Hymba"). The first of them is position 0 of what probes see;
	 * they take nothing of `contextLength` and have no learned position. They start as embeddings do, normal with
	 * deviation 0.02.
	 * @default {0}
	 */
	registers?: number;
	/** What comes before the layers. */
	embedding: {
		/** Width of the token embedding, if it is projected to H. */
		width?: number;
		/** Whether the sum of embeddings is normed. */
		norm?: boolean;
		/** Number of token types, of which type 0 is added to all. */
		types?: number;
	};
	/** How tokens know their place. */
	positions: Positions;
	/** The norms. */
	norm: {
		/** Root-mean-square norm, or layer norm. */
		kind: "rms" | "layer";
		/** ε */
		epsilon: number;
		/** Whether layer norms have a bias. */
		bias: boolean;
		/** Whether a norm has one gain for all features, not one for each. */
		single?: boolean;
		/** Before each part of a layer, whose result joins the residual stream, or after their sum. */
		placement: "pre" | "post";
		/** Whether a norm comes after the last layer. */
		final: boolean;
	};
	/** Attention and MLP one after the other, or side by side from the same hidden state. */
	block: "sequential" | "parallel";
	/** Of a parallel block: whether the MLP has a norm of its own. */
	mlpNorm: boolean;
	/** The attention. */
	attention: {
		/** Whether a token sees only those before it, and itself. */
		causal: boolean;
		/** How many keys a query sees, itself included. */
		window?: number;
		/** Queries, keys and values are clipped to ±clip. */
		clip?: number;
		/** Whether queries, keys and values have biases. */
		bias: boolean;
		/** Whether the output projection has one. */
		outputBias: boolean;
	};
	/** The MLP. */
	mlp: {
		/** activation(gate) · up, or activation(up). */
		kind: "gated" | "plain";
		/** Its activation function. */
		activation: MlpActivation;
		/** Whether its projections have biases. */
		bias: boolean;
		/** A mixture: each token goes to the `perToken` best of `count` MLPs. */
		experts?: { count: number; perToken: number };
	};
	/** What comes after the layers: no logits, those of the embedding itself, or of an own matrix. */
	head: { kind: "none" | "tied" | "own"; bias: boolean };
}

/**
 * Throws unless the numbers go together.
 *
 * @param fail makes the error of a problem
 */
export function checkConfig(
	config: TransformerConfig,
	fail: (problem: string) => Error,
): TransformerConfig {
	const whole = [
		"layers",
		"hiddenSize",
		"intermediateSize",
		"heads",
		"keyValueHeads",
		"headDimension",
		"vocabularySize",
		"contextLength",
	] as const;
	for (const name of whole) {
		const value = config[name];
		if (!(Number.isInteger(value) && value > 0 && value < 2 ** 31)) {
			throw fail(`its ${name} is ${value}`);
		}
	}
	const { heads, keyValueHeads, headDimension, positions, norm, mlp, attention } = config;
	const { registers = 0 } = config;
	if (!(Number.isInteger(registers) && registers >= 0 && registers < 2 ** 16)) {
		throw fail(`it has ${registers} register tokens`);
	}
	if (!(norm.epsilon > 0 && norm.epsilon < 1)) throw fail(`its norms' epsilon is ${norm.epsilon}`);
	if (heads % keyValueHeads !== 0) {
		throw fail(`${heads} heads cannot share ${keyValueHeads} key-value heads evenly`);
	}
	if (positions.kind === "rotary") {
		const { base, dimensions, factors } = positions;
		if (!(dimensions > 0 && dimensions % 2 === 0 && dimensions <= headDimension)) {
			throw fail(
				`rotary positions cannot turn ${dimensions} of ${headDimension} features of a head`,
			);
		}
		if (!(base > 0 && base < Infinity)) throw fail(`the base of its rotary angles is ${base}`);
		if (factors && factors.length !== dimensions / 2) {
			throw fail(`its ${factors.length} rotary factors do not go with ${dimensions} features`);
		}
		if (factors && !factors.every((factor) => factor > 0 && factor < Infinity)) {
			throw fail("its rotary factors must be above 0");
		}
	}
	if (attention.window !== undefined && !(attention.window >= 1)) {
		throw fail(`its attention window is ${attention.window}`);
	}
	const { experts } = mlp;
	if (experts && !(experts.perToken >= 1 && experts.perToken <= experts.count)) {
		throw fail(`it sends each token to ${experts.perToken} of ${experts.count} experts`);
	}
	return config;
}

/** What a head adds to logits for each position that a key lies further ahead: the slopes of ALiBi, if the model has them. */
export function slopesOf(
	{ positions, heads, headDimension }: TransformerConfig,
): number[] | null {
	if (positions.kind !== "alibi") return null;
	const scale = positions.scaled ? 1 / Math.sqrt(headDimension) : 1;
	// The published slopes have the maximum 8.
	return alibiSlopes(heads).map((slope) => slope ** (positions.maximum / 8) * scale);
}
