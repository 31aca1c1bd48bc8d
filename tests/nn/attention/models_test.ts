// Every attention in a model: it trains from the first step, its parameters get gradients, taps and generation work.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	attentions,
	generate,
	gpt2,
	llama,
	type Probe,
	saveModel,
	sub,
	Tensor,
} from "../../../mod.ts";
import { copyInto } from "../../../src/tensor/contiguous.ts";
import { noGrad } from "../../../src/tensor/autograd/recording.ts";
import { device, deviceTest, difference } from "../../tensor/on_device.ts";

const tiny = { layers: 2, heads: 4, hiddenSize: 32, vocabularySize: 61, contextLength: 24 };
const ids = Array.from({ length: 20 }, (_, i) => (i * i + 3) % 61);

for (const [name, make] of Object.entries(attentions)) {
	for (const family of ["gpt2", "llama"] as const) {
		deviceTest(
			`a ${family} with the attention ${name} learns, shows itself and writes`,
			async () => {
				using model = family === "gpt2"
					? await gpt2({ ...tiny, attention: make() })
					: await llama({ ...tiny, keyValueHeads: 2, intermediateSize: 48, attention: make() });
				assertEquals(model.attention.name, make().name);
				using inputs = Tensor.from<"int32", 2>(device, "int32", [2, 10], ids);
				using targets = Tensor.from<"int32", 2>(device, "int32", [2, 10], [...ids.slice(1), 0]);
				const losses: number[] = [];
				for (let step = 0; step < 4; step++) {
					using loss = model.loss(inputs, targets);
					losses.push(loss.item());
					loss.backward();
					for (const [key, parameter] of model.parameters) {
						assert(parameter.grad, `${key} has no gradient`);
						using scaled = noGrad(() => (parameter.grad as Tensor<"float32">).mul(0.3));
						using next = noGrad(() => sub(parameter as Tensor<"float32">, scaled));
						noGrad(() => copyInto(parameter, next));
						parameter.zeroGrad();
					}
				}
				assert(losses[3] < losses[0], `${losses}`);

				const shapes = new Map<string, string>();
				const probe: Probe = {
					taps: ["layers.*.attn.weights", "layers.*.attn.cumulative", "layers.*.output"],
					receive: (tensor, { name }) => void shapes.set(name, `${tensor.shape}`),
				};
				const [h] = await model.forward([ids.slice(0, 7)], { probes: [probe] });
				using hidden = h;
				assertEquals(shapes.get("layers.1.attn.weights"), "4,7,7");
				assertEquals(shapes.get("layers.0.attn.cumulative"), "4,7");
				// The prefix of a sequence is the sequence of the prefix: no token sees what comes after it.
				const [p] = await model.forward([ids.slice(0, 4)]);
				using prefix = p;
				using first = hidden.slice(0, 4);
				assert(difference(prefix.dataSync(), first.dataSync()).largest < 1e-5);
				const written = await Array.fromAsync(generate(model, ids.slice(0, 4), { maxTokens: 3 }));
				assertEquals(written.length, 3);
			},
		);
	}
}

deviceTest(
	"the parameters that an attention adds are counted as the paper counts them",
	async () => {
		const count = async (name: string) => {
			using model = await gpt2({ attention: attentions[name]() });
			let sum = 0;
			for (const [key, { size }] of model.parameters) if (key !== "positions.weight") sum += size;
			return sum;
		};
		assertEquals(await count("fixed-bias"), 123_596_544);
		assertEquals(await count("context-bias"), 123_605_760);
		assertEquals(await count("attention-bias"), 123_605_760);
		assertEquals(await count("context-scaling"), 123_698_064);
		assertEquals(await count("sigmoid"), 123_587_328);
	},
);

deviceTest(
	"a model with an attention of its own has no place in transformers' format",
	async () => {
		for (const name of ["sigmoid", "context-scaling"]) {
			using model = await gpt2({ ...tiny, attention: attentions[name]() });
			await assertRejects(
				() => saveModel(model, "/proc/never"),
				RangeError,
				`the attention ${name}`,
			);
		}
	},
);
