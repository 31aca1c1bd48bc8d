/**
 * The command: finds the outliers of a model and writes a report.
 *
 * ```sh
 * deno run -A jsr:@outlierscope/outlierscope/cli analyze --model model.gguf --out report
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import {
  type Analysis,
  DEFAULT_TEXT,
  detectOutliers,
  type DetectOutliersOptions,
  loadModel,
  PAPER_SENTENCE,
  type SourceText,
} from "./mod.ts";
import { onExit } from "./src/host/clean_up.ts";
import { findings, headline } from "./src/outliers/report/words.ts";
import { prepareDirectory, writeReport } from "./src/outliers/report/write.ts";

const HELP = `Outlierscope finds systematic outliers in Transformers.

Usage: outlierscope analyze [OPTIONS]

Runs text through a model and reports the outliers of its hidden states, down-projection inputs,
weights and attention: a table here; analysis.json, report.html and figures/*.svg in a directory.

Input:
  --model PATH|NAME    A GGUF file of the LLaMA family, or smollm2       (default: smollm2)
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
  outlierscope analyze --model model.gguf --text-file book.txt --sequences 10 --out out/book

OUTLIERSCOPE_DEVICE=cuda or host chooses the device; by default a GPU if there is one.
`;

/** A mistake in how the command was called. */
class UsageError extends Error {}

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

/** Shows what is going on, and how long it will take, on a terminal's last line. */
class Progress {
  readonly #terminal = Deno.stderr.isTerminal();
  readonly #encoder = new TextEncoder();
  #begun = 0;
  #shown = "";
  #next = 0;

  /** Says what begins now. */
  say(text: string): void {
    this.#begun = performance.now();
    this.#show(text);
  }

  /** Shows a share of the work and the time left; without a terminal, a line every ten seconds. */
  update(text: string, done: number, total: number): void {
    const now = performance.now();
    if (now < this.#next && done < total) return;
    this.#next = now + (this.#terminal ? 100 : 10_000);
    if (!this.#terminal && now - this.#begun < 5_000) return;
    const left = (now - this.#begun) / done * (total - done) / 1000;
    const width = 24;
    const filled = Math.round(width * done / total);
    const bar = this.#terminal ? ` ${"█".repeat(filled)}${"░".repeat(width - filled)}` : "";
    this.#show(`${text}${bar} ${done}/${total}, ${formatSeconds(left)} left`);
  }

  /** Empties the line. */
  end(): void {
    if (this.#terminal && this.#shown) this.#write("\r\x1b[K");
    this.#shown = "";
  }

  #show(text: string): void {
    if (text === this.#shown) return;
    this.#shown = text;
    this.#write(this.#terminal ? `\r\x1b[K${text}` : `${text}\n`);
  }

  #write(text: string): void {
    Deno.stderr.writeSync(this.#encoder.encode(text));
  }
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
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

async function analyze(args: string[]): Promise<void> {
  const parsed = parseAnalyze(args);
  if (parsed === "help") {
    console.log(HELP);
    return;
  }
  const { out, json, options } = parsed;
  using _directory = out === null ? null : await claimDirectory(out);
  const progress = new Progress();
  try {
    using model = await loadModel(parsed.model, {
      onPrepare: (what) => progress.say(`First use on this machine: ${what} (some seconds)`),
    });
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

function reason(error: unknown): string {
  return error instanceof Error ? error.message.split("\n")[0]! : String(error);
}

/** Runs the command; returns the exit status. */
async function main(args: string[]): Promise<number> {
  const [command, ...rest] = args;
  try {
    if (command === undefined || command === "--help" || command === "-h" || command === "help") {
      console.log(HELP);
      return command === undefined ? 2 : 0;
    }
    if (command !== "analyze") {
      throw new UsageError(`Unknown command "${command}"; the only one is analyze (see --help)`);
    }
    await analyze(rest);
    return 0;
  } catch (error) {
    // A TypeError or ReferenceError is a mistake of ours: its stack is worth having.
    const ours = error instanceof TypeError || error instanceof ReferenceError;
    const text = error instanceof Error ? (ours ? error.stack : error.message) : String(error);
    console.error(`error: ${text}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

if (import.meta.main) {
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    // `Deno.exit` runs what removes temporary files.
    Deno.addSignalListener(signal, () => Deno.exit(status));
  }
  Deno.exit(await main(Deno.args));
}
