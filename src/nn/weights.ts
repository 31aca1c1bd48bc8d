// Where a model's parameters come from: memory, or a checkpoint that is read layer by layer.

import type { FloatType, Tensor } from "../tensor/mod.ts";
import type { WeightSet } from "./weight_set.ts";
import type { Probes } from "./probe.ts";

/** The parameters of a model. What is returned is to be freed after use; that frees no resident parameter. */
export interface Weights extends Disposable {
	/** Those of these parameters outside of the layers that exist: matrices in the type, vectors in float32. */
	outside(names: readonly string[], dtype: FloatType): WeightSet;
	/** The embeddings of tokens, [ids.length, width]. Weights of a checkpoint want them as a list. */
	embed(ids: Tensor<"int32", 1>, list?: readonly number[]): Tensor<"float32", 2>;
	/** In how many steps a layer is loaded. */
	readonly steps: number;
	/**
	 * Loads the weights of one layer, step by step, so that others may queue work in between.
	 *
	 * @param probes those that want matrices get them, in float32
	 */
	loadLayer(layer: number, dtype: FloatType, probes: Probes): Generator<void, WeightSet>;
}

/** Does all the steps that are left of loading. */
export function finish(loading: Generator<void, WeightSet>): WeightSet {
	while (true) {
		const { done, value } = loading.next();
		if (done) return value;
	}
}

/** Layers that are loaded one after the other, each while the one before is in use. */
export class Loading implements Disposable {
	readonly #start: (layer: number) => Generator<void, WeightSet>;
	#next: Generator<void, WeightSet> | null = null;
	#done: WeightSet | null = null;

	/** Loads nothing yet. */
	constructor(weights: Weights, dtype: FloatType, probes: Probes) {
		this.#start = (layer) => weights.loadLayer(layer, dtype, probes);
	}

	/** The weights of a layer; if there is another one after it, that is what is loaded from now on. */
	take(layer: number, another: boolean): WeightSet {
		const weights = this.#done ?? finish(this.#next ?? this.#start(layer));
		this.#done = null;
		this.#next = another ? this.#start(layer + 1) : null;
		return weights;
	}

	/** Does some steps. */
	advance(steps: number): void {
		for (let step = 0; step < steps && this.#next; step++) {
			const { done, value } = this.#next.next();
			if (!done) continue;
			this.#done = value;
			this.#next = null;
		}
	}

	/** Frees what was loaded and not taken. */
	[Symbol.dispose](): void {
		this.#next?.return(undefined as never);
		this.#done?.[Symbol.dispose]();
	}
}
