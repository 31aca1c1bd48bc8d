// Runs the project's checks and tests and ends with the line `N passed, N failed`; each static check
// counts as one test. What `./dev test` and `./dev check` (`--static`) call.
// Run as: deno run --config deno.json -A tools/run_tests.ts [--static] [NAME...]
// A NAME is a path, a part of a test file's name, or a part of tests' names. The name `nvidia` stands for
// the comparison with NVIDIA's headers and libraries, all of it.

import { stripVTControlCharacters } from "node:util";
import { configPath, entryPoints, root } from "./project.ts";

interface Check {
	name: string;
	command: string[];
}

interface Outcome {
	passed: number;
	failed: number;
	/** The name and what was said of each test that failed. */
	failures: string[];
}

const deno = Deno.execPath();
const config = ["--config", configPath()];

function staticChecks(): Check[] {
	const checks: Check[] = [
		{ name: "format", command: [deno, "fmt", "--check", "--quiet", ...config] },
		{ name: "lint", command: [deno, "lint", "--quiet", ...config] },
		{ name: "types", command: [deno, "check", "--quiet", ...config, "."] },
		{
			name: "doc comments",
			command: [deno, "doc", "--lint", "--quiet", ...config, ...entryPoints()],
		},
		{
			name: "publishing",
			command: [deno, "publish", "--dry-run", "--allow-dirty", "--quiet", ...config],
		},
		{ name: "shell scripts", command: ["bash", "-n", "dev", ".ci/run"] },
	];
	return checks;
}

/** Runs one static check, silent unless it fails. */
async function runCheck({ name, command: [program, ...args] }: Check): Promise<boolean> {
	const start = performance.now();
	const { success, stdout, stderr } = await new Deno.Command(program, {
		args,
		cwd: root,
		stdin: "null",
	}).output();
	const seconds = ((performance.now() - start) / 1000).toFixed(1);
	console.log(`check: ${name} ... ${success ? "ok" : "FAILED"} (${seconds} s)`);
	if (!success) {
		console.log(`$ ${[program, ...args].join(" ")}`);
		await Deno.stdout.write(stdout);
		await Deno.stdout.write(stderr);
	}
	return success;
}

/**
 * Compiles all kernels of this machine's device into the cache, so that processes of tests do not do so
 * side by side. What does not compile, the tests tell.
 */
async function compileKernels(): Promise<void> {
	const args = ["run", "-A", "--quiet", ...config, `${root}/tools/compile_kernels.ts`];
	await new Deno.Command(deno, { args, stdin: "null", stdout: "null", stderr: "null" }).output();
}

/** Every test file below `tests/`, relative to the root. */
function testFiles(directory = "tests"): string[] {
	const files: string[] = [];
	for (const entry of Deno.readDirSync(`${root}/${directory}`)) {
		const path = `${directory}/${entry.name}`;
		if (entry.isDirectory && entry.name !== "fixtures") files.push(...testFiles(path));
		else if (entry.name.endsWith("_test.ts")) files.push(path);
	}
	return files.sort();
}

/** Needs what `./dev test nvidia` downloads, so that no other run of the tests includes it. */
const NVIDIA_LIBRARIES = "tests/nvidia/libraries.ts";

/** Splits what the user named into the test files to run and a filter of test names, if any. */
export function select(names: string[]): { files: string[]; filter: string | undefined } {
	const all = testFiles();
	const filters: string[] = [];
	const files = new Set<string>();
	for (const name of names) {
		const wanted = name.replace(/^\.\//, "");
		const found = wanted === "nvidia"
			? [...all.filter((file) => file.startsWith("tests/nvidia/")), NVIDIA_LIBRARIES]
			: all.filter((file) => file.includes(wanted));
		if (found.length === 0) filters.push(name);
		else found.forEach((file) => files.add(file));
	}
	const escaped = filters.map((filter) => filter.replace(/[\\/^$.*+?()[\]{}|]/g, "\\$&"));
	return {
		files: files.size > 0 ? [...files] : all,
		filter: filters.length > 0 ? `/${escaped.join("|")}/` : undefined,
	};
}

/** Runs `tasks` in order, two at a time on two cores and never more: what each starts needs memory. */
async function inLanes(tasks: (() => Promise<void>)[]): Promise<void> {
	const waiting = [...tasks];
	const lane = async () => {
		for (let task = waiting.shift(); task; task = waiting.shift()) await task();
	};
	await Promise.all(Array.from({ length: Math.min(2, navigator.hardwareConcurrency) }, lane));
}

/** Files that watch the device being at work, or measure: they run first, and nothing beside them. */
const TIMED = [
	"tests/cuda/event_test.ts",
	"tests/cuda/graph_test.ts",
	"tests/cuda/lanes_test.ts",
	"tests/cuda/stream_test.ts",
	"tests/host/driver/event_test.ts",
	"tests/host/driver/stream_test.ts",
];
/** Files that take minutes, and one that makes calls fail: they start before the others, each in a process of its own. */
const ALONE = [
	"tests/kernel_modes_test.ts",
	"tests/nvidia/nvrtc_test.ts",
	"tests/host/faults_test.ts",
];
/** Other files in a process: few enough that lanes end together, more than its start is worth. */
const GROUP = 20;

/** The files of each process that runs tests, in the order of their start; the first runs alone. */
export function groups(files: string[]): string[][] {
	const others = files.filter((file) => !TIMED.includes(file) && !ALONE.includes(file));
	const count = Math.ceil(others.length / GROUP);
	return [
		TIMED,
		...ALONE.map((file) => [file]),
		...Array.from({ length: count }, (_, i) => others.slice(i * GROUP, (i + 1) * GROUP)),
	].map((group) => group.filter((file) => files.includes(file))).filter(({ length }) => length > 0);
}

/** Runs every test: processes side by side, of which each file's output comes whole. */
async function runAllTests(): Promise<Outcome> {
	const total: Outcome = { passed: 0, failed: 0, failures: [] };
	// The check of types has run before.
	const [first, ...rest] = groups(testFiles()).map((files) => async () => {
		add(total, await runTests(files, ["--no-check"], byFile()));
	});
	await first!();
	await inLanes(rest);
	return total;
}

/** Writes output as it comes. */
function atOnce(text: string): void {
	Deno.stdout.writeSync(new TextEncoder().encode(text));
}

/** Writes output a test file at a time, so that what others write meanwhile is not between its lines. */
function byFile(): (text: string, end?: boolean) => void {
	let held = "";
	return (text, end = false) => {
		held += text;
		const begins = [...held.matchAll(/^.*running \d+ tests? from /gm)].map(({ index }) => index);
		const whole = end ? held.length : begins.at(-1) ?? 0;
		atOnce(held.slice(0, whole));
		held = held.slice(whole);
	};
}

/**
 * Runs Deno's tests in a process, and counts from its JUnit report. A file that cannot be loaded, or holds
 * no test, is missing there: that is a failure as well.
 *
 * @param write is given the output as it comes, and at its end
 */
async function runTests(
	files: string[],
	options: string[],
	write: (text: string, end?: boolean) => void,
): Promise<Outcome> {
	const report = await Deno.makeTempFile({ prefix: "outlierscope_tests_", suffix: ".xml" });
	try {
		const child = new Deno.Command(deno, {
			args: ["test", "-A", "--quiet", ...config, `--junit-path=${report}`, ...options, ...files],
			cwd: root,
			env: Deno.stdout.isTerminal() ? { FORCE_COLOR: "1" } : {},
			stdin: "null",
			stdout: "piped",
			stderr: "piped",
		}).spawn();
		let output = "";
		const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>, keep: boolean) => {
			for await (const text of stream.pipeThrough(new TextDecoderStream())) {
				if (keep) output += text;
				write(text);
			}
		};
		await Promise.all([read(child.stdout, true), read(child.stderr, false)]);
		write("", true);
		const { success } = await child.status;
		const outcome = count(await Deno.readTextFile(report));
		const filtered = options.some((option) => option.startsWith("--filter="));
		for (const file of filtered ? [] : withoutTests(output, files)) {
			add(outcome, failure(`${file}: it ran no test`));
		}
		if (!success && outcome.failed === 0) add(outcome, failure(`deno test ${files.join(" ")}`));
		return outcome;
	} finally {
		await Deno.remove(report);
	}
}

/** Counts the test cases of a JUnit report; a step is one, a skipped one is none. */
export function count(report: string): Outcome {
	const outcome: Outcome = { passed: 0, failed: 0, failures: [] };
	for (const text of testCases(report)) {
		const wrong = text.match(/<(?:failure|error)\b[^>]*>([^]*?)<\/(?:failure|error)>/);
		if (wrong) {
			const file = text.match(/ classname="([^"]*)"/)?.[1],
				name = text.match(/ name="([^"]*)"/)?.[1];
			add(outcome, failure(unescapeXml(`${file}: ${name}\n${wrong[1]}`)));
		} else if (!/<skipped\b/.test(text)) outcome.passed++;
	}
	return outcome;
}

function unescapeXml(text: string): string {
	const characters: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
	return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => characters[name]!);
}

function failure(text: string): Outcome {
	return { passed: 0, failed: 1, failures: [text] };
}

function add(total: Outcome, { passed, failed, failures }: Outcome): void {
	total.passed += passed;
	total.failed += failed;
	total.failures.push(...failures);
}

/**
 * Those of `files` that ran no test, by the output of `deno test`. (Its JUnit report names the file in
 * which a test was defined, which may be a helper.)
 */
export function withoutTests(output: string, files: string[]): string[] {
	const plain = stripVTControlCharacters(output);
	const ran = new Set<string>();
	for (const [, number, file] of plain.matchAll(/^running (\d+) tests? from \.\/(.+)$/gm)) {
		if (Number(number) > 0) ran.add(file!);
	}
	return files.filter((file) => !ran.has(file));
}

function testCases(report: string): string[] {
	return report.match(/<testcase\b[^>]*(?:\/>|>[\s\S]*?<\/testcase>)/g) ?? [];
}

if (import.meta.main) {
	const names = Deno.args.filter((argument) => argument !== "--static");
	const onlyStatic = names.length < Deno.args.length;
	const total: Outcome = { passed: 0, failed: 0, failures: [] };
	if (onlyStatic || names.length === 0) {
		const checks = staticChecks().map((check) => async () => {
			const passed = await runCheck(check);
			add(total, passed ? { passed: 1, failed: 0, failures: [] } : failure(`check: ${check.name}`));
		});
		await inLanes(onlyStatic ? checks : [compileKernels, ...checks]);
	}
	if (!onlyStatic && names.length === 0) add(total, await runAllTests());
	else if (!onlyStatic) {
		const { files, filter } = select(names);
		const options = filter === undefined ? [] : [`--filter=${filter}`];
		const outcome = await runTests(files, options, atOnce);
		add(total, outcome);
		if (outcome.passed + outcome.failed === 0) {
			add(total, failure(`No test is named ${names.join(" or ")}`));
		}
	}
	// Again at the end, where one looks: much may have been written since.
	for (const text of total.failures) console.log(`FAILED ${text.slice(0, 4000)}\n`);
	console.log(`${total.passed} passed, ${total.failed} failed`);
	Deno.exit(total.failed > 0 ? 1 : 0);
}
