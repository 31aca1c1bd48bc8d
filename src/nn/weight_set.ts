// Weights that are used together, by name; those of a layer without `layers.N.`, such as `attn.qkv.weight`.

import type { FloatType, Tensor, Weight } from "../tensor/mod.ts";

/** Named tensors on the device. */
export class WeightSet implements Disposable {
	readonly #tensors: ReadonlyMap<string, Tensor<FloatType>>;
	readonly #owned: Iterable<Tensor<FloatType>>;
	readonly #beforeFreeing: (() => void) | undefined;

	/**
	 * Makes a set.
	 *
	 * @param owned whether they are freed with the set, or those that are
	 * @param beforeFreeing called once before
	 */
	constructor(
		tensors: ReadonlyMap<string, Tensor<FloatType>>,
		owned: boolean | Iterable<Tensor<FloatType>>,
		beforeFreeing?: () => void,
	) {
		this.#tensors = tensors;
		this.#owned = owned === true ? tensors.values().toArray() : owned === false ? [] : owned;
		this.#beforeFreeing = beforeFreeing;
	}

	/** The tensors with their names. */
	entries(): Iterable<[string, Tensor<FloatType>]> {
		return this.#tensors;
	}

	/** Whether there is one of that name. */
	has(name: string): boolean {
		return this.#tensors.has(name);
	}

	/** A matrix, [out, in]. */
	matrix(name: string): Weight {
		return this.#tensors.get(`${name}.weight`) as Weight;
	}

	/** The gain or bias of that name, or undefined if the model has none. */
	vector(name: string): Tensor<"float32", 1> | undefined {
		return this.#tensors.get(name) as Tensor<"float32", 1> | undefined;
	}

	/** Those whose names begin with a prefix, by the rest of their names. */
	under(prefix: string): Record<string, Tensor<FloatType>> {
		return Object.fromEntries(
			[...this.#tensors].filter(([name]) => name.startsWith(prefix))
				.map(([name, tensor]) => [name.slice(prefix.length), tensor]),
		);
	}

	/** Frees those that are not resident. */
	[Symbol.dispose](): void {
		this.#beforeFreeing?.();
		for (const tensor of this.#owned) tensor.dispose();
	}
}
