// The keys and values of a sequence's tokens so far, so that each new token costs one pass of itself only.

import { copyInto, type FloatType, keep, Tensor } from "../tensor/mod.ts";

/** Keys and values of every layer, [kv, tokens, d] each. */
export class KeyValueCache implements Disposable {
	readonly #layers: { key: Tensor<FloatType, 3>; value: Tensor<FloatType, 3> }[] = [];
	readonly #capacity: number;
	#tokens = 0;

	/**
	 * Makes an empty cache.
	 *
	 * @param capacity how many tokens fit at most
	 */
	constructor(capacity: number) {
		this.#capacity = capacity;
	}

	/** How many tokens it holds. */
	get tokens(): number {
		return this.#tokens;
	}

	/** How many tokens fit. */
	get capacity(): number {
		return this.#capacity;
	}

	/**
	 * Adds a layer's keys and values of new tokens, which count once {@linkcode advance} was called.
	 *
	 * @returns those of all tokens, as views
	 */
	append(
		layer: number,
		key: Tensor<FloatType, 3>,
		value: Tensor<FloatType, 3>,
	): { key: Tensor<FloatType, 3>; value: Tensor<FloatType, 3> } {
		const [heads, count, d] = key.shape, begin = this.#tokens, end = begin + count;
		const empty = () =>
			keep(Tensor.empty<FloatType, 3>(key.device, key.dtype, [heads, this.#capacity, d]));
		const all = this.#layers[layer] ??= { key: empty(), value: empty() };
		copyInto(all.key.slice(begin, end, 1), key);
		copyInto(all.value.slice(begin, end, 1), value);
		return { key: all.key.slice(0, end, 1), value: all.value.slice(0, end, 1) };
	}

	/** Counts new tokens, after every layer has theirs. */
	advance(count: number): void {
		this.#tokens += count;
	}

	/** Frees the memory. */
	[Symbol.dispose](): void {
		for (const { key, value } of this.#layers) {
			key.dispose();
			value.dispose();
		}
		this.#layers.length = 0;
	}
}
