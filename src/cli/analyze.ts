// The command `analyze`: runs text through a model and reports its outliers.

import { parseArgs } from "@std/cli/parse-args";
import {
  type Analysis,
  DEFAULT_TEXT,
  detectOutliers,
  type DetectOutliersOptions,
  loadModel,
  PAPER_SENTENCE,
  type SourceText,
} from "../../mod.ts";
import { onExit } from "../host/clean_up.ts";
import { ANALYSIS_KERNELS } from "../outliers/detect.ts";
import { findings, headline } from "../outliers/report/words.ts";
import { prepareDirectory, writeReport } from "../outliers/report/write.ts";
import { Progress } from "./progress.ts";
import { reason, UsageError } from "./usage.ts";

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

Criteria:
  --tau NUMBER         τ: an activation is an outlier if it exceeds τ times its layer's mean, a
                       weight if it exceeds τ times its row's mean       (default: 1000)
  --dtype TYPE         float32 or bfloat16: the inputs of matrix products  (default: float32)

Output:
  --out DIR            Where to write the report                         (default: out/analysis)
  --json               Print the analysis as JSON, not the table; without --out, write no files
  -h, --help           Show this help

Examples:
  outlierscope analyze --text "Summer is warm. Winter is cold." --out out/summer
  outlierscope analyze --model gpt2 --out out/gpt2
  outlierscope analyze --model model.gguf --text-file book.txt --sequences 10 --out out/book

OUTLIERSCOPE_DEVICE=cuda or host chooses the device; by default a GPU if there is one.
`;

interface AnalyzeArguments {
  model: string;
  options: DetectOutliersOptions;
  out: string | null;
  json: boolean;
}

function parseNumber(name: string, text: string): number {
  const number = text.trim() === "" ? NaN : Number(text);
  if (!(number > 0) || number === Infinity) {
    throw new UsageError(`Cannot use "${text}" as --${name}: it must be a number above 0`);
  }
  return number;
}

function parseWhole(name: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new UsageError(`Cannot use "${text}" as --${name}: it must be a whole number, 1 or more`);
  }
  return Number(text);
}

function parseAnalyze(args: string[]): AnalyzeArguments | "help" {
  const flags = parseArgs(args, {
    string: ["model", "text", "text-file", "length", "sequences", "tau", "dtype", "out"],
    boolean: ["json", "help"],
    alias: { h: "help" },
    unknown: (argument) => {
      if (argument === "") return false; // the empty value of the option before it
      throw new UsageError(
        argument.startsWith("-")
          ? `Unknown option ${argument}; --help lists the options`
          : `Unexpected argument "${argument}"; a text is given with --text`,
      );
    },
  });
  if (flags.help) return "help";
  for (const name of ["model", "text-file", "dtype", "out"] as const) {
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
    },
    out: flags.out ?? (flags.json ? null : "out/analysis"),
    json: flags.json,
  };
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
  ];
  return lines.join("\n") + "\n";
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
    console.log(HELP);
    return 0;
  }
  const { out, json, options } = parsed;
  using _directory = out === null ? null : await claimDirectory(out);
  const progress = new Progress();
  try {
    using model = await loadModel(parsed.model, {
      onProgress: ({ file, done, total }) => progress.update(`Downloading ${file}`, done, total),
      onPrepare: (what) => progress.say(`First use on this machine: ${what} (some seconds)`),
    });
    await model.device.prepare(ANALYSIS_KERNELS); // before the time that is left is estimated
    progress.say("Analyzing");
    const analysis = await detectOutliers(model, {
      ...options,
      onProgress: (done, total) => progress.update("Analyzing", done, total),
    });
    if (out !== null) {
      progress.say("Drawing the report");
      await writeReport(analysis, out);
    }
    progress.end();
    console.log(json ? JSON.stringify(analysis) : formatFindings(analysis));
    if (out !== null && !json) console.log(`Report: ${out}/report.html`);
    return 0;
  } finally {
    progress.end();
  }
}

/** Makes sure that a report can be written; a directory made for it goes again if none was. */
async function claimDirectory(directory: string): Promise<Disposable> {
  const isNew = await Deno.stat(directory).then(() => false, () => true);
  await prepareDirectory(directory);
  return onExit(() => {
    if (isNew) Deno.removeSync(directory); // fails, as it should, once the report is in it
  });
}
