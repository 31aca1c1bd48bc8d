// Trains a small GPT-2 on the induction task and shows outliers being born, on a page with curves. Ctrl-C stops it
// with a checkpoint, from which the same command goes on.
//
//   deno run -A examples/train_gpt2.ts [STEPS] [FOLDER]

import {
	cosine,
	describeProgress,
	EmergenceWatch,
	gpt2,
	inductionTask,
	serveLog,
	train,
} from "../mod.ts";

const steps = Number(Deno.args[0] ?? 4000), folder = Deno.args[1] ?? "out/induction";
const stop = new AbortController();
Deno.addSignalListener("SIGINT", () => stop.abort());

await Deno.mkdir(folder, { recursive: true });
await using page = serveLog(`${folder}/log.jsonl`);
console.log(`Curves: ${page.url}`);
using model = await gpt2({
	layers: 3,
	heads: 4,
	hiddenSize: 128,
	vocabularySize: 64,
	contextLength: 64,
});
const result = await train(model, {
	data: inductionTask(),
	steps,
	batchSize: 32,
	tokens: 64,
	schedule: cosine({ peak: 2e-3, warmUp: Math.min(100, steps), steps, minimum: 6e-4 }),
	dtype: "bfloat16",
	evaluation: { interval: 250, sequences: 128 },
	metrics: { watch: new EmergenceWatch(), interval: 250, sequences: 16 },
	checkpoints: { folder, interval: 500 },
	resume: true,
	log: `${folder}/log.jsonl`,
	signal: stop.signal,
	onProgress: (progress) => progress.step % 10 === 0 && console.log(describeProgress(progress)),
});
console.log(`After step ${result.step} the loss of new sequences is ${result.validationLoss}`);
Deno.exit();
