// A Transformer under the trainer: stopped and resumed, layers computed twice, and with each optimizer.

import { assert, assertEquals } from "@std/assert";
import { copyTask, gpt2, type Optimizer, type Trainable } from "../../../mod.ts";
import { Muon } from "../../../src/nn/optim/muon.ts";
import { Sgd } from "../../../src/nn/optim/sgd.ts";
import { constant } from "../../../src/nn/optim/schedule.ts";
import { train, type TrainOptions } from "../../../src/nn/training/trainer.ts";
import { inDirectory } from "../../subprocess.ts";
import { device, deviceTest } from "../../tensor/on_device.ts";

async function trained(steps: number, more: Partial<TrainOptions> = {}) {
	using model = await gpt2({
		layers: 2,
		heads: 2,
		hiddenSize: 32,
		vocabularySize: 64,
		contextLength: 32,
		bias: true,
	});
	const result = await train(model, {
		data: copyTask(),
		steps,
		batchSize: 4,
		tokens: 32,
		dtype: "bfloat16",
		schedule: constant({ peak: 2e-3, warmUp: 3 }),
		...more,
	});
	const weights = await Promise.all(
		Array.from(model.parameters, async ([name, tensor]) => [name, await tensor.numbers()] as const),
	);
	return { ...result, weights };
}

deviceTest(
	"a Transformer that is resumed has the bits of one that went through",
	() =>
		inDirectory(async (path) => {
			const { weights } = await trained(16);
			const checkpoints = { folder: path, interval: 5 };
			await trained(10, { checkpoints });
			assertEquals((await trained(16, { checkpoints, resume: true })).weights, weights);
		}),
);

deviceTest("layers that are computed twice give the same bits in less memory", async () => {
	const options = { batchSize: 32 };
	const kept = await trained(4, options),
		twice = await trained(4, { ...options, checkpointing: true });
	assertEquals(twice.weights, kept.weights);
	assert(twice.peakBytes < kept.peakBytes, `${twice.peakBytes} and ${kept.peakBytes} bytes`);
});

deviceTest("each optimizer lowers the loss of a Transformer", async () => {
	const optimizers: Record<string, [(model: Trainable) => Optimizer, number]> = {
		sgd: [({ parameters }) => new Sgd(parameters, { weightDecay: 0 }), 0.1],
		muon: [({ parameters }) => new Muon(parameters), 5e-3],
	};
	const start = Math.log(64), adamw = (await trained(60)).loss!;
	assert(adamw < start - 0.5, `adamw: ${adamw}`);
	for (const [name, [optimizer, peak]] of Object.entries(optimizers)) {
		const { loss } = await trained(60, { optimizer, schedule: constant({ peak, warmUp: 3 }) });
		assert(loss! < start - 0.5, `${name}: ${loss}`);
	}
	await device.synchronize();
});
