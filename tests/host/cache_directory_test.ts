// Where the cache is, and that its files appear whole or not at all.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
	cacheDirectory,
	pruneCache,
	readCached,
	writeCached,
} from "../../src/host/cache_directory.ts";
import { inDirectory, runProgram } from "../subprocess.ts";

Deno.test("the cache is where the variables say, in their order", () => {
	const names = ["OUTLIERSCOPE_CACHE", "XDG_CACHE_HOME", "HOME"];
	const before = names.map((name) => Deno.env.get(name));
	const set = (values: (string | undefined)[]) =>
		names.forEach((name, i) =>
			values[i] === undefined ? Deno.env.delete(name) : Deno.env.set(name, values[i])
		);
	try {
		set(["/c", "/x", "/h"]);
		assertEquals(cacheDirectory(), "/c");
		set(["", "/x", "/h"]);
		assertEquals(cacheDirectory(), "/x/outlierscope");
		set([undefined, undefined, "/h"]);
		assertEquals(cacheDirectory(), "/h/.cache/outlierscope");
		set([undefined, undefined, undefined]);
		assertThrows(cacheDirectory, Error, "set HOME or OUTLIERSCOPE_CACHE");
	} finally {
		set(before);
	}
});

Deno.test("without --allow-env the error says so", async () => {
	const { stdout } = await runProgram(
		`import { cacheDirectory } from "src/host/cache_directory.ts";
     try { cacheDirectory(); } catch (error) { console.log(error.message); }`,
		{ flags: [] },
	);
	assertEquals(
		stdout,
		"Cannot read the environment variable OUTLIERSCOPE_CACHE: " +
			"Deno needs the permission --allow-env (run with --allow-env, or -A)",
	);
});

Deno.test("a file comes back as it was written, and a damaged one counts as missing", async () => {
	await inDirectory(async (directory) => {
		const path = `${directory}/a/b/file`, content = new Uint8Array([1, 2, 3]);
		assertEquals(readCached(path), null);
		for (const bytes of [content, new Uint8Array(), new Uint8Array(100_000).fill(7)]) {
			writeCached(path, bytes);
			assertEquals(readCached(path), bytes);
			assertEquals(
				[...Deno.readDirSync(`${directory}/a/b`)].length,
				1,
				"no temporary file is left",
			);
		}
		writeCached(path, content);
		const stored = await Deno.readFile(path);
		for (let length = 0; length < stored.length; length++) {
			await Deno.writeFile(path, stored.subarray(0, length));
			assertEquals(readCached(path), null, `cut to ${length} bytes`);
		}
		for (let at = 0; at < stored.length; at++) {
			await Deno.writeFile(path, stored.with(at, stored[at] ^ 1));
			assertEquals(readCached(path), null, `byte ${at} changed`);
		}
	});
});

Deno.test("a file that cannot be written leaves nothing, and names the variable", async () => {
	await inDirectory(async (directory) => {
		await Deno.mkdir(`${directory}/taken`);
		assertThrows(
			() => writeCached(`${directory}/taken`, new Uint8Array(1)),
			Error,
			"OUTLIERSCOPE_CACHE",
		);
		assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["taken"]);
	});
});

const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);
const names = (directory: string) =>
	[...Deno.readDirSync(directory)].map(({ name }) => name).sort();

Deno.test("what was not used for longest goes when there is too much", async () => {
	await inDirectory((directory) => {
		// 1000 bytes each with their hash; b was written before a, and is then read.
		const written = { "a.bin": 30, "b.so": 40, "c.bin": 20, "d.bin": 10, "new.bin": 0.5 };
		for (const [name, hours] of Object.entries(written)) {
			writeCached(`${directory}/${name}`, new Uint8Array(968));
			Deno.utimeSync(`${directory}/${name}`, hoursAgo(hours), hoursAgo(hours));
		}
		Deno.writeFileSync(`${directory}/setup.log`, new Uint8Array(5000));
		Deno.mkdirSync(`${directory}/models.bin`);
		assert(readCached(`${directory}/b.so`));
		pruneCache(directory, 5000);
		assertEquals(names(directory).length, 7, "all fits");
		pruneCache(directory, 3500);
		assertEquals(names(directory), ["b.so", "d.bin", "models.bin", "new.bin", "setup.log"]);
		pruneCache(directory, 0);
		assertEquals(names(directory), ["b.so", "models.bin", "new.bin", "setup.log"], "used just now");
		return Promise.resolve();
	});
});

Deno.test("what a wrong clock dated ahead goes too, and is dated anew when it is used", async () => {
	await inDirectory((directory) => {
		for (const name of ["used.bin", "unused.bin", "new.bin"]) {
			writeCached(`${directory}/${name}`, new Uint8Array(968));
			if (name !== "new.bin") Deno.utimeSync(`${directory}/${name}`, hoursAgo(-99), hoursAgo(-99));
		}
		assert(readCached(`${directory}/used.bin`));
		pruneCache(directory, 0);
		assertEquals(names(directory), ["new.bin", "used.bin"]);
		return Promise.resolve();
	});
});

Deno.test("what a killed process left half-written is removed, later", async () => {
	await inDirectory((directory) => {
		const path = (age: string) => `${directory}/x.bin.${age.length}.${crypto.randomUUID()}`;
		const [old, young] = [path("old"), path("young")];
		for (const file of [old, young]) Deno.writeTextFileSync(file, "half");
		Deno.utimeSync(old, hoursAgo(2), hoursAgo(2));
		writeCached(`${directory}/y.bin`, new Uint8Array(1));
		assertEquals(names(directory), [young.slice(directory.length + 1), "y.bin"].sort());
		return Promise.resolve();
	});
});

Deno.test("a cache that can only be read is read", async () => {
	await inDirectory(async (directory) => {
		const path = `${directory}/x.bin`;
		writeCached(path, Uint8Array.of(5));
		Deno.utimeSync(path, hoursAgo(2), hoursAgo(2));
		const { stdout, stderr } = await runProgram(
			`import { readCached } from "src/host/cache_directory.ts";
       console.log(readCached(${JSON.stringify(path)})[0]);`,
			{ flags: ["--allow-read"] },
		);
		assertEquals([stdout, stderr], ["5", ""]);
	});
});
