// What optimizers have in common: parameters by name, a step at a learning rate, and state that checkpoints keep.

import { type Device, keep, Tensor } from "../../tensor/mod.ts";
import type { GradientNorm } from "./clip.ts";

/** A model's parameters by name: float32, contiguous, leaves that gradients come to. */
export type Parameters = ReadonlyMap<string, Tensor>;

/** What changes parameters by their gradients. */
export interface Optimizer extends Disposable {
	/** Its name, such as `adamw`. */
	readonly name: string;
	/** What it remembers between steps, by name. */
	readonly state: ReadonlyMap<string, Tensor<"float32">>;
	/** How many steps it took; a checkpoint sets it. */
	steps: number;
	/**
	 * Queues a step for all parameters that have gradients, which stay as they are.
	 *
	 * @param gradients their norm, if they are to be clipped by it; measured since the last backward pass
	 */
	step(learningRate: number, gradients?: GradientNorm): void;
}

/** Options of weight decay. */
export interface DecayOptions {
	/** How strongly parameters decay. @default {0.1} */
	weightDecay?: number;
	/** Which of them decay. @default those of two or more axes */
	decays?: (name: string) => boolean;
}

/** Throws unless a step can change these; returns their device. */
export function checkParameters(parameters: Parameters): Device {
	let device: Device | undefined;
	for (const [name, parameter] of parameters) {
		if (parameter.dtype !== "float32" || !parameter.isContiguous) {
			throw new TypeError(
				`Cannot optimize the parameter ${name}: it must be contiguous float32, and is ${parameter.dtype} ` +
					`with strides [${parameter.strides}]`,
			);
		}
		if (!parameter.requiresGrad) {
			throw new RangeError(
				`Cannot optimize the parameter ${name}: it requires no gradient; call requireGrad() on it`,
			);
		}
		device ??= parameter.device;
	}
	if (!device) throw new RangeError("Cannot optimize a model that has no parameters");
	return device;
}

/** Weight decay of each parameter, in order. */
export function decayOf(
	parameters: Parameters,
	{ weightDecay = 0.1, decays }: DecayOptions,
): number[] {
	checkNumbers({ weightDecay });
	return Array.from(
		parameters,
		([name, { shape }]) => (decays ? decays(name) : shape.length >= 2) ? weightDecay : 0,
	);
}

/** Zeros in the shapes of the parameters, by `prefix` and their names. */
export function zerosLikeAll(
	parameters: Parameters,
	prefix: string,
): Map<string, Tensor<"float32">> {
	return new Map(Array.from(parameters, ([name, { device, shape }]) => {
		const zeros = keep(Tensor.zeros<"float32", number>(device, "float32", shape));
		return [`${prefix}.${name}`, zeros];
	}));
}

/** Throws unless all are finite and not negative. */
export function checkNumbers(numbers: Readonly<Record<string, number>>): void {
	for (const [name, value] of Object.entries(numbers)) {
		if (!Number.isFinite(value) || value < 0) {
			throw new RangeError(`Cannot optimize with ${name} ${value}: it must be finite, from 0 on`);
		}
	}
}

/** Pointers of the gradients, 0 where none came. */
export function gradientPointers(parameters: Parameters): number[] {
	return Array.from(parameters.values(), ({ grad }) => grad?.pointer ?? 0);
}

/** Frees the gradients: the next backward pass starts new sums. */
export function zeroGradients(parameters: Parameters): void {
	for (const parameter of parameters.values()) parameter.zeroGrad();
}
