// A model with parameters that are made of another's as they are needed, a layer at a time: no second model is in memory.

import { cast, type FloatType, noGrad, scope, type Tensor } from "../tensor/mod.ts";
import { outsideScopes } from "../tensor/scope.ts";
import type { TransformerConfig } from "./config.ts";
import { Probes } from "./probe.ts";
import { Transformer } from "./transformer.ts";
import { emitWeight } from "./weight_taps.ts";
import { WeightSet } from "./weight_set.ts";
import type { Weights } from "./weights.ts";

/** How parameters are made of others. */
export interface WeightChange extends Disposable {
	/** What it does, in a few words. */
	readonly description: string;
	/**
	 * The values that take a parameter's place; asked again for each pass, it must give the same again.
	 *
	 * @param name such as `layers.3.attn.qkv.weight`; `src/nn/parameters.ts` lists the names
	 * @param values the parameter's own, not to be changed
	 * @returns a tensor of the same shape
	 */
	parameter(name: string, values: Tensor<"float32">): Tensor<"float32">;
	/**
	 * Embeddings of tokens, of which a checkpoint gives only those that are asked for.
	 *
	 * @param rows [ids.length, width]
	 * @param ids the tokens
	 */
	embeddings(rows: Tensor<"float32", 2>, ids: readonly number[]): Tensor<"float32", 2>;
}

/** Parameters that are made of others as they are read. */
export class ChangedWeights implements Weights {
	/** Those that they are made of. */
	readonly base: Weights;
	/** What was changed, in a few words. */
	readonly description: string;
	readonly #config: TransformerConfig;
	readonly #change: WeightChange;

	/** @param change freed with this; the others are not */
	constructor(config: TransformerConfig, base: Weights, change: WeightChange) {
		this.#config = config;
		this.base = base;
		this.description = change.description;
		this.#change = change;
	}

	/** Frees what the change holds; the other model keeps its parameters. */
	[Symbol.dispose](): void {
		this.#change[Symbol.dispose]();
	}

	get steps(): number {
		return this.base.steps;
	}

	/** The parameters of a set in float32, changed. */
	#changed(set: WeightSet, prefix: string): Map<string, Tensor<"float32">> {
		using stack = new DisposableStack(); // frees what is there if a change throws
		const changed = new Map<string, Tensor<"float32">>();
		for (const [name, values] of set.entries()) {
			const tensor = outsideScopes(() =>
				noGrad(() =>
					scope(() => {
						const exact = values.dtype === "float32"
							? values.detach()
							: cast(values as Tensor<"bfloat16">, "float32");
						return this.#change.parameter(prefix + name, exact as Tensor<"float32">);
					})
				)
			);
			changed.set(name, stack.use(tensor));
		}
		stack.move();
		return changed;
	}

	/** A set of its own: matrices in the type, vectors in float32. */
	#asked(tensors: Map<string, Tensor<"float32">>, dtype: FloatType): WeightSet {
		const typed = new Map<string, Tensor<FloatType>>(tensors);
		if (dtype === "bfloat16") {
			for (const [name, tensor] of tensors) {
				if (tensor.shape.length < 2) continue;
				typed.set(name, outsideScopes(() => noGrad(() => cast(tensor, "bfloat16"))));
				tensor.dispose();
			}
		}
		return new WeightSet(typed, true);
	}

	outside(names: readonly string[], dtype: FloatType): WeightSet {
		using set = this.base.outside(names, "float32");
		return this.#asked(this.#changed(set, ""), dtype);
	}

	embed(
		ids: Tensor<"int32", 1>,
		list: readonly number[] = [...ids.dataSync()],
	): Tensor<"float32", 2> {
		using rows = this.base.embed(ids, list);
		return noGrad(() => scope(() => this.#change.embeddings(rows, list)));
	}

	*loadLayer(layer: number, dtype: FloatType, probes: Probes): Generator<void, WeightSet> {
		using set = yield* this.base.loadLayer(layer, "float32", new Probes([]));
		const tensors = this.#changed(set, `layers.${layer}.`);
		using onError = new DisposableStack(); // a probe may throw
		for (const tensor of tensors.values()) onError.use(tensor);
		for (const [name, tensor] of tensors) emitWeight(this.#config, name, tensor, layer, probes);
		onError.move();
		return this.#asked(tensors, dtype);
	}
}

/**
 * A model with changed parameters. It reads those of the other, which must outlive it; freeing it leaves the other as it
 * is.
 *
 * @param change freed with the new model
 * @param name of the new model
 */
export function changeWeights(model: Transformer, change: WeightChange, name: string): Transformer {
	const { device, config, attention, checkpoint, settings } = model;
	return new Transformer({
		device,
		config,
		attention,
		weights: new ChangedWeights(config, model.weights, change),
		name,
		...checkpoint && { checkpoint },
		...settings && { settings },
		...model.hasTokenizer && { tokenizer: model.tokenizer },
	});
}
