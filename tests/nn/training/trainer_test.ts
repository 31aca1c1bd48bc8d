// Training of a toy model: the loss falls, memory does not grow, evaluation changes nothing, and what is not
// finite stops it by name.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { AdamW } from "../../../src/nn/optim/adamw.ts";
import { constant } from "../../../src/nn/optim/schedule.ts";
import { Sgd } from "../../../src/nn/optim/sgd.ts";
import type { DataSource } from "../../../src/nn/training/data.ts";
import { TrainingError } from "../../../src/nn/training/failure.ts";
import { type LogRecord, readLog, type TrainingProgress } from "../../../src/nn/training/log.ts";
import { copyTask } from "../../../src/nn/training/tasks.ts";
import { train, type TrainOptions } from "../../../src/nn/training/trainer.ts";
import { inDirectory } from "../../subprocess.ts";
import { device, deviceTest } from "../../tensor/on_device.ts";
import { fingerprint, POISON, Toy, toyOptions } from "./toy.ts";

/** Trains a toy for some steps and tells how it ended. */
async function trained(steps: number, more: Partial<TrainOptions> = {}) {
	using model = new Toy(device);
	const result = await train(model, { ...toyOptions(model, steps), ...more });
	return { ...result, weights: await fingerprint(model) };
}

const stepsOf = (records: LogRecord[]) =>
	records.filter((record): record is LogRecord & { event: "step" } => record.event === "step");

deviceTest(
	"train() lowers the loss, tells how, and uses no more memory with time",
	() =>
		inDirectory(async (path) => {
			const told: TrainingProgress[] = [], log = `${path}/log.jsonl`;
			const result = await trained(120, {
				log,
				logInterval: 1,
				onProgress: (progress) => told.push(progress),
				evaluation: { interval: 50, sequences: 20 },
			});
			assertEquals([result.step, result.finished], [120, true]);
			assert(result.loss! < 3.4 && result.validationLoss! < 3.4, JSON.stringify(result));
			assertEquals(told.map(({ step }) => step), Array.from({ length: 120 }, (_, i) => i + 1));
			assert(
				told.every(({ tokensPerSecond, secondsLeft }) => tokensPerSecond > 0 && secondsLeft >= 0),
			);
			const records = await readLog(log), steps = stepsOf(records);
			assertEquals(steps.map(({ tokens }) => tokens / 256), steps.map(({ step }) => step));
			assertEquals(steps.map(({ loss }) => loss), told.map(({ loss }) => loss));
			assert(Math.abs(steps[0]!.loss - Math.log(64)) < 0.3);
			assert(steps.every(({ gradientNorm }) => gradientNorm > 0));
			const { schedule } = toyOptions(null, 120);
			assertEquals(steps.map(({ learningRate }) => learningRate), steps.map((_, i) => schedule(i)));
			// Between two evaluations, as these are other work.
			assertEquals(new Set(steps.slice(60, 99).map(({ peakBytes }) => peakBytes)).size, 1);
			assertEquals(new Set(steps.slice(60, 99).map(({ liveBytes }) => liveBytes)).size, 1);
			const evaluated = records.filter(({ event }) => event === "evaluation");
			assertEquals(evaluated.map(({ step }) => step), [0, 50, 100, 120]);
			assertEquals([records[0]!.event, records.at(-1)!.event], ["start", "end"]);
		}),
);

deviceTest("the same run gives the same bits, with and without evaluation", async () => {
	const { weights } = await trained(30);
	assertEquals((await trained(30)).weights, weights);
	const evaluation = { interval: 7, sequences: 11 };
	assertEquals((await trained(30, { evaluation })).weights, weights);
});

deviceTest("batches that are accumulated make the update of one large batch", async () => {
	const losses = async (batchSize: number, accumulation: number) => {
		const all: number[] = [];
		using model = new Toy(device);
		const base = toyOptions(model, 6);
		// Without dropout, whose masks depend on the batch.
		const plain = {
			parameters: model.parameters,
			loss: (...[x, y, options]: Parameters<Toy["loss"]>) =>
				model.loss(x, y, { ...options, training: false }),
		};
		const onProgress = ({ loss }: TrainingProgress) => all.push(loss);
		await train(plain, { ...base, batchSize, accumulation, onProgress });
		return all;
	};
	const [one, four] = [await losses(8, 1), await losses(2, 4)];
	one.forEach((loss, i) => assert(Math.abs(loss - four[i]!) < 1e-5, `${loss} and ${four[i]}`));
});

/** The copy task with a batch in which something is spoilt. */
function poisoned(sequence: number): DataSource {
	const data = copyTask();
	return {
		...data,
		fill(split, index, inputs, targets) {
			data.fill(split, index, inputs, targets);
			if (split === "train" && index === sequence) inputs[0] = POISON;
		},
	};
}

for (
	const [spoil, tensor, said] of [
		["embed", "embed", /the loss is NaN, and embed is the first tensor that is not finite/],
		["mlp.down.input", "layers.0.mlp.down.input", /and layers\.0\.mlp\.down\.input is the first/],
		["gradient", "layers.0.mlp.down.weight", /the gradient of layers\.0\.mlp\.down\.weight/],
	] as const
) {
	deviceTest(`what is not finite stops training before it does harm: ${spoil}`, async () => {
		const options = { schedule: constant({ peak: 1e-2 }), data: poisoned(7 * 8 + 3) };
		const { weights } = await trained(7, options);
		using model = new Toy(device);
		model.spoil = spoil;
		const error = await assertRejects(
			() => train(model, { ...toyOptions(model, 20), ...options }),
			TrainingError,
		);
		assertEquals([error.step, error.tensor], [7, tensor]);
		assert(said.test(error.message), error.message);
		assertEquals(await fingerprint(model), weights);
	});
}

deviceTest("a learning rate that is too high is found by the parameter that it broke", async () => {
	using model = new Toy(device);
	const schedule = (step: number) => step === 4 ? 1e39 : 1e-2;
	const error = await assertRejects(
		() => train(model, { ...toyOptions(model, 20), schedule }),
		TrainingError,
		"try a lower learning rate",
	);
	assertEquals([error.step, error.tensor], [5, "embed.weight"]);
});

deviceTest(
	"a watch sees single validation sequences and its words come into the log",
	() =>
		inDirectory(async (path) => {
			let seen = 0;
			const watch = {
				taps: ["layers.*.output"],
				receive: (tensor: { shape: readonly number[] }) => {
					assertEquals([...tensor.shape], [32, 32]);
					seen++;
				},
				take: () => Promise.resolve({ seen }),
			};
			const log = `${path}/log.jsonl`;
			const { weights } = await trained(25, {
				metrics: { watch, interval: 10, sequences: 3 },
				log,
			});
			assertEquals(weights, (await trained(25)).weights);
			const records = (await readLog(log)).filter(({ event }) => event === "metrics");
			assertEquals(
				records,
				[0, 10, 20, 25].map((step, i) => ({
					event: "metrics" as const,
					step,
					seen: 3 * (i + 1),
				})),
			);
		}),
);

deviceTest("the model is told how to compute its loss", async () => {
	const told: unknown[] = [];
	using model = new Toy(device);
	const watched = {
		parameters: model.parameters,
		loss: (...[x, y, options]: Parameters<Toy["loss"]>) => {
			const { probes: _, ...rest } = options;
			told.push(rest);
			return model.loss(x, y, options);
		},
	};
	await train(watched, {
		...toyOptions(model, 1),
		dtype: "bfloat16",
		checkpointing: true,
		evaluation: { interval: 1, sequences: 8 },
	});
	const evaluation = { dtype: "bfloat16", training: false };
	const update = { dtype: "bfloat16", training: true, checkpointing: true };
	assertEquals(told, [evaluation, update, evaluation]);
});

deviceTest("other optimizers are taken, and numbers that make no run refused", async () => {
	const result = await trained(100, {
		optimizer: ({ parameters }) => new Sgd(parameters, { weightDecay: 0 }),
		schedule: constant({ peak: 0.5 }),
	});
	assert(result.loss! < 4, `${result.loss}`);
	for (const wrong of [{ steps: 0 }, { batchSize: 1.5 }, { accumulation: -1 }]) {
		await assertRejects(() => trained(5, wrong), RangeError, "it must be at least 1");
	}
	const wrong: Partial<TrainOptions> = {
		optimizer: ({ parameters }) => new AdamW(parameters, { beta1: 1 }),
	};
	await assertRejects(() => trained(5, wrong), RangeError, "must be below 1");
});
