// Steps of PyTorch's optimizers as tests/fixtures/record_optimizers.py recorded them, and the same with ours.

import { assertEquals } from "@std/assert";
import { Tensor } from "../../../mod.ts";
import { GradientNorm } from "../../../src/nn/optim/clip.ts";
import type { Optimizer, Parameters } from "../../../src/nn/optim/optimizer.ts";
import { assertClose, device } from "../../tensor/on_device.ts";

type Encoded = Record<string, string>;

interface Recorded {
	shapes: Record<string, number[]>;
	rates: number[];
	start: Encoded;
	gradients: Encoded[];
	runs: { name: string; maximum: number; steps: { norm: number; parameters: Encoded }[] }[];
}

const recorded: Recorded = JSON.parse(
	await Deno.readTextFile(new URL("../../fixtures/optimizers.json", import.meta.url)),
);

const decode = (text: string) =>
	new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

/** Parameters with the values that were recorded. */
export function startingParameters(): Map<string, Tensor<"float32">> {
	return new Map(
		Object.entries(recorded.shapes).map(([name, shape]) => {
			const start = decode(recorded.start[name]!);
			return [name, Tensor.from<"float32", number>(device, "float32", shape, start).requireGrad()];
		}),
	);
}

/** Gives parameters these gradients, by a backward pass. */
export function setGradients(
	parameters: ReadonlyMap<string, Tensor>,
	gradients: Readonly<Record<string, ArrayLike<number>>>,
): void {
	for (const [name, parameter] of parameters) {
		parameter.zeroGrad();
		if (!gradients[name]) continue;
		using gradient = Tensor.from(device, "float32", parameter.shape, gradients[name]!);
		using copy = parameter.mul(1);
		copy.backward({ gradient });
	}
}

/** Takes the recorded steps and compares the parameters after each, and the norms. */
export async function compareRecorded(
	name: string,
	make: (parameters: Parameters) => Optimizer,
	tolerance = 1e-6,
): Promise<void> {
	const runs = recorded.runs.filter((run) => run.name === name);
	assertEquals(runs.length > 0, true, `nothing is recorded of ${name}`);
	for (const { maximum, steps } of runs) {
		const parameters = startingParameters();
		{
			using optimizer = make(parameters);
			using norm = new GradientNorm(parameters, { maximum });
			for (const [i, step] of steps.entries()) {
				const gradients = Object.entries(recorded.gradients[i]!)
					.map(([name, text]) => [name, decode(text)] as const);
				setGradients(parameters, Object.fromEntries(gradients));
				norm.measure();
				optimizer.step(recorded.rates[i]!, norm);
				assertClose([(await norm.read()).norm], [step.norm], 1e-6, `${name}: norm of step ${i}`);
				for (const [one, text] of Object.entries(step.parameters)) {
					const actual = await parameters.get(one)!.numbers();
					assertClose(actual, decode(text), tolerance, `${name}: ${one} after step ${i}`);
				}
			}
		}
		for (const parameter of parameters.values()) parameter.dispose();
	}
}
