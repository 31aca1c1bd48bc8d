// Parameters that are in memory all the time, as training and generation need them.

import {
	cast,
	type Device,
	embedding,
	type FloatType,
	full,
	keep,
	normal,
	type Tensor,
	type Weight,
} from "../tensor/mod.ts";
import type { Generator as RandomGenerator } from "../tensor/random.ts";
import type { TransformerConfig } from "./config.ts";
import { orthogonal } from "./orthogonal.ts";
import type { Initialization, ParameterSpec } from "./parameters.ts";
import { editableCopy, type Probes } from "./probe.ts";
import type { Weights } from "./weights.ts";
import { editsWeight, emitWeight } from "./weight_taps.ts";
import { WeightSet } from "./weight_set.ts";

/** A parameter with its first values. */
export function initialize(
	device: Device,
	shape: readonly number[],
	how: Initialization,
	generator: RandomGenerator,
): Tensor<"float32"> {
	if ("constant" in how) return keep(full(shape, how.constant, { device }));
	if ("normal" in how) return keep(normal(shape, { std: how.normal, device, generator }));
	return keep(orthogonal(device, shape, how.orthogonal, generator));
}

/** Parameters in memory. */
export class ResidentWeights implements Weights {
	/** By name. */
	readonly parameters: ReadonlyMap<string, Tensor<FloatType>>;
	readonly #config: TransformerConfig;
	readonly #layers: ReadonlyMap<string, Tensor<FloatType>>[] = [];

	/** @param parameters freed with this */
	constructor(config: TransformerConfig, parameters: ReadonlyMap<string, Tensor<FloatType>>) {
		this.#config = config;
		this.parameters = parameters;
		for (const [name, tensor] of parameters) {
			const found = /^layers\.(\d+)\.(.*)$/.exec(name);
			if (!found) continue;
			const layer = (this.#layers[Number(found[1])] ??= new Map()) as Map<
				string,
				Tensor<FloatType>
			>;
			layer.set(found[2]!, tensor);
		}
	}

	/** Makes parameters of given shapes, float32, by their initializations. */
	static random(
		device: Device,
		config: TransformerConfig,
		specs: readonly ParameterSpec[],
		generator: RandomGenerator,
	): ResidentWeights {
		using stack = new DisposableStack();
		const parameters = new Map<string, Tensor<"float32">>();
		for (const { name, shape, initialize: how } of specs) {
			parameters.set(name, stack.use(initialize(device, shape, how, generator)));
		}
		stack.move();
		return new ResidentWeights(config, parameters);
	}

	outside(names: readonly string[]): WeightSet {
		const there = names.filter((name) => this.parameters.has(name));
		return new WeightSet(new Map(there.map((name) => [name, this.parameters.get(name)!])), false);
	}

	embed(ids: Tensor<"int32", 1>): Tensor<"float32", 2> {
		const rows = embedding(ids, this.parameters.get("embed.weight") as Weight);
		return rows.dtype === "float32"
			? rows as Tensor<"float32", 2>
			: cast(rows as Tensor<"bfloat16", 2>, "float32");
	}

	readonly steps = 1;

	// deno-lint-ignore require-yield
	*loadLayer(layer: number, _dtype: FloatType, probes: Probes): Generator<void, WeightSet> {
		const tensors = new Map(this.#layers[layer]!);
		using copies = new DisposableStack(); // frees them if a probe throws
		const edited: Tensor<FloatType>[] = [];
		for (const [name, parameter] of tensors) {
			const edits = editsWeight(this.#config, name, layer, probes);
			const tensor = edits ? copies.use(editableCopy(parameter)) : parameter;
			if (edits) edited.push(tensor);
			tensors.set(name, tensor);
			emitWeight(this.#config, name, tensor, layer, probes);
		}
		copies.move();
		return new WeightSet(tensors, edited);
	}

	/** Frees the parameters. */
	[Symbol.dispose](): void {
		for (const tensor of this.parameters.values()) tensor.dispose();
	}
}
