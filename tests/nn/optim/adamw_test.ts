// AdamW against PyTorch, and what it leaves alone.

import { assertEquals, assertThrows } from "@std/assert";
import { AdamW } from "../../../src/nn/optim/adamw.ts";
import { Tensor } from "../../../mod.ts";
import { device, deviceTest, normal } from "../../tensor/on_device.ts";
import { compareRecorded, setGradients, startingParameters } from "./recorded.ts";

deviceTest("AdamW takes PyTorch's steps, with and without clipping", async () => {
	await compareRecorded("adamw", (parameters) => new AdamW(parameters));
});

deviceTest("AdamW takes PyTorch's steps without decay", async () => {
	await compareRecorded(
		"adamw without decay",
		(parameters) => new AdamW(parameters, { decays: () => false }),
	);
	await compareRecorded(
		"adamw without decay",
		(parameters) => new AdamW(parameters, { weightDecay: 0 }),
	);
});

deviceTest("AdamW leaves a parameter without a gradient as it is", async () => {
	const parameters = startingParameters(), name = "layers.0.mlp.down.weight";
	const before = await parameters.get(name)!.numbers();
	const other = await parameters.get("embed.weight")!.numbers();
	setGradients(parameters, { "embed.weight": normal(66) });
	{
		using optimizer = new AdamW(parameters);
		optimizer.step(0.1);
		assertEquals(await parameters.get(name)!.numbers(), before);
		const changed = await parameters.get("embed.weight")!.numbers();
		assertEquals(changed.filter((x, i) => x === other[i]).length, 0);
	}
	for (const parameter of parameters.values()) parameter.dispose();
});

deviceTest("AdamW refuses what it cannot optimize", () => {
	const make = (parameter: Tensor) => () => new AdamW(new Map([["embed.weight", parameter]]));
	using frozen = Tensor.zeros<"float32", 1>(device, "float32", [3]);
	using half = Tensor.zeros<"bfloat16", 1>(device, "bfloat16", [3]);
	using matrix = Tensor.zeros<"float32", 2>(device, "float32", [3, 2]).requireGrad();
	using view = matrix.transpose();
	assertThrows(make(frozen), RangeError, "embed.weight: it requires no gradient");
	assertThrows(make(half), TypeError, "must be contiguous float32, and is bfloat16");
	assertThrows(make(view), TypeError, "strides [1,2]");
	assertThrows(() => new AdamW(new Map()), RangeError, "no parameters");
	const parameters = new Map([["embed.weight", matrix]]);
	assertThrows(() => new AdamW(parameters, { beta2: 1 }), RangeError, "must be below 1");
	using optimizer = new AdamW(parameters);
	assertThrows(() => optimizer.step(NaN), RangeError, "learning rate NaN");
});
