// Stochastic gradient descent with momentum.

import type { Tensor } from "../../tensor/tensor.ts";
import type { GradientNorm } from "./clip.ts";
import {
	checkNumbers,
	checkParameters,
	decayOf,
	type DecayOptions,
	gradientPointers,
	type Optimizer,
	type Parameters,
	zerosLikeAll,
} from "./optimizer.ts";
import { TensorTable } from "./tensor_table.ts";

/** Options of {@linkcode Sgd}. */
export interface SgdOptions extends DecayOptions {
	/** What is kept of the velocity. @default {0.9} */
	momentum?: number;
	/** Nesterov's momentum: the gradient as it will be after the velocity's next step. @default {false} */
	nesterov?: boolean;
}

/**
 * SGD with momentum: v ← momentum · v + g + decay · θ, θ ← θ - rate · v. Decay is part of the gradient here, as in
 * PyTorch. One launch for all parameters.
 */
export class Sgd implements Optimizer {
	readonly name = "sgd";
	/** `momentum_buffer.NAME` of each parameter. */
	readonly state: ReadonlyMap<string, Tensor<"float32">>;
	steps = 0;
	readonly #parameters: Parameters;
	readonly #decay: number[];
	readonly #momentum: number;
	readonly #nesterov: boolean;
	readonly #table: TensorTable;

	/** Starts at rest. */
	constructor(parameters: Parameters, options: SgdOptions = {}) {
		const { momentum = 0.9, nesterov = false } = options;
		checkNumbers({ momentum });
		const device = checkParameters(parameters);
		this.#parameters = parameters;
		this.#decay = decayOf(parameters, options);
		this.#momentum = momentum;
		this.#nesterov = nesterov;
		this.#table = new TensorTable(device, Array.from(parameters.values(), ({ size }) => size));
		this.state = zerosLikeAll(parameters, "momentum_buffer");
	}

	step(learningRate: number, gradients?: GradientNorm): void {
		checkNumbers({ "learning rate": learningRate });
		this.steps++;
		const pointers = gradientPointers(this.#parameters);
		this.#table.fill(Array.from(this.#parameters, ([name, { pointer }], i) => ({
			parameter: pointer,
			gradient: pointers[i]!,
			first: this.state.get(`momentum_buffer.${name}`)!.pointer,
			decay: this.#decay[i]!,
		})));
		this.#table.launch(
			"sgd_step",
			gradients?.verdict.pointer ?? 0,
			learningRate,
			this.#momentum,
			Number(this.#nesterov),
		);
		for (const parameter of this.#parameters.values()) parameter.changed();
	}

	/** Frees the state. */
	[Symbol.dispose](): void {
		for (const tensor of this.state.values()) tensor.dispose();
		this.#table[Symbol.dispose]();
	}
}
