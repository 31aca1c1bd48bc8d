// One process of the tests of several: `worker.ts ACTION [JSON]` does what ACTION names and prints a line of JSON.

import {
	constant,
	copyTask,
	type DataSource,
	detectOutliers,
	Device,
	EmergenceWatch,
	gpt2,
	loadModel,
	ProcessGroup,
	readLog,
	Tensor,
	tensor,
	train,
	type TrainOptions,
} from "../../mod.ts";
import { root } from "../../tools/project.ts";

const [action, json = "{}"] = Deno.args as [string, string?];
const given = JSON.parse(json);
const device = await Device.open();

// mpirun mixes what ranks print, unless it is short.
const tell = (value: { rank: number; [name: string]: unknown }) =>
	given.results
		? Deno.writeTextFileSync(`${given.results}/${value.rank}.json`, JSON.stringify(value))
		: console.log(JSON.stringify(value));

/** Data of the same description, of which one token is another. */
function spoilt(data: DataSource): DataSource {
	return {
		...data,
		fill(split, index, inputs, targets) {
			data.fill(split, index, inputs, targets);
			if (split === "train" && index === 1) inputs[5] = (inputs[5]! + 1) % 64;
		},
	};
}

/** Trains a small GPT-2; `given` has options of the training. */
async function training(group: ProcessGroup): Promise<void> {
	const { folder, seed = 1, optionsOfRank = {}, stopAt, hold, spoiltData, ...options } = given;
	using model = await gpt2({
		layers: 2,
		heads: 2,
		hiddenSize: 32,
		vocabularySize: 64,
		contextLength: 32,
		seed: seed + group.rank, // rank 0's parameters count
	});
	const controller = new AbortController();
	const all: TrainOptions = {
		data: group.rank === spoiltData ? spoilt(copyTask({ seed })) : copyTask({ seed }),
		steps: 20,
		batchSize: 8,
		tokens: 32,
		schedule: constant({ peak: 2e-3 }),
		evaluation: { interval: 10, sequences: 12 },
		metrics: { watch: new EmergenceWatch(), interval: 10, sequences: 6 },
		log: `${folder}/log.jsonl`,
		logInterval: 1,
		signal: controller.signal,
		onProgress({ step }) {
			if (stopAt?.[group.rank] === step) controller.abort();
			if (hold !== undefined) console.log(`step ${step}`);
		},
		...options,
		...optionsOfRank[group.rank],
		...group.size > 1 && { group },
	};
	const result = await train(model, all);
	const path = group.rank === 0
		? all.log!
		: all.log!.replace(".jsonl", `.rank-${group.rank}.jsonl`);
	const records = await readLog(path);
	const weights = await Promise.all(
		[...model.parameters.values()].map(async (one) => [...(await one.data()).slice(0, 8)]),
	);
	tell({
		rank: group.rank,
		step: result.step,
		finished: result.finished,
		losses: records.flatMap((record) => record.event === "step" ? [record.loss] : []),
		validation: records.flatMap((record) => record.event === "evaluation" ? [record.loss] : []),
		metrics: records.flatMap((record) => record.event === "metrics" ? [record.layers] : []),
		weights,
		bytes: group.bytes,
		parameters: [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0),
		peak: result.peakBytes,
	});
}

/** Every collective function, of tensors whose results are easily computed. */
async function collectives(group: ProcessGroup): Promise<void> {
	const { rank } = group, size = 1000 + given.odd;
	const values = Float32Array.from({ length: size }, (_, i) => (rank + 1) * (i % 17) - rank);
	const make = () => Tensor.from<"float32", 1>(device, "float32", [size], values);
	using sum = make(),
		largest = make(),
		least = make(),
		reduced = make(),
		copied = make(),
		passed = make();
	using counts = tensor([rank, -rank, 7], { dtype: "int32" });
	using doubles = Tensor.from<"float64", 1>(device, "float64", [2], [rank + 0.1, 1e300]);
	group.allReduce(sum);
	group.together(() => {
		group.allReduce(largest, "max");
		group.allReduce(least, "min");
		group.allReduce(counts);
		group.allReduce(doubles);
	});
	group.reduce(reduced, group.size - 1);
	group.broadcast(copied, group.size - 1);
	group.pass(passed, 0, group.size - 1);
	await device.synchronize();
	group.check();
	const all = [sum, largest, least, reduced, copied, passed];
	const data = await Promise.all(all.map(async (one) => [...await one.data()]));
	tell({
		rank,
		data,
		counts: [...await counts.data()],
		doubles: [...await doubles.data()],
		exchanged: await group.exchange({ rank, not: rank === 0 ? NaN : Infinity }),
	});
}

await using group = await ProcessGroup.open(device, given.patience && { patience: given.patience });
/** Analyzes the model in the box; `given` has the options. */
async function analyzing(group: ProcessGroup): Promise<void> {
	using model = await loadModel(`${root}/models/box`);
	const other = Deno.env.get("OUTLIERSCOPE_TEST_TEXT"); // of one rank alone
	const options = { ...given.options, ...other !== undefined && { texts: [other] } };
	const analysis = await detectOutliers(model, { ...options, group });
	tell({ rank: group.rank, analysis });
}

if (action === "collectives") await collectives(group);
else if (action === "train") await training(group);
else if (action === "analyze") await analyzing(group);
else if (action === "disagree") {
	await group.agree({ "colour of the data": given.colours[group.rank] });
} else if (action === "wait") {
	console.log("ready");
	using x = tensor([1]);
	if (group.rank !== given.absent) group.allReduce(x); // for which one rank never comes
	await device.synchronize();
	const { signal } = group;
	if (!signal!.aborted) await new Promise((resolve) => signal!.addEventListener("abort", resolve));
	group.check();
} else throw new Error(`There is no action ${action}`);
await group.finish();
