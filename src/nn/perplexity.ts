// How well a model predicts a text.

import type { FloatType } from "../tensor/dtype.ts";
import type { Transformer } from "./transformer.ts";

/** Options of {@linkcode perplexity}. */
export interface PerplexityOptions {
	/** Tokens of a window. @default {2048, or the model's context length if that is smaller} */
	window?: number;
	/** How many windows at most. @default {all} */
	windows?: number;
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: FloatType;
	/** Told after each layer of each window: how many are done, of how many. */
	onProgress?: (done: number, total: number) => void;
	/** Stops it; the promise then rejects with the signal's reason. */
	signal?: AbortSignal;
}

/** What {@linkcode perplexity} found. */
export interface Perplexity {
	/** exp of the mean loss. */
	perplexity: number;
	/** Mean over windows of their losses, in nats a token. */
	loss: number;
	/** The mean cross-entropy of each window's tokens after the first. */
	losses: number[];
	/** Tokens of a window. */
	window: number;
}

/** Bytes of hidden states that go through the layers together. */
const GROUP_BYTES = 2 ** 28;

/**
 * Perplexity: the exponential of the mean cross-entropy of next tokens. Tokens are cut into windows that do not
 * overlap, the rest is left out; each window starts cold, and its first token is not predicted. This is the protocol
 * of the paper's code, except for its fixed window of 4,096.
 *
 * @param tokens token ids, at least a window of them
 * @throws {RangeError} if there are too few, or the window is out of range
 *
 * @example
 * ```ts ignore
 * using model = await loadModel("smollm2");
 * const { perplexity: value } = await perplexity(model, model.tokenizer.encode(text));
 * ```
 */
export async function perplexity(
	model: Transformer,
	tokens: readonly number[],
	options: PerplexityOptions = {},
): Promise<Perplexity> {
	const { contextLength, hiddenSize, layers } = model.config;
	const { window = Math.min(2048, contextLength), dtype = "float32", onProgress, signal } = options;
	if (!Number.isInteger(window) || window < 2 || window > contextLength) {
		throw new RangeError(
			`Cannot compute the perplexity by windows of ${window} tokens: 2 to ${contextLength} will do`,
		);
	}
	const count = Math.min(options.windows ?? Infinity, Math.floor(tokens.length / window));
	if (!(count >= 1)) {
		throw new RangeError(
			`Cannot compute the perplexity: ${tokens.length} tokens do not fill a window of ${window}`,
		);
	}
	const windows = Array.from(
		{ length: count },
		(_, i) => tokens.slice(i * window, (i + 1) * window),
	);
	const group = Math.max(1, Math.floor(GROUP_BYTES / (window * hiddenSize * 4)));
	const losses: number[] = [];
	for (let first = 0; first < count; first += group) {
		const some = windows.slice(first, first + group);
		const hidden = await model.forward(some, {
			dtype,
			...signal && { signal },
			...onProgress && { onProgress: (done) => onProgress(first * layers + done, count * layers) },
		});
		using stack = new DisposableStack();
		for (const h of hidden) stack.use(h);
		for (const [i, h] of hidden.entries()) {
			using predicted = h.slice(0, window - 1);
			using each = model.tokenLosses(predicted, some[i]!.slice(1), { dtype });
			losses.push((await each.data()).reduce((sum, loss) => sum + loss, 0) / (window - 1));
			signal?.throwIfAborted();
		}
	}
	const loss = losses.reduce((sum, each) => sum + each, 0) / count;
	return { perplexity: Math.exp(loss), loss, losses, window };
}
