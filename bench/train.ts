// Measures training steps beside PyTorch's on the CPU: the same model, batch, precision and threads, in turn, so that
// a slow minute of the machine meets all sides. Run it on an idle machine.

import { parseArgs } from "@std/cli/parse-args";
import { profile } from "./support/profile.ts";
import { preparePython } from "./support/pytorch.ts";
import { formatSpread, markdownTable, type Spread, spread } from "./support/spread.ts";
import { SETTINGS, Training } from "./support/training.ts";
import { Worker } from "./support/worker.ts";

const HELP = `Measures training steps of GPT-2 beside PyTorch's on the CPU, eager and compiled.

Usage: ./dev bench train [OPTIONS]

  --only LIST        Settings: ${Object.keys(SETTINGS).join(", ")}  (default: all)
  --dtypes LIST      float32, bfloat16 (PyTorch: autocast)                  (default: both)
  --rounds N         How often each side is run, in turn                    (default: 5)
  --seconds N        About how long each of these runs shall take           (default: 4)
  --no-compiled      Leave torch.compile out, which takes a minute to begin
  --ours-only        Leave PyTorch out
  --profile          Show where the time of our step goes, kernel by kernel, instead
  --pytorch PYTHON   A Python that has torch; by default one is installed into the cache.
                     OUTLIERSCOPE_PYTORCH says the same
`;

const flags = parseArgs(Deno.args, {
	string: ["only", "dtypes", "rounds", "seconds", "pytorch"],
	boolean: ["help", "compiled", "ours-only", "profile"],
	negatable: ["compiled"],
	default: { compiled: true },
	unknown: (argument) => {
		console.error(`Unknown argument ${argument}; --help lists the options`);
		Deno.exit(2);
	},
});
if (flags.help) {
	console.log(HELP);
	Deno.exit();
}
function choose<T extends string>(
	option: string,
	given: string | undefined,
	all: readonly T[],
): T[] {
	const chosen = given?.split(",") ?? all;
	for (const one of chosen) {
		if (!(all as readonly string[]).includes(one)) {
			throw new RangeError(`Cannot use "${one}" as --${option}: known are ${all.join(", ")}`);
		}
	}
	return chosen as T[];
}
function positive(option: string, given: string | undefined, usual: number): number {
	const number = Number(given ?? usual);
	if (number > 0 && Number.isFinite(number)) return number;
	throw new RangeError(`Cannot use "${given}" as --${option}: it must be a number above 0`);
}
const settings = choose("only", flags.only, Object.keys(SETTINGS));
const dtypes = choose("dtypes", flags.dtypes, ["float32", "bfloat16"] as const);
const rounds = Math.round(positive("rounds", flags.rounds, 5));
const seconds = positive("seconds", flags.seconds, 4);

/** Prints where the time of a step goes. */
async function showProfile(name: string, dtype: "float32" | "bfloat16"): Promise<void> {
	using training = await Training.begin(SETTINGS[name]!, dtype);
	const { device } = training;
	const STEPS = 5;
	const steps = async () => {
		for (let i = 0; i < STEPS; i++) {
			training.step();
			await device.synchronize();
		}
	};
	await steps();
	const begin = performance.now();
	await steps();
	const whole = (performance.now() - begin) / STEPS;
	const shares = await profile(device, steps);
	const busy = shares.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / STEPS;
	const products = shares.filter(({ operations }) => operations > 0)
		.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / STEPS;
	const calls = shares.reduce((sum, one) => sum + one.calls, 0) / STEPS;
	console.log(
		`\n${name} ${dtype}: ${
			whole.toFixed(1)
		} ms a step without the profile; with it ${calls} kernels, products ` +
			`and copies of ${busy.toFixed(1)} ms, of which products ${
				products.toFixed(1)
			} ms. Pieces of attention run ` +
			`side by side, so their times add up to more than passes.\n`,
	);
	console.log(markdownTable(
		["kernel or product", "calls", "ms", "share", "GFLOP/s"],
		shares.map(({ name, calls, milliseconds, operations }) => [
			name,
			String(calls / STEPS),
			(milliseconds / STEPS).toFixed(3),
			`${(milliseconds / STEPS / busy * 100).toFixed(1)} %`,
			operations ? (operations / milliseconds / 1e6).toFixed(0) : "",
		]),
	));
}

interface Side {
	name: string;
	worker: Worker;
}

/** Starts a side and warms it up; null if it cannot, and says why. */
async function begin(name: string, command: string, args: string[]): Promise<Side | null> {
	Deno.stderr.writeSync(
		new TextEncoder().encode(`\r\x1b[K${args.slice(-4).join(" ")}: warming up`),
	);
	const worker = new Worker(name, command, args);
	try {
		await worker.ask("2");
		return { name, worker };
	} catch (error) {
		console.error(`\n${(error as Error).message}`);
		return null;
	}
}

async function measure(
	name: string,
	dtype: string,
	python: string | null,
): Promise<{ name: string; perSecond: Spread; ratio: Spread; peak: number }[]> {
	const { batch, tokens } = SETTINGS[name]!;
	const here = (path: string) => new URL(path, import.meta.url).pathname;
	const config = new URL("../.offline.deno.json", import.meta.url).pathname;
	const ours = [
		"run",
		"--quiet",
		"--allow-all",
		"--config",
		config,
		here("support/train_steps.ts"),
	];
	const started = [
		await begin("ours", Deno.execPath(), [...ours, name, dtype]),
	];
	for (const mode of python ? ["eager", ...flags.compiled ? ["compiled"] : []] : []) {
		const threads = String(navigator.hardwareConcurrency);
		started.push(
			await begin(`PyTorch ${mode}`, python!, [
				here("train_pytorch.py"),
				name,
				dtype,
				mode,
				threads,
			]),
		);
	}
	const sides = started.filter((side) => side !== null);
	const times = sides.map((): number[] => []);
	// Each run has as many steps as that side makes in the time wanted.
	const steps: number[] = [];
	for (const { worker } of sides) {
		steps.push(Math.max(1, Math.round(seconds / await worker.ask("1"))));
	}
	for (let round = 0; round < rounds; round++) {
		for (const [i, { name: side, worker }] of sides.entries()) {
			Deno.stderr.writeSync(
				new TextEncoder().encode(
					`\r\x1b[K${name} ${dtype}: round ${round + 1} of ${rounds}, ${side}`,
				),
			);
			times[i]!.push(await worker.ask(String(steps[i])) / steps[i]!);
		}
	}
	Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
	const results = [];
	for (const [i, { name: side, worker }] of sides.entries()) {
		const peak = await worker.ask("peak");
		await worker.end();
		results.push({
			name: side,
			perSecond: spread(times[i]!.map((time) => batch * tokens / time)),
			ratio: spread(times[i]!.map((time, round) => time / times[0]![round]!)),
			peak,
		});
	}
	return results;
}

if (flags.profile) {
	for (const name of settings) for (const dtype of dtypes) await showProfile(name, dtype);
	Deno.exit();
}
const python = flags["ours-only"] ? null : await preparePython(flags.pytorch);
const rows: string[][] = [];
for (const name of settings) {
	for (const dtype of dtypes) {
		for (const side of await measure(name, dtype, python)) {
			rows.push([
				name,
				dtype,
				side.name,
				formatSpread(side.perSecond),
				side.name === "ours" ? "" : formatSpread(side.ratio),
				(side.peak / 2 ** 20).toFixed(0),
			]);
		}
	}
}
console.log(
	`Tokens a second, medians of ${rounds} runs (smallest to largest); ratio: ours / the other's, above 1 if ours is ` +
		`quicker\n`,
);
console.log(markdownTable(
	["setting", "type", "side", "tokens/s", "ratio", "peak memory, MiB"],
	rows,
));
