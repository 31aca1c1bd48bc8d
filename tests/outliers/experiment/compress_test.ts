// Losses of compressed models: those of a model that has the compressed weights, which itself stays as it was.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { absmaxW8, gpt2, type Tensor } from "../../../mod.ts";
import {
	compressionLosses,
	COMPRESSIONS,
	validationLoss,
} from "../../../src/outliers/experiment/compress.ts";
import { copyInto } from "../../../src/tensor/contiguous.ts";
import { noGrad } from "../../../src/tensor/autograd/recording.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { toyData } from "./toy.ts";

deviceTest("a compressed model's loss is that of its weights, and they are put back", async () => {
	const sizes = { layers: 2, heads: 2, hiddenSize: 16, vocabularySize: 64, contextLength: 12 };
	using model = await gpt2({ ...sizes, seed: 3 });
	using other = await gpt2({ ...sizes, seed: 3 });
	for (const { parameters } of [model, other]) { // large enough for rounding to show
		noGrad(() => {
			for (const tensor of parameters.values()) {
				const larger = tensor.mul(8) as Tensor;
				copyInto(tensor as Tensor, larger);
				larger.dispose();
			}
		});
	}
	const before = new Map<string, unknown>();
	for (const [name, tensor] of model.parameters) before.set(name, await tensor.data());
	const options = { tokens: 12, sequences: 5, batchSize: 2 };
	const losses = await compressionLosses(model, () => validationLoss(model, toyData(1), options));
	assertEquals(losses.map(({ name }) => name), [...COMPRESSIONS]);
	for (const [name, tensor] of model.parameters) {
		assertEquals(await tensor.data(), before.get(name), name);
	}

	const { parameters } = absmaxW8(other.parameters, { bits: 4, granularity: "row" });
	for (const [name, tensor] of parameters) {
		const target = other.parameters.get(name)!;
		if (target === tensor) continue;
		noGrad(() => copyInto(target as Tensor, tensor as Tensor));
		tensor.dispose();
	}
	const expected = await validationLoss(other, toyData(1), { ...options, batchSize: 5 });
	const found = losses.find(({ name }) => name === "4 bits, a scale a row")!.loss!;
	assertAlmostEquals(found, expected, 1e-5);
	assert(Math.abs(found - losses[0]!.loss!) > 1e-3);
});
