// The command `train`: trains a small GPT-2 or LLaMA and watches its outliers being born.

import { parseArgs } from "@std/cli/parse-args";
import {
	attentionNamed,
	copyTask,
	cosine,
	type DataSource,
	EmergenceWatch,
	gpt2,
	inductionTask,
	type LayerEmergence,
	llama,
	ProcessGroup,
	randomWindows,
	readLaunch,
	readLog,
	serveLog,
	TokenFile,
	tokenizeFile,
	train as runTraining,
	type Transformer,
} from "../../mod.ts";
import { Progress } from "./progress.ts";
import { parseChoice, parseWhole, reason, refuseUnknown, UsageError } from "./usage.ts";

const HELP = `Trains a Transformer from scratch, and watches its outliers being born.

Usage: outlierscope train [OPTIONS]

What is trained on, one of:
  --task NAME          copy or induction: synthetic tasks that bring forth attention sinks in
                       a minute on two cores                             (default: induction)
  --data FILE          A text or JSON Lines file, whose bytes are the tokens, or token ids as
                       nanoGPT and llm.c store them (*.bin; give --vocabulary)

The model:
  --family NAME        gpt2 or llama                                     (default: gpt2)
  --attention NAME     softmax, context-scaling, sigmoid, ...; a wrong name lists all
                                                                         (default: softmax)
  --layers N, --heads N, --hidden N    Its sizes                         (default: 3, 4, 128)
  --context N          Tokens of a sequence                              (default: 64)
  --vocabulary N       Token ids are below this; needed for *.bin
  --seed N             Of the first parameters and the order of data     (default: 1337)

The training:
  --steps N            Updates                                           (default: 1000)
  --batch N            Sequences of an update                            (default: 32)
  --learning-rate X    The highest, after a warm-up; falls to a tenth    (default: 0.002)
  --dtype TYPE         float32 or bfloat16: the inputs of matrix products  (default: float32)

Output:
  --out DIR            For log.jsonl and checkpoints                     (default: out/train)
  --every N            Updates between two checkpoints and two measurements of outliers
                                                            (default: a tenth of the steps)
  --shard-optimizer    Where several processes train, each keeps its part of the optimizer's state
  --resume             Go on from the latest checkpoint in --out
  --watch              Show the curves on a page of this machine while it trains
  -h, --help           Show this help

Examples:
  outlierscope train --task copy --layers 1 --heads 1 --context 128 --steps 1000
  mpirun -n 4 outlierscope train --steps 1000   # each takes a part of every batch
  outlierscope train --data book.txt --layers 4 --context 128 --steps 5000 --watch
`;

const NUMBERS = {
	layers: 3,
	heads: 4,
	hidden: 128,
	context: 64,
	vocabulary: 0,
	seed: 1337,
	steps: 1000,
	batch: 32,
	every: 0,
} as const;

type Numbers = Record<keyof typeof NUMBERS, number>;

interface TrainArguments extends Numbers {
	task: "copy" | "induction";
	data: string | null;
	family: "gpt2" | "llama";
	attention: string;
	learningRate: number;
	dtype: "float32" | "bfloat16";
	out: string;
	shardOptimizer: boolean;
	resume: boolean;
	watch: boolean;
}

function parseTrain(args: string[]): TrainArguments | "help" {
	const numbers = Object.keys(NUMBERS) as (keyof typeof NUMBERS)[];
	const flags = parseArgs(args, {
		string: [...numbers, "task", "data", "family", "attention", "learning-rate", "dtype", "out"],
		boolean: ["shard-optimizer", "resume", "watch", "help"],
		alias: { h: "help" },
		unknown: refuseUnknown("a file is given with --data"),
	});
	if (flags.help) return "help";
	if (flags.task !== undefined && flags.data !== undefined) {
		throw new UsageError("Give either --task or --data, not both");
	}
	const given = flags as unknown as Record<string, string | undefined>;
	const whole = (name: keyof typeof NUMBERS) => {
		const text = given[name];
		return text === undefined ? NUMBERS[name] : parseWhole(name, text);
	};
	const all = Object.fromEntries(numbers.map((name) => [name, whole(name)])) as Numbers;
	const learningRate = Number(given["learning-rate"] ?? "0.002");
	if (!(learningRate > 0 && learningRate < 10)) {
		throw new UsageError(
			`Cannot use "${given["learning-rate"]}" as --learning-rate: it must be above 0 and below 10`,
		);
	}
	if (flags.out === "") throw new UsageError("The option --out needs a value");
	return {
		...all,
		every: all.every || Math.max(1, Math.round(all.steps / 10)),
		task: parseChoice("task", flags.task ?? "induction", ["copy", "induction"]),
		data: flags.data ?? null,
		family: parseChoice("family", flags.family ?? "gpt2", ["gpt2", "llama"]),
		attention: flags.attention ?? "softmax",
		learningRate,
		dtype: parseChoice("dtype", flags.dtype ?? "float32", ["float32", "bfloat16"]),
		out: flags.out ?? "out/train",
		shardOptimizer: flags["shard-optimizer"],
		resume: flags.resume,
		watch: flags.watch,
	};
}

/** What to train on, and the size of its vocabulary. */
async function openData(
	options: TrainArguments,
): Promise<{ data: DataSource; vocabulary: number }> {
	const { data: path, seed } = options;
	if (path === null) {
		const data = options.task === "copy" ? copyTask({ seed }) : inductionTask({ seed });
		return { data, vocabulary: options.vocabulary || data.vocabularySize! };
	}
	if (path.endsWith(".bin")) {
		const vocabularySize = options.vocabulary;
		if (!vocabularySize) {
			throw new UsageError("Give --vocabulary with token ids: how many different ones there are");
		}
		const tokens = await TokenFile.open(path, { vocabularySize });
		return { data: randomWindows(tokens, { seed, vocabularySize }), vocabulary: vocabularySize };
	}
	const encoder = new TextEncoder();
	try {
		const tokens = await tokenizeFile(path, (text) => encoder.encode(text), { end: 0 });
		const vocabulary = options.vocabulary || 256;
		return { data: randomWindows(tokens, { seed, vocabularySize: vocabulary }), vocabulary };
	} catch (error) {
		throw new UsageError(`Cannot read --data "${path}": ${reason(error)}`, { cause: error });
	}
}

/** A table of the last measurement in a log. */
async function findings(log: string): Promise<string> {
	let layers: readonly LayerEmergence[] = [];
	for (const record of await readLog(log)) {
		if (record.event === "metrics") layers = record.layers as unknown as LayerEmergence[];
	}
	const rows = layers.map(({ layer, hiddenState, attention }) =>
		`${layer + 1}`.padStart(5) + hiddenState.max.toPrecision(3).padStart(11) +
		hiddenState.maxOverMedian.toPrecision(3).padStart(13) +
		`${(100 * attention.rate).toFixed(0)} %`.padStart(11) +
		attention.valueRatio.toFixed(2).padStart(16)
	);
	return ["layer  largest h  over median  sink heads  value norm at 0", ...rows].join("\n");
}

/** Runs the command `train`. */
export async function train(args: string[]): Promise<number> {
	const options = parseTrain(args);
	if (options === "help") {
		console.log(HELP);
		return 0;
	}
	const { layers, heads, hidden, context, seed, steps, batch, every, out, dtype } = options;
	const { data, vocabulary } = await openData(options);
	const first = (readLaunch()?.rank ?? 0) === 0; // of several processes, one prints
	const progress = new Progress(!first);
	const sizes = {
		layers,
		heads,
		hiddenSize: hidden,
		vocabularySize: vocabulary,
		contextLength: context,
		seed,
	};
	let model: Transformer;
	try {
		const attention = attentionNamed(options.attention);
		model = options.family === "gpt2" ? await gpt2({ ...sizes, attention }) : await llama({
			...sizes,
			attention,
			keyValueHeads: heads,
			intermediateSize: Math.round(8 * hidden / 3),
		});
	} catch (error) {
		if (error instanceof RangeError) throw new UsageError(error.message, { cause: error });
		throw error;
	}
	using trained = model;
	await using group = await ProcessGroup.open(model.device);
	await Deno.mkdir(out, { recursive: true });
	const log = `${out}/log.jsonl`;
	await using page = options.watch && first ? await serveLog(log) : null;
	if (page) console.log(`Curves: ${page.url}`);
	try {
		const result = await runTraining(trained, {
			data,
			steps,
			batchSize: batch,
			tokens: context,
			dtype,
			schedule: cosine({ peak: options.learningRate, warmUp: Math.round(steps / 20), steps }),
			evaluation: { interval: every, sequences: 2 * batch },
			metrics: { watch: new EmergenceWatch(), interval: every, sequences: 8 },
			checkpoints: { folder: `${out}/checkpoints`, interval: every },
			resume: options.resume,
			group,
			shardOptimizer: options.shardOptimizer,
			log,
			config: { ...options, vocabulary },
			onProgress: ({ step, loss, tokensPerSecond }) =>
				progress.update(
					`Loss ${loss.toFixed(3)}, ${Math.round(tokensPerSecond)} tokens/s`,
					step,
					steps,
				),
		});
		await group.finish();
		progress.end();
		if (!first) return 0;
		console.log(
			`${result.step} updates, loss ${result.loss?.toFixed(4)}, on validation data ` +
				`${result.validationLoss?.toFixed(4)}`,
		);
		console.log(await findings(log));
		console.log(`Log: ${log}`);
		return 0;
	} finally {
		progress.end();
	}
}
