// What went wrong in a step whose loss or gradients are not finite: the step is computed once more, and the first
// tensor that is not finite is named.

import { all, isFinite, noGrad, scope, type Tensor } from "../../tensor/mod.ts";
import type { Parameters } from "../optim/optimizer.ts";
import type { Probe } from "../probe.ts";

/** Training cannot go on: a loss or gradient is not finite. The parameters are as they were before that step. */
export class TrainingError extends Error {
	/** The class's name, for printing. */
	override name = "TrainingError";
	/** The step: how many updates were made before. */
	readonly step: number;
	/** The first tensor that was not finite. */
	readonly tensor: string;

	/**
	 * Makes an error about a step; `problem` reads on from "Cannot go on training after step <step>: ".
	 *
	 * @param tensor its name, as in `layers.3.mlp.down.input`
	 */
	constructor(step: number, tensor: string, problem: string) {
		super(`Cannot go on training after step ${step}: ${problem}`);
		this.step = step;
		this.tensor = tensor;
	}
}

/** Taps from a model's input to its output, as src/nn/probe.ts lists them. */
const TAPS = [
	"embed",
	...[
		"attn.input",
		"attn.qkv",
		"attn.context",
		"attn.output",
		"middle",
		"mlp.input",
		"mlp.gate_up",
		"mlp.up",
		"mlp.down.input",
		"mlp.output",
		"output",
	].map((tap) => `layers.*.${tap}`),
];

/** Whether all elements are finite; waits for the device. */
export function allFinite(tensor: Tensor): boolean {
	return noGrad(() =>
		scope(() => Boolean(all(isFinite(tensor.detach() as Tensor<"float32">)).item()))
	);
}

/** Remembers the first tap whose tensor is not finite. */
class FirstBad implements Probe {
	readonly taps: readonly string[] = TAPS;
	name: string | null = null;

	receive(tensor: Tensor<"float32">, { name }: { name: string }): void {
		if (this.name === null && !allFinite(tensor)) this.name = name;
	}
}

/**
 * Looks for the first tensor that is not finite, by computing the step again.
 *
 * @param parameters as they were before the step
 * @param again computes the losses of the step, goes backward and leaves the gradients; returns the losses
 */
export function explainFailure(
	step: number,
	parameters: Parameters,
	again: (probes: readonly Probe[]) => number[],
): TrainingError {
	for (const [name, parameter] of parameters) {
		if (!allFinite(parameter)) {
			return new TrainingError(
				step,
				name,
				`the parameter ${name} is not finite; the update before made it so: try a lower learning rate`,
			);
		}
	}
	const probe = new FirstBad(), losses = again([probe]);
	const loss = losses.find((one) => !Number.isFinite(one));
	const kept = "the parameters are finite and stay as they were before it";
	if (probe.name !== null) {
		return new TrainingError(
			step,
			probe.name,
			`the loss is ${
				loss ?? losses[0]
			}, and ${probe.name} is the first tensor that is not finite; ${kept}`,
		);
	}
	if (loss !== undefined) {
		return new TrainingError(
			step,
			"loss",
			`the loss is ${loss}, computed from finite tensors; ${kept}`,
		);
	}
	// The backward pass goes through the parameters about from the last to the first.
	for (const [name, parameter] of [...parameters].reverse()) {
		if (parameter.grad && !allFinite(parameter.grad)) {
			return new TrainingError(
				step,
				name,
				`the gradient of ${name} is the first that is not finite, at a loss of ${
					losses[0]
				}; ${kept}`,
			);
		}
	}
	return new TrainingError(
		step,
		"gradients",
		`the norm of the gradients is too large for float32, at a loss of ${losses[0]}; ${kept}`,
	);
}
