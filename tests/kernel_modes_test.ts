// Runs the tests of kernels, and of what is built on them, in the other modes of the host driver: as SIMT
// code with a warp of 32, and under AddressSanitizer and UndefinedBehaviorSanitizer with either warp. What is
// built on kernels has no memory of its own that sanitizers could watch, so that SIMT code alone is asked for there.

import { assert, assertEquals } from "@std/assert";
import { configPath, root } from "../tools/project.ts";
import { seed } from "./random.ts";
import { sanitizerEnvironment } from "./sanitizers.ts";
import { runProgram } from "./subprocess.ts";

const KERNELS = ["tests/cuda/kernels", "tests/cuda/kernel_test.ts"];
const OPERATIONS = [
	"activation",
	"arithmetic",
	"cast",
	"compare",
	"gather",
	"join",
	"linear",
	"masks",
	"matmul",
	"norm",
	"random",
	"recorded_gradients",
	"reduce",
	"rotary",
	"sum_to",
	"sums",
	"unary",
	"where",
	"extrema",
	"moments",
	"softmax",
	"cross_entropy",
	"losses",
	"order",
].map((name) => `tests/tensor/${name}_test.ts`);
const COMPOSED = ["tests/nn/attention", "tests/nn/optim", "tests/outliers/magnitudes_test.ts"];
const MODELS = [
	"tests/nn/models",
	...["activation_outliers", "attention_outliers", "detect", "weight_outliers"]
		.map((name) => `tests/outliers/${name}_test.ts`),
];

/** Runs test files in a process of their own; fails with its words unless all of some tests pass. */
async function runTests(files: string[], env: Record<string, string>): Promise<void> {
	const variables = { NO_COLOR: "1", OUTLIERSCOPE_DEVICE: "host", ...env };
	const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args: ["test", "-A", "--no-check", "--config", configPath(), ...files],
		cwd: root,
		env: variables,
		stdin: "null",
	}).output();
	const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
	const settings = Object.entries(variables).map(([name, value]) => `${name}=${value}`).join(" ");
	assertEquals(code, 0, `${settings}\n${output.slice(-20_000)}`);
	const passed = Number(/\| (\d+) passed \| 0 failed/.exec(output)?.[1]);
	assert(passed > 10 * files.length / 2, `only ${passed} tests ran`);
	const mode = "OUTLIERSCOPE_SIMT" in env ? `SIMT mode, seed ${env.OUTLIERSCOPE_SIMT}` : "cores";
	assert(output.includes(`(host driver, `) && output.includes(mode), `not in ${mode}`);
	console.log(`  ${passed} tests passed in ${files.length} files and folders`);
}

const simt = { OUTLIERSCOPE_SIMT: String(seed) };
const sanitized = await sanitizerEnvironment();
const all = [...KERNELS, ...OPERATIONS];
const modes: [name: string, files: string[], environment: Record<string, string>][] = [
	["kernels leave neither their memory nor the rules of C++ with a warp of one", all, sanitized],
	[
		"kernels do so, and give the same, with a warp of 32 in a random order",
		all,
		{ ...sanitized, ...simt },
	],
	[
		"attention, optimizers and models give the same with a warp of 32 in a random order",
		[...COMPOSED, ...MODELS],
		simt,
	],
];
/** Starts all modes side by side: each keeps one core busy most of the time. */
function start(): Promise<void>[] {
	// Built once, as both sanitized modes would do so beside each other. What fails, they tell.
	const built = runProgram(
		`import { buildHostDriver } from "src/host/build.ts"; await buildHostDriver();`,
		{ env: sanitized },
	);
	return modes.map(async ([, files, environment]) => {
		if (environment !== simt) await built;
		await runTests(files, environment);
	});
}
let running: Promise<void>[] | undefined;
modes.forEach(([name], i) => {
	Deno.test({ name, sanitizeOps: false, sanitizeResources: false }, async () => {
		if (!running) {
			running = start();
			for (const run of running) run.catch(() => {}); // told by the test that awaits it
		}
		await running[i];
	});
});
