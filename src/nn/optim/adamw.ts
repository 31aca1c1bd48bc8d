// AdamW.

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

/** Options of {@linkcode AdamW}. */
export interface AdamWOptions extends DecayOptions {
	/** How slowly the mean of the gradients changes. @default {0.9} */
	beta1?: number;
	/** How slowly the mean of their squares changes. @default {0.95} */
	beta2?: number;
	/** Added to the root of that. @default {1e-8} */
	epsilon?: number;
}

/**
 * AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"): a step of the size of the learning
 * rate against the mean of the gradients over the root of the mean of their squares, both corrected for starting at
 * zero, while the parameters that decay shrink. One launch for all parameters.
 *
 * @example A step
 * ```ts ignore
 * using optimizer = new AdamW(model.parameters, { decays: (name) => model.decays(name) });
 * model.loss(inputs, targets).backward();
 * optimizer.step(6e-4);
 * zeroGradients(model.parameters);
 * ```
 */
export class AdamW implements Optimizer {
	readonly name = "adamw";
	/** `exp_avg.NAME` and `exp_avg_sq.NAME` of each parameter. */
	readonly state: ReadonlyMap<string, Tensor<"float32">>;
	steps = 0;
	readonly #parameters: Parameters;
	readonly #decay: number[];
	readonly #options: Required<Omit<AdamWOptions, keyof DecayOptions>>;
	readonly #table: TensorTable;

	/** Starts with means of zero. */
	constructor(parameters: Parameters, options: AdamWOptions = {}) {
		const { beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8 } = options;
		checkNumbers({ beta1, beta2, epsilon });
		if (beta1 >= 1 || beta2 >= 1) {
			throw new RangeError(
				`Cannot optimize with betas ${beta1} and ${beta2}: they must be below 1`,
			);
		}
		const device = checkParameters(parameters);
		this.#parameters = parameters;
		this.#decay = decayOf(parameters, options);
		this.#options = { beta1, beta2, epsilon };
		this.#table = new TensorTable(device, Array.from(parameters.values(), ({ size }) => size));
		this.state = new Map([
			...zerosLikeAll(parameters, "exp_avg"),
			...zerosLikeAll(parameters, "exp_avg_sq"),
		]);
	}

	step(learningRate: number, gradients?: GradientNorm): void {
		checkNumbers({ "learning rate": learningRate });
		const { beta1, beta2, epsilon } = this.#options, t = ++this.steps;
		const pointers = gradientPointers(this.#parameters);
		this.#table.fill(Array.from(this.#parameters, ([name, { pointer }], i) => ({
			parameter: pointer,
			gradient: pointers[i]!,
			first: this.state.get(`exp_avg.${name}`)!.pointer,
			second: this.state.get(`exp_avg_sq.${name}`)!.pointer,
			decay: this.#decay[i]!,
		})));
		this.#table.launch(
			"adamw_step",
			gradients?.verdict.pointer ?? 0,
			learningRate,
			learningRate / (1 - beta1 ** t),
			beta1,
			1 - beta1,
			beta2,
			1 - beta2,
			1 / Math.sqrt(1 - beta2 ** t),
			epsilon,
		);
		for (const parameter of this.#parameters.values()) parameter.changed();
	}

	/** Frees the state. */
	[Symbol.dispose](): void {
		for (const tensor of this.state.values()) tensor.dispose();
		this.#table[Symbol.dispose]();
	}
}
