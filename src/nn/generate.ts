// Generation: token after token, each chosen from the probabilities that the model gives it.

import { type FloatType, Generator, uniform } from "../tensor/mod.ts";
import { KeyValueCache } from "./key_value_cache.ts";
import {
	checkSampling,
	likeliest,
	type SamplingOptions,
	tokenAt,
	tokenProbabilities,
} from "./sampling.ts";
import type { Transformer } from "./transformer.ts";

/** Options of {@linkcode generate}. */
export interface GenerateOptions extends SamplingOptions {
	/** How many tokens to add at most. @default {64} */
	maxTokens?: number;
	/** Tokens after which it ends, themselves included. @default {those of the model, if it names any} */
	stop?: readonly number[];
	/** Seed of the choices; the same gives the same tokens. @default {0} */
	seed?: number;
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: FloatType;
	/** Stops it; an error with the signal's reason is thrown. */
	signal?: AbortSignal;
}

/**
 * Continues a sequence of tokens. A model whose parameters are in memory (`resident` of `loadModel`) is much quicker
 * than one that reads them for every token. Where temperature, topK, topP or stop are left out, the model's own defaults
 * are taken: those of its generation_config.json.
 *
 * @param prompt token ids, at least one
 * @returns the new tokens, one at a time
 * @throws {RangeError} if prompt and new tokens are more than the model's context, or an option is out of range
 *
 * @example
 * ```ts ignore
 * using model = await loadModel("smollm2", { resident: "bfloat16" });
 * const prompt = model.tokenizer.encode("The weather today is");
 * for await (const token of generate(model, prompt, { maxTokens: 20, temperature: 0.8, topK: 50 })) {
 *   console.log(model.tokenizer.tokenText(token));
 * }
 * ```
 */
export async function* generate(
	model: Transformer,
	prompt: readonly number[],
	options: GenerateOptions = {},
): AsyncGenerator<number, void> {
	const { maxTokens = 64, seed = 0, dtype = "float32", signal } = options;
	const chosen = { ...model.generation, ...options }, { stop = [], temperature = 0 } = chosen;
	checkSampling(chosen);
	const { contextLength } = model.config;
	if (!(Number.isInteger(maxTokens) && maxTokens >= 0)) {
		throw new RangeError(`Cannot generate ${maxTokens} tokens: a whole number is needed`);
	}
	if (prompt.length === 0 || prompt.length + maxTokens > contextLength) {
		throw new RangeError(
			`Cannot generate ${maxTokens} tokens after ${prompt.length}: there must be a prompt, and the ` +
				`model's context is ${contextLength}`,
		);
	}
	using cache = new KeyValueCache((model.config.registers ?? 0) + prompt.length + maxTokens);
	const generator = new Generator(seed);
	let tokens = prompt;
	for (let count = 0; count < maxTokens; count++) {
		signal?.throwIfAborted();
		using logits = model.nextLogits(tokens, cache, { dtype });
		const values = await logits.data();
		let token: number;
		if (temperature === 0) token = likeliest(values);
		else {
			using at = uniform([1], { generator, device: model.device });
			token = tokenAt(tokenProbabilities(values, chosen), (await at.data())[0]!);
		}
		yield token;
		if (stop.includes(token)) return;
		tokens = [token];
	}
}
