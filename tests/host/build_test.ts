// The build of the host driver: one clear error for each thing that can be missing, and one file in the
// cache however many processes build. A script stands in for the compiler, so that it takes no time.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { HostBuildError } from "../../src/host/build.ts";
import { inDirectory, type Outcome, runProgram } from "../subprocess.ts";

const PROGRAM = `
import { buildHostDriver } from "src/host/build.ts";
try {
  let built = false;
  const { path } = await buildHostDriver(() => built = true);
  console.log(JSON.stringify({ path, built }));
} catch (error) {
  console.log(error.name + ": " + error.message);
}`;

/** Runs the build with a compiler made of shell commands, `$out` being the file that it shall write. */
async function buildWith(directory: string, commands: string): Promise<Outcome> {
	const compiler = `${directory}/c++`;
	const script = `#!/bin/sh
echo run >> "${directory}/runs"
for word; do [ "$last" = -o ] && out=$word; last=$word; done
${commands}
`;
	// The same file for all runs: its age is part of the identity of what it builds.
	if (!(await Deno.stat(compiler).then(() => true, () => false))) {
		await Deno.writeTextFile(compiler, script, { mode: 0o755 });
	}
	return await runProgram(PROGRAM, {
		env: { CXX: compiler, OUTLIERSCOPE_CACHE: `${directory}/cache`, TMPDIR: directory },
	});
}

const left = (directory: string) => [...Deno.readDirSync(directory)].map(({ name }) => name).sort();

Deno.test("a second start builds nothing, and a damaged driver is built again", async () => {
	await inDirectory(async (directory) => {
		const build = async () => JSON.parse((await buildWith(directory, 'echo code > "$out"')).stdout);
		const { path, built } = await build();
		assertEquals(built, true);
		assertEquals(await build(), { path, built: false });
		const content = await Deno.readFile(path);
		for (const damage of [content.subarray(0, 10), content.with(0, 1), new Uint8Array()]) {
			await Deno.writeFile(path, damage);
			assertEquals(await build(), { path, built: true });
			assertEquals(await Deno.readFile(path), content);
		}
		assertEquals(left(directory), ["c++", "cache", "runs"], "no temporary directory is left");
	});
});

Deno.test("processes that build at once all succeed and leave one file", async () => {
	await inDirectory(async (directory) => {
		await buildWith(directory, 'sleep 0.2; echo code > "$out"');
		await Deno.remove(`${directory}/cache`, { recursive: true });
		const runs = await Promise.all([1, 2, 3].map(() => buildWith(directory, "")));
		const results = runs.map(({ stdout }) => JSON.parse(stdout));
		assertEquals(new Set(results.map(({ path }) => path)).size, 1);
		assert(results.filter(({ built }) => built).length >= 2, "at least two built at once");
		assertEquals(left(`${directory}/cache`).length, 1);
		assertEquals(left(directory), ["c++", "cache", "runs"]);
	});
});

Deno.test("a missing compiler is named, with the way to get one", async () => {
	for (
		const [CXX, name] of [["/nonexistent", "/nonexistent"], [
			"no-such-compiler",
			"no-such-compiler",
		]]
	) {
		const { stdout } = await runProgram(PROGRAM, {
			env: { CXX, OUTLIERSCOPE_CACHE: "/dev/null/x" },
		});
		assertEquals(
			stdout,
			`HostBuildError: Cannot build the host driver: no C++ compiler "${name}" found; ` +
				"install one (apt-get install g++), or name another in CXX",
		);
	}
});

Deno.test("missing oneDNN is one error, whether the compiler or the linker finds out", async () => {
	const messages = [
		`echo 'blas.cpp:4:2: error: #error "oneDNN headers are missing: install libdnnl-dev"' >&2; exit 1`,
		`case "$*" in *-shared*) echo '/usr/bin/ld: cannot find -ldnnl' >&2; exit 1;; esac; echo x > "$out"`,
	];
	for (const commands of messages) {
		await inDirectory(async (directory) => {
			const { stdout } = await buildWith(directory, commands);
			assertEquals(
				stdout,
				"HostBuildError: Cannot build the host driver: oneDNN is missing; " +
					"install it (apt-get install libdnnl-dev)",
			);
			assertEquals(left(`${directory}/cache`), []);
			assertEquals(left(directory), ["c++", "cache", "runs"]);
		});
	}
});

Deno.test("any other failure comes with the compiler's words", async () => {
	await inDirectory(async (directory) => {
		const { stdout } = await buildWith(directory, "echo 'cc1plus: out of memory' >&2; exit 1");
		assertMatch(stdout, /^HostBuildError: .*the C\+\+ compiler says\ncc1plus: out of memory$/);
	});
});

Deno.test("a cache that cannot be written is told before anything is built", async () => {
	for (const path of ["/dev/null/cache", "/proc/outlierscope"]) {
		const { stdout } = await runProgram(PROGRAM, { env: { OUTLIERSCOPE_CACHE: path } });
		assertMatch(stdout, /^Error: Cannot keep compiled code in the cache: /);
		assertMatch(stdout, /; name a directory that can be written in OUTLIERSCOPE_CACHE$/);
		assert(stdout.includes(path), stdout);
	}
});

Deno.test("a build error has a name of its own", () => {
	assertEquals(new HostBuildError("x").name, "HostBuildError");
});
