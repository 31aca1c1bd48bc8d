// Trains the model in the box: `tools/box_model/train.sh` makes its data and calls this. Ctrl-C stops it with a
// checkpoint, from which the same command goes on.
//
//   deno run -A tools/box_model/train.ts FOLDER [STEPS]

import {
	type DataSource,
	describeProgress,
	EmergenceWatch,
	gpt2,
	randomWindows,
	TokenFile,
	train,
	warmUpStableDecay,
} from "../../mod.ts";

const [folder = "out/box", steps = "12000"] = Deno.args;
const vocabularySize = 2048, tokens = 128;
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
	Deno.addSignalListener(signal, () => stop.abort());
}

using learned = await TokenFile.open(`${folder}/train.bin`, { vocabularySize });
using held = await TokenFile.open(`${folder}/validation.bin`, { vocabularySize });
const windows = randomWindows(learned, { validation: held, seed: 1, vocabularySize });
/**
 * Every other window begins with the start token and then repeats a passage until it is full. What follows in a
 * passage that came before is looked up: heads that do so have nothing to look up before that, which is when sinks
 * appear. The other windows are text as it stands, so that the first position is one whatever its token.
 */
const data: DataSource = {
	description: `${windows.description}; every other one repeats a passage behind token 0`,
	vocabularySize,
	fill(split, index, inputs, targets) {
		windows.fill(split, index, inputs, targets);
		if (index % 2 === 0) {
			const passage = inputs.slice(
				0,
				tokens / 4 + (Math.imul(index, 0x9e3779b1) >>> 8) % (tokens / 2),
			);
			for (let i = 0; i < tokens; i++) {
				inputs[i] = i === 0 ? 0 : passage[(i - 1) % passage.length]!;
				targets[i] = passage[i % passage.length]!;
			}
		}
		targets[0] = -1; // what follows the first token is predicted by other means than all else
	},
};
using model = await gpt2({
	layers: 4,
	heads: 4,
	hiddenSize: 128,
	vocabularySize,
	contextLength: tokens,
	seed: 1,
});
const result = await train(model, {
	data,
	steps: Number(steps),
	batchSize: 8,
	tokens,
	schedule: warmUpStableDecay({ peak: 3e-3, warmUp: 200, steps: Number(steps) }),
	dtype: "bfloat16",
	evaluation: { interval: 500, sequences: 128 },
	metrics: { watch: new EmergenceWatch(), interval: 500, sequences: 16 },
	checkpoints: { folder: `${folder}/checkpoints`, interval: 500 },
	resume: true,
	log: `${folder}/log.jsonl`,
	signal: stop.signal,
	onProgress: (progress) => progress.step % 50 === 0 && console.log(describeProgress(progress)),
});
console.log(
	`After step ${result.step} the loss of the validation data is ${result.validationLoss}`,
);
Deno.exit();
