// The command as people use it: started as a process, with good input and every kind of bad input. It has over
// 500 lines, because all commands share the setting and the bad inputs. What
// fails must say so in one clear error, exit with a status other than 0, and leave nothing behind.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { formatExamination } from "../src/doctor/page.ts";
import { TokenFile } from "../src/formats/token_file.ts";
import { TokenizerJson } from "../src/formats/tokenizer_json.ts";
import { configPath, root } from "../tools/project.ts";
import { tinyModel } from "./formats/tiny_model.ts";
import { ggufBytes } from "./formats/write_gguf.ts";

const PERMISSIONS = [
	"--allow-ffi",
	"--allow-run",
	"--allow-read",
	"--allow-write",
	"--allow-env",
	"--no-prompt",
];

interface Run {
	code: number;
	stdout: string;
	stderr: string;
}

interface Start {
	permissions?: string[];
	env?: Record<string, string>;
}

function command(args: string[], { permissions = PERMISSIONS, env = {} }: Start): Deno.Command {
	return new Deno.Command(Deno.execPath(), {
		args: ["run", "--quiet", "--config", configPath(), ...permissions, `${root}/cli.ts`, ...args],
		env: { NO_COLOR: "1", ...env },
		stdin: "null",
		stdout: "piped",
		stderr: "piped",
	});
}

async function run(args: string[], start: Start = {}): Promise<Run> {
	const { code, stdout, stderr } = await command(args, start).output();
	const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
	return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

/** Runs a test with an empty directory of its own. */
function test(name: string, body: (directory: string) => Promise<void>): void {
	Deno.test(name, async () => {
		const directory = await Deno.makeTempDir({ prefix: "outlierscope_cli_" });
		try {
			await body(directory);
		} finally {
			await Deno.remove(directory, { recursive: true });
		}
	});
}

function files(directory: string): string[] {
	return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

async function writeTiny(directory: string): Promise<string> {
	const path = `${directory}/tiny.gguf`;
	await Deno.writeFile(path, ggufBytes(tinyModel()));
	return path;
}

/** Expects one error line, this status, and that no output was begun. */
async function assertRefused(
	directory: string,
	args: string[],
	message: string | RegExp,
	start: Start = {},
	status = 1,
): Promise<void> {
	const before = files(directory);
	const out = `${directory}/out`;
	const { code, stdout, stderr } = await run(["analyze", "--out", out, ...args], start);
	const text = stderr.replace(/^First use.*\n|^Analyzing\n/gm, "");
	assertMatch(text, /^error: [^\n]+\n/, `stderr: ${stderr}`);
	assert(!/\n\s+at /.test(text), `A stack trace is no message: ${text}`);
	if (typeof message === "string") assertStringIncludes(text, message);
	else assertMatch(text, message);
	assertEquals([code, stdout], [status, ""], text);
	assertEquals(files(directory), before);
}

test("analyze writes the data, the page and the figures, and tells what it found", async (directory) => {
	const model = await writeTiny(directory);
	const out = `${directory}/out`;
	const args = [
		"analyze",
		"--model",
		model,
		"--text",
		"the and in the",
		"--tau",
		"3",
		"--out",
		out,
	];
	const { code, stdout, stderr } = await run(args);
	assertEquals(code, 0, stderr);
	assertEquals(files(out), ["analysis.json", "figures", "report.html"]);
	assert(files(`${out}/figures`).length >= 10);
	const analysis = JSON.parse(await Deno.readTextFile(`${out}/analysis.json`));
	assertEquals(analysis.format, "outlierscope-analysis");
	assertEquals(analysis.criteria.tau, 3);
	assertEquals(analysis.sequences[0].source, "text");
	assertStringIncludes(stdout, "Hidden states");
	assertStringIncludes(stdout, `Report: ${out}/report.html`);
	assert(Math.max(...stdout.split("\n").map((line) => line.length)) <= 110, stdout);
});

test("analyze --only runs chosen analyses, keeps each, and takes up what is there", async (directory) => {
	const model = await writeTiny(directory), out = `${directory}/out`;
	const analyze = async (...only: string[]) => {
		const args = ["analyze", "--model", model, "--text", "the and in the", "--out", out, ...only];
		const { code, stdout, stderr } = await run(args);
		assertEquals(code, 0, stderr);
		assertEquals(stdout, `Laboratory: ${out}/laboratory.html\n`);
	};
	await analyze("--only", "maps,emergence", "--definition", "paper");
	assertEquals(files(out), ["laboratory", "laboratory.html"]);
	assertEquals(files(`${out}/laboratory`), ["emergence.json", "figures", "maps.json"]);
	const written = () => Deno.statSync(`${out}/laboratory/maps.json`).mtime!.getTime();
	const before = written();
	await analyze("--only", "maps,consistency", "--preset", "paper");
	assertEquals(written(), before);
	assertEquals(files(`${out}/laboratory`).length, 4);
	await analyze("--only", "maps", "--preset", "code");
	assert(written() > before);
});

test("analyze --json prints the analysis alone and writes no files", async (directory) => {
	const model = await writeTiny(directory);
	await Deno.writeTextFile(`${directory}/book.txt`, "the and the and ".repeat(20));
	const args = ["analyze", "--model", model, "--json", "--length", "16", "--sequences", "2"];
	const { code, stdout, stderr } = await run([...args, "--text-file", `${directory}/book.txt`]);
	assertEquals(code, 0, stderr);
	const { sequences } = JSON.parse(stdout);
	assertEquals(
		sequences.map(({ source, tokenIds }: { source: string; tokenIds: number[] }) => [
			source,
			tokenIds.length,
		]),
		[["book.txt", 16], ["book.txt", 16]],
	);
	assertEquals(files(directory), ["book.txt", "tiny.gguf"]);
});

test("analyze --dtype bfloat16 says so in the analysis", async (directory) => {
	const model = await writeTiny(directory);
	const args = ["analyze", "--model", model, "--json", "--text", "the", "--dtype", "bfloat16"];
	const { code, stdout, stderr } = await run(args);
	assertEquals(code, 0, stderr);
	assertEquals(JSON.parse(stdout).device.dtype, "bfloat16");
});

test("analyze --detectors asks other criteria in the same pass", async (directory) => {
	const model = await writeTiny(directory);
	const args = ["analyze", "--model", model, "--text", "the and in"];
	const names = "sink-rate,kurtosis-he";
	const asked = await run([...args, "--json", "--detectors", names]);
	assertEquals(asked.code, 0, asked.stderr);
	const { detections, manifest } = JSON.parse(asked.stdout);
	assertEquals(detections.map(({ detector }: { detector: string }) => detector), names.split(","));
	assertMatch(manifest.weights.hash, /^sha256:/);
	const all = await run([...args, "--detectors", "all", "--out", `${directory}/out`]);
	assertMatch(all.stdout, /massive-activations: none found; largest max/);
	const { code, stderr } = await run([...args, "--detectors", "sink"]);
	assertEquals(code, 2);
	assertStringIncludes(stderr, 'Cannot use detector "sink": there are mean-ratio, ');
});

test("--help names every option and exits with 0", async () => {
	const commands = (await run(["--help"])).stdout;
	for (const command of ["analyze", "train", "tokenize", "doctor"]) {
		assertMatch(commands, new RegExp(`^  ${command} `, "m"));
	}
	for (const args of [["doctor", "--help"], ["doctor", "-h"]]) {
		const { code, stdout } = await run(args);
		assertEquals(code, 0);
		assertStringIncludes(stdout, "--json");
	}
	for (const args of [["analyze", "--help"], ["analyze", "-h"]]) {
		const { code, stdout } = await run(args);
		assertEquals(code, 0);
		const options = "model text text-file length sequences tau dtype out json help".split(" ");
		for (const option of options) assertStringIncludes(stdout, `--${option}`);
		assert(Math.max(...stdout.split("\n").map((line) => [...line].length)) <= 100);
	}
});

test("analyze refuses options that it cannot use", async (directory) => {
	const cases: [string[], string][] = [
		[["--tau", "abc"], 'Cannot use "abc" as --tau: it must be a number above 0'],
		[["--tau=-1"], 'Cannot use "-1" as --tau'],
		[["--tau", ""], 'Cannot use "" as --tau'],
		[["--length", "0"], 'Cannot use "0" as --length: it must be a whole number, 1 or more'],
		[["--sequences", "1.5"], 'Cannot use "1.5" as --sequences'],
		[["--dtype", "float16"], "it must be float32 or bfloat16"],
		[["--only", "maps,nothing"], 'Cannot use "nothing" as --only'],
		[["--only", "comparison"], "give --compare MODEL"],
		[["--definition", "mine"], 'Cannot use "mine" as --definition'],
		[["--text", ""], "Cannot analyze the text: it is empty"],
		[["--text", " \n"], "Cannot analyze the text: it is empty"],
		[["--text", "a", "--text-file", "b"], "Give either --text or --text-file, not both"],
		[["--text-file", `${directory}/none.txt`], 'none.txt": No such file'],
		[["--colour", "red"], "Unknown option --colour; --help lists the options"],
		[["words"], 'Unexpected argument "words"; a text is given with --text'],
	];
	for (const [args, message] of cases) await assertRefused(directory, args, message, {}, 2);
	await Deno.writeFile(`${directory}/latin1.txt`, new Uint8Array([0x63, 0x61, 0x66, 0xe9]));
	const latin1 = ["--text-file", `${directory}/latin1.txt`];
	await assertRefused(directory, latin1, "it is not UTF-8 text", {}, 2);
	const unknown = await run(["learn"]);
	assertEquals(unknown.code, 2);
	assertStringIncludes(unknown.stderr, 'Unknown command "learn"');
});

test("analyze refuses sequences that the model or the text cannot give", async (directory) => {
	const model = await writeTiny(directory);
	const args = ["--model", model, "--text", "the and"];
	await assertRefused(directory, [...args, "--length", "129"], "the model's context length is 128");
	await assertRefused(directory, [...args, "--sequences", "3"], "Cannot cut 3 sequences of 128");
});

test("analyze names what is wrong with a damaged model file", async (directory) => {
	const refuse = async (bytes: Uint8Array, message: string | RegExp) => {
		const path = `${directory}/damaged.gguf`;
		await Deno.writeFile(path, bytes);
		await assertRefused(directory, ["--model", path, "--text", "the"], message);
		await Deno.remove(path);
	};
	const good = tinyModel();
	const bytes = ggufBytes(good);
	const dataLength = good.tensors.reduce((sum, { data }) => sum + data.length, 0);
	const tensorTable = bytes.length - dataLength - 200;
	await refuse(bytes.subarray(0, 3), "damaged.gguf");
	await refuse(bytes.subarray(0, 100), "damaged.gguf");
	await refuse(bytes.subarray(0, tensorTable), "damaged.gguf");
	await refuse(bytes.subarray(0, bytes.length - 64), /tensor "blk\.1\.ffn_down\.weight"/);
	await refuse(new TextEncoder().encode("not a model at all"), /damaged\.gguf.*GGUF/);
	// Data that is there and wrong: a weight that is no number.
	const nan = good.tensors.map((tensor) => {
		if (tensor.name !== "blk.1.ffn_down.weight") return tensor;
		const data = tensor.data.slice();
		new Float32Array(data.buffer)[70] = NaN;
		return { ...tensor, data };
	});
	await refuse(
		ggufBytes({ ...good, tensors: nan }),
		/layers\.1\.(mlp\.down\.weight|output).*NaN.*the model's file may be damaged/,
	);
	const architecture = { kind: "string" as const, value: "mamba" };
	await refuse(
		ggufBytes({ ...good, metadata: { ...good.metadata, "general.architecture": architecture } }),
		'its architecture is "mamba"; what can be loaded is "bert", "falcon", "gptneox", "gpt2", "llama"',
	);
	const tensors = good.tensors.map((tensor, i) =>
		i === 0 ? { ...tensor, shape: [264, 256], type: "NVFP4" as const } : tensor
	);
	await refuse(ggufBytes({ ...good, tensors }), /NVFP4.*F32.*Q8_0/);
	const missing = good.tensors.filter(({ name }) => name !== "blk.1.ffn_up.weight");
	await refuse(ggufBytes({ ...good, tensors: missing }), "blk.1.ffn_up.weight");
	await refuse(new Uint8Array(0), "damaged.gguf");
});

test("analyze says that a model is not there", async (directory) => {
	await assertRefused(directory, ["--model", `${directory}/none.gguf`], "none.gguf");
	const cache = `${directory}/cache`;
	await Deno.mkdir(cache);
	const start = { env: { OUTLIERSCOPE_CACHE: cache } };
	await assertRefused(directory, ["--model", "smollm2"], /smollm2.*\.\/dev demo fetches it/, start);
});

test("analyze checks the output directory before it begins", async (directory) => {
	await Deno.writeTextFile(`${directory}/file`, "");
	const args = ["--text", "the", "--out"];
	await assertRefused(directory, [...args, `${directory}/file`], `${directory}/file`);
	await assertRefused(directory, [...args, `${directory}/file/below`], `${directory}/file/below`);
	await assertRefused(directory, [...args, "/proc/outlierscope"], "/proc/outlierscope");
});

/** A compiler that finds no header of oneDNN, as a machine without libdnnl-dev has. */
async function compilerWithoutOneDnn(directory: string): Promise<string> {
	const compiler = `${directory}/compiler`;
	await Deno.writeTextFile(
		compiler,
		`#!/bin/sh\ncase "$*" in *blas.cpp*) exec g++ -Ddnnl_missing "-D__has_include(x)=0" "$@";; esac\n` +
			`exec g++ "$@"\n`,
		{ mode: 0o755 },
	);
	return compiler;
}

test("analyze says what to install where a compiler or oneDNN is missing", async (directory) => {
	const model = await writeTiny(directory);
	const args = ["--model", model, "--text", "the"];
	const env = { OUTLIERSCOPE_CACHE: `${directory}/cache`, OUTLIERSCOPE_DEVICE: "host" };
	await assertRefused(
		directory,
		args,
		/no C\+\+ compiler "none-such" found; install one \(apt-get install g\+\+\)/,
		{ env: { ...env, CXX: "none-such" } },
	);
	const compiler = await compilerWithoutOneDnn(directory);
	const { code, stderr } = await run(["analyze", "--json", ...args], {
		env: { ...env, CXX: compiler },
	});
	assertEquals(code, 1, stderr);
	assertStringIncludes(stderr, "oneDNN is missing; install it (apt-get install libdnnl-dev)");
	assertEquals(files(`${directory}/cache`), []);
});

test("analyze names the device that it was told to use and cannot", async (directory) => {
	const model = await writeTiny(directory);
	const args = ["--model", model, "--text", "the"];
	const start = (device: string) => ({ env: { OUTLIERSCOPE_DEVICE: device } });
	await assertRefused(directory, args, 'it must be "cuda" or "host"', start("gpu"));
});

test("analyze names the Deno permission that is missing", async (directory) => {
	const model = await writeTiny(directory);
	const args = ["--model", model, "--text", "the"];
	for (const missing of ["ffi", "read", "write", "env"]) {
		const permissions = PERMISSIONS.filter((flag) => flag !== `--allow-${missing}`);
		await assertRefused(directory, args, new RegExp(`--allow-${missing}`), { permissions });
	}
});

test("doctor says what is there, and that the device computes right, alike for each seed", async () => {
	const start = { env: { OUTLIERSCOPE_SEED: "7" } };
	const [page, json] = await Promise.all([
		run(["doctor"], start),
		run(["doctor", "--json"], start),
	]);
	for (const { code, stdout, stderr } of [page, json]) assertEquals(code, 0, stdout + stderr);
	for (const section of ["Device", "Libraries and programs", "Cache", "Self-test"]) {
		assertMatch(page.stdout, new RegExp(`^${section}`, "m"));
	}
	assertMatch(page.stdout, /^ {2}rms_norm_float32 +ok /m);
	assertMatch(page.stdout, / \d+ ok, 0 failed\n\nEverything works\.\n/);
	const data = JSON.parse(json.stdout);
	assertEquals([data.format, data.selfTest.seed], ["outlierscope-doctor", 7]);
	// The other run's results, to the last digit shown.
	const selfTest = (text: string) => text.slice(text.search(/^Self-test/m)).trim();
	assertEquals(selfTest(formatExamination(data)), selfTest(page.stdout));
});

test("doctor tells what is missing with the command that mends it, and fails", async (directory) => {
	const env = { OUTLIERSCOPE_CACHE: `${directory}/cache` };
	const host = { env: { ...env, OUTLIERSCOPE_DEVICE: "host", CXX: "none-such" } };
	const none = await run(["doctor"], host);
	assertEquals([none.code, none.stderr], [1, ""]);
	assertMatch(none.stdout, /^Missing\n(.*\n)* {4}→ apt-get install g\+\+\n/m);
	assertMatch(none.stdout, /Nothing can be computed here yet/);
	const compiler = await compilerWithoutOneDnn(directory);
	const half = await run(["doctor"], { env: { ...host.env, CXX: compiler } });
	assertEquals(half.code, 1);
	assertMatch(half.stdout, /^ {4}→ apt-get install libdnnl-dev\n/m);
	const wrong = await run(["doctor"], { env: { ...env, OUTLIERSCOPE_DEVICE: "gpu" } });
	assertEquals(wrong.code, 1);
	assertStringIncludes(wrong.stdout, 'it must be "cuda" or "host", or not set');
	assertEquals((await run(["doctor", "--colour"])).code, 2);
});

test("Ctrl-C stops at once and leaves nothing behind", async (directory) => {
	const text = `${directory}/long.txt`;
	await Deno.writeTextFile(text, "Winter is cold and long. ".repeat(2000));
	const out = `${directory}/out`;
	const args = [
		"analyze",
		"--text-file",
		text,
		"--length",
		"512",
		"--sequences",
		"8",
		"--out",
		out,
	];
	const child = command(args, {}).spawn();
	const reader = child.stderr.getReader();
	let seen = "";
	while (!seen.includes("Analyzing")) {
		const { value, done } = await reader.read();
		assert(!done, `It ended too early: ${seen}`);
		seen += new TextDecoder().decode(value);
	}
	await new Promise((resolve) => setTimeout(resolve, 300));
	const begun = performance.now();
	child.kill("SIGINT");
	const { code } = await child.status;
	const milliseconds = performance.now() - begun;
	await reader.cancel();
	await child.stdout.cancel();
	assertEquals(code, 130);
	assert(milliseconds < 2000, `It took ${milliseconds} ms to stop`);
	assertEquals(files(directory), ["long.txt"]);
});

test("train lowers the loss, keeps checkpoints, and goes on from them", async (directory) => {
	const out = `${directory}/run`;
	const args = (steps: number, ...more: string[]) => [
		...[
			"train",
			"--task",
			"copy",
			"--layers",
			"1",
			"--heads",
			"1",
			"--hidden",
			"32",
			"--context",
			"16",
		],
		...["--batch", "8", "--steps", String(steps), "--every", "10", "--out", out, ...more],
	];
	const first = await run(args(20));
	assertEquals(first.code, 0, first.stderr);
	assertStringIncludes(first.stdout, "20 updates, loss ");
	assertStringIncludes(first.stdout, "layer  largest h  over median  sink heads  value norm at 0");
	assertEquals(/NaN|undefined/.test(first.stdout), false, first.stdout);
	assertEquals(files(out), ["checkpoints", "log.jsonl"]);
	const again = await run(args(20));
	assertEquals(again.code, 1, "a folder with checkpoints is not trained over");
	const further = await run(args(20, "--resume"));
	assertEquals(further.code, 0, further.stderr);
});

test("train reads texts and token files, and refuses what it cannot use", async (directory) => {
	const text = `${directory}/book.txt`, out = ["--out", `${directory}/run`];
	await Deno.writeTextFile(text, "The weather is fine today, they say. ".repeat(40));
	const tiny = ["--layers", "1", "--heads", "1", "--hidden", "8", "--context", "8", "--steps", "2"];
	const attention = ["--attention", "context-scaling"];
	const fine = await run(["train", "--data", text, ...tiny, ...attention, "--batch", "2", ...out]);
	assertEquals(fine.code, 0, fine.stderr);
	const refused: [string[], string][] = [
		[["--task", "sort"], "it must be copy or induction"],
		[["--task", "copy", "--data", text], "Give either --task or --data, not both"],
		[["--data", `${directory}/none.txt`], "none.txt"],
		[["--data", `${directory}/none.bin`], "Give --vocabulary with token ids"],
		[["--heads", "3", "--hidden", "8"], "its headDimension is 2.66"],
		[["--learning-rate", "fast"], "it must be above 0 and below 10"],
		[["--steps", "0"], "it must be a whole number, 1 or more"],
		[["--attention", "max"], 'Cannot use attention "max": there are softmax, '],
		[["--depth", "3"], "Unknown option --depth"],
	];
	for (const [args, words] of refused) {
		const { code, stderr } = await run(["train", ...args, ...out]);
		assertEquals(code, 2, stderr);
		assertStringIncludes(stderr, words);
	}
	const help = await run(["train", "--help"]);
	assertEquals(help.code, 0);
	assertStringIncludes(help.stdout, "Usage: outlierscope train");
});

test("tokenize learns a tokenizer, and writes ids that train reads", async (directory) => {
	const text = `${directory}/book.txt`, lines = `${directory}/more.jsonl`;
	const folder = `${directory}/bpe`, out = `${directory}/ids/train.bin`;
	const documents = ["The weather is fine today, they say. ".repeat(40), "Så være det!\n"];
	await Deno.writeTextFile(text, documents[0]!);
	await Deno.writeTextFile(lines, JSON.stringify({ body: documents[1] }) + "\n");
	const tokenizer = ["--tokenizer", folder], field = ["--field", "body"];
	const learn = ["tokenize", "--learn", "270", ...tokenizer, ...field];
	const first = await run([...learn, "--out", out, text, lines]);
	assertEquals(first.code, 0, first.stderr);
	assertEquals(files(folder), ["tokenizer.json", "tokenizer_config.json"]);
	const { encode, ids } = await read(folder, out);
	assertEquals(ids, [...encode(documents[0]!), 0, ...encode(documents[1]!), 0]);
	assertStringIncludes(first.stdout, `${ids.length} tokens of 2 documents`);

	const parts = ["--separator", " they", "--no-end", "--format", "llm.c"];
	const second = await run(["tokenize", ...tokenizer, ...parts, "--out", out, text]);
	assertEquals(second.code, 0, second.stderr);
	assertEquals(
		(await read(folder, out)).ids,
		documents[0]!.split(" they").flatMap((part) => encode(part)),
	);
	const sizes = ["--layers", "1", "--heads", "1", "--hidden", "8", "--context", "8"];
	const data = ["--data", out, "--vocabulary", "270", "--steps", "2", "--batch", "2"];
	const trained = await run(["train", ...data, ...sizes, "--out", `${directory}/run`]);
	assertEquals(trained.code, 0, trained.stderr);

	const before = await Deno.readFile(out);
	const refused: [string[], string][] = [
		[[...tokenizer], "Give the files of text to read"],
		[[text], "Give the folder of a tokenizer.json with --tokenizer"],
		[["--tokenizer", `${directory}/none`, text], "it has no tokenizer.json"],
		[["--learn", "300", ...tokenizer, text], "has a tokenizer.json already"],
		[["--learn", "100", "--tokenizer", `${directory}/new`, text], "Cannot learn 100 tokens"],
		[["--learn", "many", "--tokenizer", `${directory}/new`, text], "it must be a whole number"],
		[["--format", "json", ...tokenizer, text], "it must be nanogpt or llm.c or llm.c-32"],
		[[...tokenizer, `${directory}/none.txt`], "none.txt"],
		[[...tokenizer, lines], 'has no text "text"'],
		[["--ends", ...tokenizer, text], "Unknown option --ends"],
	];
	for (const [args, words] of refused) {
		const { code, stderr } = await run(["tokenize", "--out", out, ...args]);
		assertEquals(code, 2, stderr);
		assertStringIncludes(stderr, words);
	}
	assertEquals(await Deno.readFile(out), before);
	assertEquals(files(directory), ["book.txt", "bpe", "ids", "more.jsonl", "run"]);
	const help = await run(["tokenize", "--help"]);
	assertEquals(help.code, 0);
	assertStringIncludes(help.stdout, "Usage: outlierscope tokenize");
});

/** A tokenizer that was written, and all ids of a file. */
async function read(folder: string, path: string) {
	const tokenizer = await TokenizerJson.open(folder);
	using file = await TokenFile.open(path);
	const ids = [...file.read(0, file.length)];
	return { encode: (text: string) => tokenizer.encode(text), ids };
}
test("compare writes a report, adds variants to it, and refuses what it cannot use", async (directory) => {
	const out = ["--out", `${directory}/copy`, "--steps", "2"];
	const first = await run(["compare", "--variants", "softmax", ...out]);
	assertEquals(first.code, 0, first.stderr);
	assertStringIncludes(first.stdout, `Report: ${directory}/copy/report.html`);
	assertEquals(files(`${directory}/copy`), [
		"figures",
		"report.html",
		"results.json",
		"runs",
		"setting.json",
	]);
	const more = await run(["compare", "--variants", "softmax,sigmoid", ...out]);
	assertEquals(more.code, 0, more.stderr);
	assertStringIncludes(more.stdout, "sigmoid");
	const refused: [string[], string][] = [
		[["--steps", "3", ...out.slice(0, 2)], `there it was "steps": 2, now it is "steps": 3`],
		[["--variants", "softmax,max"], 'Cannot use attention "max": there are softmax, '],
		[["--preset", "large"], "it must be copy or induction or small or gpt2"],
		[["--preset", "gpt2"], "The preset gpt2 needs --data"],
		[["--preset", "small", "--data", `${directory}/none.txt`], "none.txt"],
		[["--data", "book.txt"], "The preset copy makes its own data"],
		[["--seeds", "0"], "it must be a whole number, 1 or more"],
		[["copy"], 'Unexpected argument "copy"'],
	];
	for (const [args, words] of refused) {
		const { code, stderr } = await run(["compare", ...args]);
		assertEquals(code, 2, stderr);
		assertStringIncludes(stderr, words);
	}
});
