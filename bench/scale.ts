// Measures how data-parallel training on this machine's cores scales: what is sent a step beside the formula of a ring,
// how much of the exchange hides behind the backward pass, and how many tokens a second several processes train on.

import { parseArgs } from "@std/cli/parse-args";
import { configPath } from "../tools/project.ts";
import { formatSpread, markdownTable, spread } from "./support/spread.ts";
import { predict } from "./support/scaling_model.ts";
import { SETTINGS } from "./support/training.ts";

const HELP = `Measures data-parallel training of several processes on this machine, by mpirun.

Usage: ./dev bench scale [OPTIONS]

  --only LIST      Settings: ${Object.keys(SETTINGS).join(", ")}  (default: small, medium)
  --ranks LIST     How many processes                                    (default: 1,2,4)
  --dtype TYPE     float32 or bfloat16                                   (default: float32)
  --rounds N       Steps of each kind that are measured                  (default: 20)
  --predict        Print what the formula of docs/scaling.md says of GPUs instead
`;

const flags = parseArgs(Deno.args, {
	string: ["only", "ranks", "dtype", "rounds"],
	boolean: ["help", "predict"],
	default: { only: "small,medium", ranks: "1,2,4", dtype: "float32", rounds: "20" },
	unknown: (argument) => {
		console.error(`Unknown argument ${argument}; --help lists the options`);
		Deno.exit(2);
	},
});
if (flags.help) {
	console.log(HELP);
	Deno.exit();
}
if (flags.predict) {
	showPrediction();
	Deno.exit();
}
const { only, ranks: sizes, dtype, rounds } = {
	only: flags.only!,
	ranks: flags.ranks!,
	dtype: flags.dtype!,
	rounds: flags.rounds!,
};
const unknown = only.split(",").find((name) => !Object.hasOwn(SETTINGS, name));
if (unknown !== undefined) throw new RangeError(`There is no setting "${unknown}"`);

interface Measured {
	seconds: Record<"compute" | "both" | "alone", number[]>;
	/** That the machine sent to itself, a step. */
	bytes: number;
	/** That a rank handed to the exchange, a step. */
	payload: number;
	parameters: number;
}

/** Runs a setting on so many ranks, each with its share of the cores. */
async function run(name: string, ranks: number, more: Record<string, string>): Promise<Measured> {
	const program = new URL("support/scale_rank.ts", import.meta.url).pathname;
	const cores = navigator.hardwareConcurrency;
	const bind = ranks <= cores ? ["--map-by", `slot:PE=${Math.floor(cores / ranks)}`] : [];
	const { success, stdout, stderr } = await new Deno.Command("mpirun", {
		args: [
			...["-n", `${ranks}`, "--oversubscribe", ...bind, Deno.execPath(), "run", "-A", "--quiet"],
			...["--config", configPath(), program, name, dtype, rounds, `${ranks}`],
		],
		env: { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1", ...more },
	}).output();
	if (!success) throw new Error(`mpirun failed: ${new TextDecoder().decode(stderr)}`);
	return JSON.parse(new TextDecoder().decode(stdout));
}

const rows: string[][] = [], traffic: string[][] = [];
const median = (values: number[]) => spread(values).median;
for (const name of only.split(",")) {
	const { batch, tokens } = SETTINGS[name]!;
	let single = 0;
	for (const ranks of sizes.split(",").map(Number)) {
		if (batch % ranks !== 0) continue;
		console.error(`${name}, ${ranks} ${ranks === 1 ? "process" : "processes"}`);
		const { seconds } = await run(name, ranks, {});
		const step = ranks === 1 ? seconds.compute : seconds.both;
		const rates = spread(step.map((one) => batch * tokens / one));
		single ||= rates.median;
		const hidden = 1 - (median(seconds.both) - median(seconds.compute)) / median(seconds.alone);
		rows.push([
			name,
			`${ranks}`,
			formatSpread(rates),
			`${(100 * rates.median / single).toFixed(0)} %`,
			(1000 * median(seconds.compute)).toFixed(1),
			ranks === 1 ? "" : (1000 * median(seconds.both)).toFixed(1),
			ranks === 1 ? "" : (1000 * median(seconds.alone)).toFixed(1),
			ranks === 1 ? "" : `${(100 * hidden).toFixed(0)} %`,
		]);
		if (ranks === 1) continue;
		const { bytes, payload } = await run(name, ranks, {
			OMPI_MCA_btl: "self,tcp",
			OMPI_MCA_btl_tcp_if_include: "lo",
		});
		const ring = 2 * (ranks - 1) * payload;
		traffic.push([
			name,
			`${ranks}`,
			(payload / 2 ** 20).toFixed(2),
			(ring / 2 ** 20).toFixed(2),
			(bytes / 2 ** 20).toFixed(2),
			(bytes / ring).toFixed(2),
		]);
	}
}
console.log(
	`GPT-2, ${dtype}, the same batch shared out; ${navigator.hardwareConcurrency} cores in all; ` +
		"tokens a second are medians (smallest to largest)\n",
);
console.log(markdownTable(
	[
		"setting",
		"processes",
		"tokens/s",
		"of one process",
		"step without exchange, ms",
		"with it, ms",
		"exchange alone, ms",
		"of it hidden",
	],
	rows,
));
console.log("\nSent a step, all processes together, over TCP, MiB:\n");
console.log(markdownTable(
	["setting", "processes", "gradients", "a ring would send", "sent", "ratio"],
	traffic,
));

/** A table for H100 GPUs, eight to a node, 16,384 tokens on each, by how many network cards a node has. */
function showPrediction(): void {
	const common = { tokens: 16_384, rate: 4e14, latency: 1e-5 };
	const models = { "124 M": 124e6, "1.3 B": 1.3e9, "6.7 B": 6.7e9 };
	const ms = (seconds: number) => (1000 * seconds).toFixed(1);
	const rows = Object.entries(models).flatMap(([model, parameters]) =>
		[8, 64, 256, 1024].flatMap((gpus) =>
			(gpus === 8 ? [0] : [8, 1]).map((cards) => {
				const bandwidth = cards === 0 ? 3.5e11 : cards * 3.75e10;
				const found = predict({ ...common, parameters, bandwidth, gpus });
				return [
					model,
					`${gpus}`,
					cards === 0 ? "none" : `${cards}`,
					ms(found.compute),
					ms(found.exchange),
					ms(found.exposed),
					`${(found.tokensPerSecond / 1e6).toFixed(2)} M`,
					`${(100 * found.efficiency).toFixed(0)} %`,
				];
			})
		)
	);
	console.log(markdownTable(
		[
			"model",
			"GPUs",
			"cards a node",
			"compute, ms",
			"exchange, ms",
			"not hidden, ms",
			"tokens/s",
			"efficiency",
		],
		rows,
	));
}
