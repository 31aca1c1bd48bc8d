// The norm of all gradients: the same bits each time, and a halt after what is not finite.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../../mod.ts";
import { AdamW } from "../../../src/nn/optim/adamw.ts";
import { GradientNorm } from "../../../src/nn/optim/clip.ts";
import { device, deviceTest, normal } from "../../tensor/on_device.ts";
import { setGradients } from "./recorded.ts";

function parameters(size: number): Map<string, Tensor<"float32">> {
	const make = () => Tensor.from<"float32", 1>(device, "float32", [size], normal(size));
	return new Map([["a", make().requireGrad()], ["b", make().requireGrad()]]);
}

deviceTest("the norm of the same gradients has the same bits", async () => {
	const all = parameters(100_003), gradients = { a: normal(100_003), b: normal(100_003) };
	{
		using norm = new GradientNorm(all, { maximum: 1 });
		const norms: number[] = [];
		for (let i = 0; i < 5; i++) {
			setGradients(all, gradients);
			norm.measure();
			norms.push((await norm.read()).norm);
		}
		assertEquals(new Set(norms).size, 1);
		const square = [...gradients.a, ...gradients.b].reduce((sum, g) => sum + g * g, 0);
		assert(Math.abs(norms[0]! / Math.sqrt(square) - 1) < 1e-6);
	}
	for (const one of all.values()) one.dispose();
});

deviceTest("after a loss that is not finite, parameters and state stay", async () => {
	const all = parameters(50);
	{
		using norm = new GradientNorm(all, { maximum: 1 });
		using optimizer = new AdamW(all);
		const values = async () =>
			await Promise.all([...all.values(), ...optimizer.state.values()].map((t) => t.numbers()));
		const step = async (loss: number) => {
			setGradients(all, { a: normal(50), b: normal(50) });
			using tensor = Tensor.from<"float32", 0>(device, "float32", [], [loss]);
			norm.measure(tensor);
			optimizer.step(0.1, norm);
			return [await norm.read(), await values()] as const;
		};
		const [, before] = await step(1);
		const [verdict, after] = await step(NaN);
		assertEquals([verdict.finite, after], [false, before]);
		const [later, still] = await step(1); // for good
		assertEquals([later.finite, still], [false, before]);
	}
	for (const one of all.values()) one.dispose();
});

deviceTest("GradientNorm refuses a maximum that is not above 0", () => {
	const all = parameters(3);
	for (const maximum of [0, -1, NaN]) {
		assertThrows(() => new GradientNorm(all, { maximum }), RangeError, "maximum norm");
	}
	for (const one of all.values()) one.dispose();
});
