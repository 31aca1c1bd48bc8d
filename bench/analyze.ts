// Measures the analysis against the same analysis in PyTorch, side by side in one run: time from process
// start to finished report, time of the forward pass alone, peak memory; and how soon the first kernel
// runs. docs/performance.md says what exactly is measured, and why so. Run it on an idle machine.

import { parseArgs } from "@std/cli/parse-args";
import { GgufFile, GgufTokenizer } from "../mod.ts";
import { cacheDirectory } from "../src/host/cache_directory.ts";
import { sampleText } from "./support/sample_text.ts";
import { preparePython, saveSafetensors } from "./support/pytorch.ts";
import { formatTable, type Quantity, summarize } from "./support/table.ts";

const HELP = `Measures the analysis of SmolLM2-135M-Instruct beside the same analysis in PyTorch.

Usage: ./dev bench analyze [OPTIONS]

  --runs N           How often each is run, ours and PyTorch's in turn   (default: 3)
  --sequences LIST   How many sequences of 2,048 tokens                  (default: 1,10)
  --dtypes LIST      float32, bfloat16                                   (default: both)
  --threads N        Cores that either side may use                      (default: 2)
  --length N         Tokens of a sequence                                (default: 2048)
  --text-file FILE   English text to take the tokens from                (default: public speeches)
  --pytorch PYTHON   A Python that has torch, transformers and gguf; by default one is installed
                     into the cache. OUTLIERSCOPE_PYTORCH says the same
  --ours-only        Leave PyTorch out
  --json FILE        Write every single measurement too
`;

const root = new URL("../", import.meta.url).pathname;
const flags = parseArgs(Deno.args, {
	string: [
		"runs",
		"sequences",
		"dtypes",
		"threads",
		"length",
		"text-file",
		"pytorch",
		"json",
	],
	boolean: ["ours-only", "help"],
	unknown: (argument) => {
		console.error(`Unknown argument ${argument}; --help lists the options`);
		Deno.exit(2);
	},
});
if (flags.help) {
	console.log(HELP);
	Deno.exit();
}

/** The whole numbers of a comma-separated option. */
function wholeNumbers(name: string, text: string): number[] {
	const numbers = text.split(",").map(Number);
	if (!numbers.every((n) => Number.isSafeInteger(n) && n > 0)) {
		throw new RangeError(`Cannot use "${text}" as --${name}: it must be whole numbers above 0`);
	}
	return numbers;
}
const [runs, threads, length] = [
	wholeNumbers("runs", flags.runs ?? "3")[0]!,
	wholeNumbers("threads", flags.threads ?? "2")[0]!,
	wholeNumbers("length", flags.length ?? "2048")[0]!,
];
const counts = wholeNumbers("sequences", flags.sequences ?? "1,10");
const dtypes = (flags.dtypes ?? "float32,bfloat16").split(",");
for (const dtype of dtypes) {
	if (dtype !== "float32" && dtype !== "bfloat16") {
		throw new RangeError(`Cannot use "${dtype}" in --dtypes: it must be float32 or bfloat16`);
	}
}

const modelPath = `${cacheDirectory()}/models/SmolLM2-135M-Instruct.Q4_1.gguf`;
const work = await Deno.makeTempDir({ prefix: "outlierscope_bench_" });
const removeWork = () => Deno.removeSync(work, { recursive: true });
globalThis.addEventListener("unload", removeWork);
Deno.addSignalListener("SIGINT", () => Deno.exit(130));

/** What one run of a command took. */
interface Measured {
	seconds: number;
	peakMiB: number;
	output: string;
}

/** Runs a command on `threads` cores and measures it; throws if it fails. */
async function measure(command: string[]): Promise<Measured> {
	const { stdout } = await new Deno.Command("python3", {
		args: [`${root}bench/support/measure.py`, String(threads), ...command],
		stdin: "null",
		stdout: "piped",
		stderr: "piped",
	}).output().then((result) => {
		if (!result.success) throw new Error(new TextDecoder().decode(result.stderr));
		const measured = JSON.parse(new TextDecoder().decode(result.stdout));
		if (measured.status === 0) return { stdout: measured };
		const messages = new TextDecoder().decode(result.stderr);
		throw new Error(`${command.join(" ")} ended with status ${measured.status}:\n${messages}`);
	});
	return stdout;
}

const deno = [Deno.execPath(), "run", "--quiet", "--allow-all"];
const config = Deno.env.get("OUTLIERSCOPE_CONFIG") ?? `${root}.offline.deno.json`;
const ours = [...deno, "--config", config];

// --- Input: the same token ids for both. ---

const { text, source } = await sampleText(flags["text-file"], cacheDirectory());
const textFile = `${work}/text.txt`;
await Deno.writeTextFile(textFile, text);
using file = await GgufFile.open(modelPath);
const ids = GgufTokenizer.from(file).encode(text);
const most = Math.max(...counts) * length;
if (ids.length < most) {
	throw new RangeError(`Cannot take ${most} tokens from ${source}: it has ${ids.length}`);
}
for (const count of counts) {
	const sequences = Array.from(
		{ length: count },
		(_, i) => ids.slice(i * length, (i + 1) * length),
	);
	await Deno.writeTextFile(`${work}/tokens_${count}.json`, JSON.stringify(sequences));
}

// --- What is run: each step measures some quantities of one side. ---

interface Step {
	dtype: string;
	count: number;
	side: "ours" | "PyTorch";
	what: string;
	run: () => Promise<Partial<Record<Quantity, number>>>;
}

function ourSteps(dtype: string, count: number): Step[] {
	const analyze = async () => {
		const out = `${work}/ours`;
		const input = ["--text-file", textFile, "--length", `${length}`, "--sequences", `${count}`];
		const { seconds, peakMiB } = await measure(
			[...ours, `${root}cli.ts`, "analyze", ...input, "--dtype", dtype, "--out", out],
		);
		await Deno.stat(`${out}/report.html`);
		await Deno.remove(out, { recursive: true });
		return { whole: seconds, peak: peakMiB };
	};
	const forward = async () => {
		const { output } = await measure(
			[...ours, `${root}bench/support/forward.ts`, `${work}/tokens_${count}.json`, dtype],
		);
		return { forward: Number(output) };
	};
	return [
		{ dtype, count, side: "ours", what: "analysis", run: analyze },
		{ dtype, count, side: "ours", what: "forward pass", run: forward },
	];
}

function pytorchSteps(python: string, folder: string, dtype: string, count: number): Step[] {
	const analyze = async (model: string, extra: string[]) => {
		const { output } = await measure([
			python,
			`${root}bench/analyze_pytorch.py`,
			...["--model", model, "--tokens", `${work}/tokens_${count}.json`, "--dtype", dtype],
			...["--threads", `${threads}`, "--out", `${work}/pytorch.json`, ...extra],
		]);
		return JSON.parse(output);
	};
	const fromSafetensors = async () => {
		const { total, forward, peakMiB } = await analyze(folder, []);
		return { whole: total, forward, peak: peakMiB };
	};
	const fromGguf = async () => {
		const { total, peakMiB } = await analyze(modelPath, ["--no-forward"]);
		return { wholeGguf: total, peakGguf: peakMiB };
	};
	const [first, second] = ["analysis, safetensors", "analysis, GGUF"] as const;
	return [
		{ dtype, count, side: "PyTorch", what: first, run: fromSafetensors },
		{ dtype, count, side: "PyTorch", what: second, run: fromGguf },
	];
}

/** One after the other from each list: a, b, a, b. */
function interleave<T>(a: T[], b: T[]): T[] {
	return a.flatMap((item, i) => b[i] === undefined ? [item] : [item, b[i]!]);
}

const python = flags["ours-only"] ? undefined : await preparePython(flags.pytorch);
const warmUp: Step[] = [];
const steps: Step[] = [];
for (const dtype of dtypes) {
	const folder = python &&
		await saveSafetensors(python, `${root}tools/pytorch/llama_gguf.py`, modelPath, dtype);
	const both = (count: number) =>
		interleave(
			ourSteps(dtype, count),
			python && folder ? pytorchSteps(python, folder, dtype, count) : [],
		);
	// The first run of a type compiles kernels and brings files into memory; it does not count.
	warmUp.push(...both(counts[0]!));
	for (const count of counts) for (let i = 0; i < runs; i++) steps.push(...both(count));
}

// --- Run. ---

// Threads that wait for each other make both sides many times slower when something else takes a core.
const [load] = Deno.loadavg();
if (load! > 0.5) {
	console.error(
		`Warning: this machine is busy (load average ${load!.toFixed(1)}): figures will be off`,
	);
}

/** How long a step takes, roughly, as a multiple of our analysis of a sequence. */
const cost = ({ side, count, what }: Step) =>
	side === "PyTorch" ? 3 * count + 2 : what === "analysis" ? count : 1.5 * count;

const total = [...warmUp, ...steps].reduce((sum, step) => sum + cost(step), 0);
const begun = performance.now();
let done = 0;

async function runStep(step: Step, label: string): Promise<Partial<Record<Quantity, number>>> {
	const left = (performance.now() - begun) / 1000 / done * (total - done);
	const estimate = done === 0 ? "" : `; about ${Math.ceil(left / 60)} min left`;
	const { count, dtype, side, what } = step;
	console.error(`${label}: ${count} × ${length} tokens, ${dtype}, ${side}: ${what}${estimate}`);
	const measured = await step.run();
	done += cost(step);
	const values = Object.entries(measured).map(([name, value]) => `${name} ${value!.toFixed(2)}`);
	console.error(`  ${values.join(", ")}`);
	return measured;
}

for (const step of warmUp) await runStep(step, "warm-up");
const measurements = [];
for (const [i, step] of steps.entries()) {
	const values = await runStep(step, `${i + 1}/${steps.length}`);
	const { dtype, count, side } = step;
	measurements.push({ dtype, count, side, values });
}

// After everything else, so that all caches are warm.
const firstKernel: number[] = [];
for (let i = 0; i < Math.max(runs, 5); i++) {
	const { output } = await measure([...ours, `${root}bench/support/first_kernel.ts`]);
	firstKernel.push(Number(output));
}

const summary = summarize(measurements, firstKernel);
console.log(
	`Text: ${source}. ${runs} runs each, ${threads} cores; median (smallest to largest).\n`,
);
console.log(formatTable(summary, length));
if (flags.json) {
	const result = {
		created: new Date().toISOString(),
		text: source,
		runs,
		threads,
		length,
		deno: Deno.version.deno,
		summary,
		measurements,
		firstKernel,
	};
	await Deno.writeTextFile(flags.json, JSON.stringify(result, null, 2) + "\n");
}
