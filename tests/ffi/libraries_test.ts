// How C libraries are found: the first that loads, or one error with every name that was tried.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { driverSymbols } from "../../src/ffi/driver_symbols.ts";
import { LibraryError, openLibrary } from "../../src/ffi/libraries.ts";
import { buildHostDriver } from "../../src/host/build.ts";
import { inDirectory, runProgram } from "../subprocess.ts";

const abs = { abs: { parameters: ["i32"], result: "i32" } } as const;

Deno.test("the first library that loads is used", () => {
	const { path, symbols } = openLibrary("C", ["libmissing.so.9", "libc.so.6"], abs);
	assertEquals(path, "libc.so.6");
	assertEquals(symbols.abs(-3), 3);
});

Deno.test("when none loads, each name is listed with its reason, a line each", () => {
	const error = assertThrows(
		() => openLibrary("the thing", ["liba.so.9", "/no/libb.so"], abs),
		LibraryError,
	);
	const lines = error.message.split("\n");
	assertEquals(lines[0], "Cannot load the thing; tried");
	assertEquals(lines.length, 3);
	assertMatch(lines[1], /^ {2}liba\.so\.9: .*No such file/);
	assertMatch(lines[2], /^ {2}\/no\/libb\.so: .*No such file/);
});

Deno.test("a library without a symbol that is asked for is not used", () => {
	const error = assertThrows(
		() => openLibrary("the CUDA driver", ["libc.so.6"], driverSymbols),
		LibraryError,
	);
	assertMatch(error.message, /libc\.so\.6: .*undefined symbol: cu\w+/);
});

Deno.test("without --allow-ffi the error names the permission", async () => {
	const { stdout } = await runProgram(
		`import { openLibrary } from "src/ffi/libraries.ts";
     try { openLibrary("C", ["libc.so.6"], {}); } catch (error) { console.log(error.name, error.message); }`,
		{ flags: [] },
	);
	assertEquals(
		stdout,
		"LibraryError Cannot load C: Deno needs the permission --allow-ffi (run with --allow-ffi, or -A)",
	);
});

function loads(name: string): boolean {
	try {
		Deno.dlopen(name, {}).close();
		return true;
	} catch {
		return false;
	}
}

Deno.test({
	name: "NVIDIA's libraries are found by their names, and cuDNN may be missing until it is used",
	ignore: ["libcuda.so.1", "libnvrtc.so.13", "libcudnn.so.9"].some(loads), // then none is missing
	fn: missingLibraries,
});

async function missingLibraries() {
	// The host driver under NVIDIA's names: it has the same functions.
	const { path } = await buildHostDriver();
	const program = `
    import { openNvidia } from "src/ffi/libraries.ts";
    try {
      const libraries = openNvidia();
      console.log(libraries.kind, libraries.identity.replace(/.* /, ""));
      console.log(libraries.cudnn() === libraries.cudnn());
    } catch (error) { console.log(error.name + ": " + error.message); }`;
	await inDirectory(async (directory) => {
		const run = async (...names: string[]) => {
			for (const name of names) await Deno.symlink(path, `${directory}/${name}`);
			return (await runProgram(program, { env: { LD_LIBRARY_PATH: directory } })).stdout;
		};
		assertMatch(
			await run("libcuda.so.1", "libcublas.so.12"),
			/^LibraryError: Cannot load NVRTC; tried\n {2}libnvrtc\.so\.13: .*\n {2}\/usr\/local\/cuda\/.*\n/,
		);
		assertMatch(
			await run("libnvrtc.so.12"),
			/^cuda libnvrtc\.so\.12\nLibraryError: Cannot load cuDNN; tried\n {2}libcudnn\.so\.9: .*No such file/,
		);
		assertEquals(await run("libcudnn.so.9"), "cuda libnvrtc.so.12\ntrue");
	});
}
