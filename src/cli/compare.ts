// The command `compare`: trains the same model with one attention after another, and writes what differs.

import { parseArgs } from "@std/cli/parse-args";
import {
	type Attention,
	attentionNamed,
	attentions,
	compareAttentions,
	type CompareResults,
	copyTask,
	type DataSource,
	type ExperimentPreset,
	experimentPresets,
	type ExperimentSetting,
	inductionTask,
	randomWindows,
	TokenFile,
	writeComparison,
} from "../../mod.ts";
import { type CompareText, readCompareText } from "./compare_text.ts";
import { Progress } from "./progress.ts";
import { parseChoice, parseWhole, reason, refuseUnknown, UsageError } from "./usage.ts";

const HELP = `Trains the same Transformer with one attention after another, from the same parameters
and on the same data in the same order, and writes what differs: outliers, loss, compression.

Usage: outlierscope compare [OPTIONS]

  --preset NAME        What is trained                                      (default: copy)
                         copy       a task of 64 symbols, 1 layer: about a minute a run
                         induction  a task of 64 symbols, 3 layers: a few minutes a run
                         small      English text, 4 layers: half an hour a run and more
                         gpt2       the paper's GPT-2 on your --data; made for GPUs
  --variants LIST      Attentions, separated by commas, or all; a wrong name lists them
                       (default: softmax,fixed-bias,context-bias,attention-bias,context-scaling,sigmoid)
  --seeds K            Runs of each, with seeds 1 to K                      (default: 1)
  --steps N            Updates of each run                       (default: the preset's)
  --architecture NAME  gpt2 or llama: rotary positions, RMS norm, gated MLP (default: gpt2)
  --data FILE          Text, or JSON Lines, for small: a vocabulary of byte pairs is learned from it.
                       Token ids (*.bin, as nanoGPT and llm.c store them) for gpt2
  --sentence IDS       With *.bin: token ids, separated by commas, of a text for the activation maps
  --dtype TYPE         float32 or bfloat16: inputs of matrix products    (default: bfloat16)
  --out DIR            For report.html, results.json and the runs    (default: out/PRESET)
  -h, --help           Show this help

An interrupted comparison goes on when the same command is given again. Variants and seeds may be
added: finished runs are not repeated.

Examples:
  outlierscope compare --variants softmax,context-scaling,sigmoid
  outlierscope compare --preset induction --variants all --seeds 3 --out out/induction
`;

/** The paper's variants. */
const PAPER = "softmax,fixed-bias,context-bias,attention-bias,context-scaling,sigmoid";

const STRINGS = [
	"preset",
	"variants",
	"seeds",
	"steps",
	"architecture",
	"data",
	"sentence",
	"dtype",
	"out",
] as const;

type Flags = Partial<Record<typeof STRINGS[number], string>>;

function parse(args: string[]): Flags | "help" {
	const flags = parseArgs(args, {
		string: [...STRINGS],
		boolean: ["help"],
		alias: { h: "help" },
		unknown: refuseUnknown("variants are given with --variants"),
	});
	return flags.help ? "help" : flags as Flags;
}

function readAttentions(list: string): Attention[] {
	const names = list === "all" ? Object.keys(attentions) : list.split(",");
	try {
		return names.map((name) => attentionNamed(name.trim()));
	} catch (error) {
		if (error instanceof RangeError) throw new UsageError(error.message, { cause: error });
		throw error;
	}
}

/** What a preset is trained on. */
interface Source extends Disposable {
	data: (seed: number) => DataSource;
	sentence?: { ids: readonly number[]; texts: readonly string[] };
}

async function openSource(
	preset: ExperimentPreset,
	setting: ExperimentSetting,
	flags: Flags,
): Promise<Source> {
	const { data: path } = flags, { vocabularySize } = setting;
	if (preset === "copy" || preset === "induction") {
		if (path !== undefined) {
			throw new UsageError(
				`The preset ${preset} makes its own data; --data goes with small and gpt2`,
			);
		}
		const task = preset === "copy" ? copyTask : inductionTask;
		return { data: (seed) => task({ seed }), [Symbol.dispose]: () => {} };
	}
	if (path?.endsWith(".bin")) {
		const tokens = await TokenFile.open(path, { vocabularySize });
		const ids = flags.sentence?.split(",").map(Number);
		const wrong = ids?.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize));
		if (wrong !== undefined) {
			throw new UsageError(
				`--sentence has ${wrong}, which is no token id from 0 to ${vocabularySize - 1}`,
			);
		}
		return {
			data: (seed) => randomWindows(tokens, { seed, vocabularySize }),
			...ids && { sentence: { ids, texts: ids.map(String) } },
			[Symbol.dispose]: () => tokens[Symbol.dispose](),
		};
	}
	if (preset === "gpt2") {
		throw new UsageError(
			"The preset gpt2 needs --data with token ids of GPT-2's vocabulary (*.bin)",
		);
	}
	let text: CompareText;
	try {
		text = await readCompareText(path, vocabularySize);
	} catch (error) {
		throw new UsageError(`Cannot read text: ${reason(error)}`, { cause: error });
	}
	return {
		data: (seed) => randomWindows(text.tokens, { seed, vocabularySize, start: 0 }),
		sentence: text.sentence,
		[Symbol.dispose]: () => {},
	};
}

/** The headline numbers of all runs. */
function summary({ pieces }: CompareResults): string {
	const rows = pieces.map(({ variant, seed, measurements, problem }) => {
		const name = variant.padEnd(22) + String(seed).padStart(4), last = measurements.at(-1);
		if (problem !== null || !last) return `${name}  ${problem}`;
		const { peak, gatedSinkRate, valueRatio } = last.headline;
		return name + last.loss.toFixed(3).padStart(9) + peak.toPrecision(3).padStart(11) +
			`${(100 * gatedSinkRate).toFixed(0)} %`.padStart(12) + valueRatio.toFixed(2).padStart(13);
	});
	return ["variant               seed     loss  peak/mean  sink heads  value ratio", ...rows]
		.join("\n");
}

/** Runs the command `compare`. */
export async function compare(args: string[]): Promise<number> {
	const flags = parse(args);
	if (flags === "help") {
		console.log(HELP);
		return 0;
	}
	const preset = parseChoice(
		"preset",
		flags.preset ?? "copy",
		Object.keys(experimentPresets) as ExperimentPreset[],
	);
	const setting: ExperimentSetting = {
		...experimentPresets[preset],
		architecture: parseChoice("architecture", flags.architecture ?? "gpt2", ["gpt2", "llama"]),
		dtype: parseChoice("dtype", flags.dtype ?? "bfloat16", ["float32", "bfloat16"]),
		...flags.steps !== undefined && { steps: parseWhole("steps", flags.steps) },
	};
	const chosen = readAttentions(flags.variants ?? PAPER);
	const seeds = Array.from({ length: parseWhole("seeds", flags.seeds ?? "1") }, (_, i) => i + 1);
	const folder = flags.out ?? `out/${preset}`;
	using source = await openSource(preset, setting, flags);
	const progress = new Progress();
	progress.say(`Training ${chosen.length * seeds.length} models of ${setting.steps} updates each`);
	let results: CompareResults;
	try {
		results = await compareAttentions({
			setting,
			attentions: chosen,
			seeds,
			data: source.data,
			...source.sentence && { sentence: source.sentence },
			folder,
			onProgress: ({ variant, seed, done, total, loss }) =>
				progress.update(`${variant}, seed ${seed}, loss ${loss.toFixed(3)}`, done, total),
		});
	} catch (error) {
		if (error instanceof RangeError) throw new UsageError(error.message, { cause: error });
		throw error;
	} finally {
		progress.end();
	}
	await writeComparison(results, folder);
	console.log(summary(results));
	console.log(`Report: ${folder}/report.html`);
	return 0;
}
