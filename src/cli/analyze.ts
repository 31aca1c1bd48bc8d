// The command `analyze`: runs text through a model and reports its outliers.

import { parseArgs } from "@std/cli/parse-args";
import {
	type Analysis,
	cutSequences,
	DEFAULT_TEXT,
	type DefinitionName,
	type Detector,
	detectorNamed,
	detectors,
	type DetectOutliersOptions,
	loadModel,
	PAPER_SENTENCE,
	ProcessGroup,
	type SourceText,
	type Transformer,
} from "../../mod.ts";
import { readLaunch } from "../cuda/launch.ts";
import { onExit } from "../host/clean_up.ts";
import { ANALYSIS_KERNELS, prepareDetection, runDetection } from "../outliers/detect.ts";
import { findingLines } from "../outliers/report/lines.ts";
import { findings, headline } from "../outliers/report/words.ts";
import { prepareDirectory, writeReport } from "../outliers/report/write.ts";
import { type Choice, laboratory, parseDefinition, parseOnly } from "./laboratory.ts";
import { Progress } from "./progress.ts";
import { parseWhole, reason, refuseUnknown, UsageError } from "./usage.ts";

const HELP = `Finds the systematic outliers of a model.

Usage: outlierscope analyze [OPTIONS]

Runs text through a model and reports the outliers of its hidden states, down-projection inputs,
weights and attention: a table here; analysis.json, report.html and figures/*.svg in a directory.

Input:
  --model PATH|NAME    A folder with config.json and safetensors, a GGUF file, a model of the
                       Hub such as gpt2 or owner/name, or smollm2        (default: smollm2)
  --text TEXT          The text to analyze
  --text-file FILE     The same, from a file
                       With neither: the English text that comes with Outlierscope, and the
                       paper's "Summer is warm. Winter is cold."
  --length N           Tokens of a sequence; a shorter text gives a shorter one  (default: 2048,
                       or the model's context length if that is smaller)
  --sequences N        How many sequences to cut from the text           (default: 1)

Analyses:
  --only LIST          What to run, with commas between; "all" for everything  (default: report)
                         report         the quick report of all four kinds of outliers
                         maps           h, x_down, W_down and attention of one sentence
                         positions      which layers, tokens, features, heads and weights
                         consistency    whether the kinds of outliers coincide
                         lengths        whether the length of a text matters
                         emergence      which weights make the outliers
                         spread         how attention spreads them
                         disappearance  which layers take them away
                         causes         what goes with them when they are taken away
                         comparison     another model beside this one (--compare)
  --compare MODEL      The other model, such as a base model or its chat variant
  --definition NAME    What counts as an outlier where the paper and its code differ: default,
                       paper or code; --preset is the same             (default: default)

Criteria:
  --tau NUMBER         τ: an activation is an outlier if it exceeds τ times its layer's mean, a
                       weight if it exceeds τ times its row's mean       (default: 1000)
  --detectors NAME,... Ask other criteria in the same pass, or all of them:
                       DETECTORS
  --dtype TYPE         float32 or bfloat16: the inputs of matrix products  (default: float32)

Output:
  --out DIR            Where to write the report                         (default: out/analysis)
                       Analyses go to DIR/laboratory/NAME.json, each as soon as it is done, and
                       to DIR/laboratory.html; after Ctrl-C a second run goes on from there
  --json               Print the analysis as JSON, not the table; without --out, write no files
  -h, --help           Show this help

Examples:
  outlierscope analyze --text "Summer is warm. Winter is cold." --out out/summer
  outlierscope analyze --model gpt2 --out out/gpt2
  outlierscope analyze --model model.gguf --text-file book.txt --sequences 10 --out out/book
  outlierscope analyze --only positions,consistency --definition paper
  outlierscope analyze --only all --out out/laboratory

OUTLIERSCOPE_DEVICE=cuda or host chooses the device; by default a GPU if there is one.
`;

interface AnalyzeArguments {
	model: string;
	options: DetectOutliersOptions;
	out: string | null;
	json: boolean;
	choice: Choice;
	definition: DefinitionName | undefined;
	compare: string | undefined;
}

function parseNumber(name: string, text: string): number {
	const number = text.trim() === "" ? NaN : Number(text);
	if (!(number > 0) || number === Infinity) {
		throw new UsageError(`Cannot use "${text}" as --${name}: it must be a number above 0`);
	}
	return number;
}

function parseAnalyze(args: string[]): AnalyzeArguments | "help" {
	const flags = parseArgs(args, {
		string: [
			...["model", "text", "text-file", "length", "sequences", "tau", "dtype", "out"],
			...["detectors", "only", "compare", "definition"],
		],
		boolean: ["json", "help"],
		alias: { h: "help", definition: "preset" },
		unknown: refuseUnknown("a text is given with --text"),
	});
	if (flags.help) return "help";
	const needed = ["model", "text-file", "detectors", "dtype", "out", "only", "compare"] as const;
	for (const name of needed) {
		if (flags[name] === "") throw new UsageError(`The option --${name} needs a value`);
	}
	if (flags.text !== undefined && flags["text-file"] !== undefined) {
		throw new UsageError("Give either --text or --text-file, not both");
	}
	const { dtype } = flags;
	if (dtype !== undefined && dtype !== "float32" && dtype !== "bfloat16") {
		throw new UsageError(`Cannot use "${dtype}" as --dtype: it must be float32 or bfloat16`);
	}
	const source: SourceText | undefined = flags.text !== undefined
		? { source: "text", text: flags.text }
		: flags["text-file"] !== undefined
		? readText(flags["text-file"])
		: undefined;
	if (source && source.text.trim() === "") {
		throw new UsageError(`Cannot analyze the ${source.source}: it is empty`);
	}
	return {
		model: flags.model ?? "smollm2",
		options: {
			texts: source ? [source] : [DEFAULT_TEXT, PAPER_SENTENCE],
			...(flags.length !== undefined && { length: parseWhole("length", flags.length) }),
			...(flags.sequences !== undefined && { sequences: parseWhole("sequences", flags.sequences) }),
			...(flags.tau !== undefined && { tau: parseNumber("tau", flags.tau) }),
			...(dtype !== undefined && { dtype }),
			...(flags.detectors !== undefined && { detectors: parseDetectors(flags.detectors) }),
		},
		out: flags.out ?? (flags.json ? null : "out/analysis"),
		json: flags.json,
		choice: parseOnly(flags.only, flags.compare !== undefined),
		definition: flags.definition === undefined ? undefined : parseDefinition(flags.definition),
		compare: flags.compare,
	};
}

function parseDetectors(text: string): Detector[] {
	const names = text === "all" ? Object.keys(detectors) : text.split(",");
	try {
		return names.map((name) => detectorNamed(name.trim()));
	} catch (error) {
		throw new UsageError(reason(error), { cause: error });
	}
}

function readText(path: string): SourceText {
	let bytes: Uint8Array;
	try {
		bytes = Deno.readFileSync(path);
	} catch (error) {
		throw new UsageError(`Cannot read --text-file "${path}": ${reason(error)}`, { cause: error });
	}
	try {
		const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
		return { source: path.slice(path.lastIndexOf("/") + 1), text };
	} catch (error) {
		throw new UsageError(`Cannot read --text-file "${path}": it is not UTF-8 text`, {
			cause: error,
		});
	}
}

/** The findings as text of at most 100 columns. */
function formatFindings(analysis: Analysis): string {
	const { model, device, sequences } = analysis;
	const tokens = sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
	const lines = [
		headline(analysis),
		"",
		...wrap(
			"Model",
			`${model.name}: ${model.layers} layers, hidden size ${model.hiddenSize}, ${model.heads} heads`,
		),
		...wrap(
			"Input",
			`${sequences.length} ${plural(sequences.length, "sequence")}, ${tokens} tokens`,
		),
		...wrap("Device", `${device.name}, ${device.dtype}`),
		"",
		...findings(analysis).flatMap(({ kind, text }) => wrap(kind, text)),
		"",
		...findingLines(analysis).flatMap((line, i) => wrap(i === 0 ? "In numbers" : "", line)),
	];
	return lines.join("\n") + "\n";
}

/** Names, as many on a line as fit behind the options of the help. */
function listed(names: readonly string[]): string {
	const lines = [""];
	for (const name of names) {
		const line = lines.at(-1)!;
		if (line.length + name.length > 74) lines.push(`${name}, `);
		else lines[lines.length - 1] = `${line}${name}, `;
	}
	return lines.map((line) => line.trimEnd()).join(`\n${" ".repeat(23)}`).replace(/,$/, "");
}

function plural(count: number, noun: string): string {
	return count === 1 ? noun : `${noun}s`;
}

/** A row of the table: a name, and words broken to fit beside it. */
function wrap(name: string, text: string): string[] {
	const NAME_WIDTH = 24;
	const TEXT_WIDTH = 76;
	const lines = [""];
	for (const word of text.split(" ")) {
		const line = lines.at(-1)!;
		if (line && line.length + 1 + word.length > TEXT_WIDTH) lines.push(word);
		else lines[lines.length - 1] = line ? `${line} ${word}` : word;
	}
	return lines.map((line, i) => (i === 0 ? name : "").padEnd(NAME_WIDTH) + line);
}

/** Runs the command `analyze`. */
export async function analyze(args: string[]): Promise<number> {
	const parsed = parseAnalyze(args);
	if (parsed === "help") {
		console.log(HELP.replace("DETECTORS", listed(Object.keys(detectors))));
		return 0;
	}
	const { out, json, options } = parsed;
	const first = (readLaunch()?.rank ?? 0) === 0; // of several processes, one prints and writes
	using _directory = out === null || !first ? null : await claimDirectory(out);
	const progress = new Progress(!first);
	try {
		using model = await loadModel(parsed.model, {
			onProgress: ({ file, done, total }) => progress.update(`Downloading ${file}`, done, total),
			onPrepare: (what) => progress.say(`First use on this machine: ${what} (some seconds)`),
		});
		await using group = await ProcessGroup.open(model.device);
		if (group.size > 1 && parsed.choice.analyses.length > 0) {
			throw new UsageError("Cannot share the analyses of --only with several processes: run one");
		}
		await model.device.prepare(ANALYSIS_KERNELS); // before the time that is left is estimated
		const { choice: { report, analyses } } = parsed;
		const detecting = report ? await prepareDetection(model, options) : null;
		let analysis = null as Analysis | null; // which `finish` sets
		const finish = async (results: Record<string, unknown>) => {
			analysis = await detecting!.finish(results);
			if (out === null || !first) return;
			progress.say("Drawing the report");
			await writeReport(analysis, out);
		};
		if (detecting && analyses.length === 0) {
			progress.say("Analyzing");
			await finish(
				await runDetection(model, detecting, {
					...options,
					group,
					onProgress: (done, total) => progress.update("Analyzing", done, total),
				}),
			);
		}
		const results = analyses.length > 0
			? await laboratory(model, cutTexts(model, options), {
				...parsed,
				analyses,
				...detecting && { beside: { ...detecting, onResults: finish } },
			}, progress)
			: null;
		await group.finish();
		progress.end();
		if (!first) return 0;
		if (json) {
			console.log(JSON.stringify(results ? { ...analysis && { analysis }, ...results } : analysis));
			return 0;
		}
		if (analysis) console.log(formatFindings(analysis));
		if (out !== null && report) console.log(`Report: ${out}/report.html`);
		if (out !== null && results) console.log(`Laboratory: ${out}/laboratory.html`);
		return 0;
	} finally {
		progress.end();
	}
}

/** The sequences that the report is of, but for the paper's sentence beside the default text, which is too short. */
function cutTexts(
	model: Transformer,
	{ texts = [], length, sequences = 1 }: DetectOutliersOptions,
) {
	const limit = Math.min(length ?? 2048, model.config.contextLength);
	const tokenizer = model.hasTokenizer ? model.tokenizer : null;
	return texts.filter((text) => text !== PAPER_SENTENCE).flatMap((text) =>
		cutSequences(tokenizer, text as SourceText, limit, sequences)
	);
}

/** Makes sure that a report can be written; a directory made for it goes again if none was. */
async function claimDirectory(directory: string): Promise<Disposable> {
	const isNew = await Deno.stat(directory).then(() => false, () => true);
	await prepareDirectory(directory);
	return onExit(() => {
		if (isNew) Deno.removeSync(directory); // fails, as it should, once the report is in it
	});
}
