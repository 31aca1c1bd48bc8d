// Compiling through the cache: once a source, again when anything that it depends on differs.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { compileCached } from "../../src/cuda/compile.ts";
import { CompileError } from "../../src/cuda/errors.ts";
import { withEmptyCache } from "../empty_cache.ts";
import { openDevice } from "./kernels/bench.ts";

const { libraries } = await openDevice();
const architecture = libraries.kind === "host" ? "sm_00" : "sm_80";
const source = {
	name: "compile_test.cu",
	text: `#include "prelude.cuh"\n` +
		'extern "C" __global__ void compile_test(float *x) { *x = fast_exp(*x); }\n',
};

Deno.test("a source is compiled once, and again with another text, name or compiler", () =>
	withEmptyCache(async () => {
		let compilations = 0;
		const compile = (change = {}, of = libraries) =>
			compileCached(of, { ...source, ...change }, architecture, () => compilations++);
		const binary = await compile();
		assert(binary.length > 100);
		assertEquals(await compile(), binary);
		assertEquals(compilations, 1);
		await compile({ text: source.text + "\n" });
		await compile({ name: "other.cu" });
		await compile({}, { ...libraries, identity: "another compiler" });
		assertEquals(compilations, 4);
	}));

Deno.test("the error has the compiler's words, and the failure is not cached", async () => {
	const bad = { name: "compile_bad.cu", text: "\n\n__device__ void f() { missing(); }" };
	for (let i = 0; i < 2; i++) {
		const error = await assertRejects(
			() => compileCached(libraries, bad, architecture),
			CompileError,
		);
		assertEquals([error.file, error.line], ["compile_bad.cu", 3]);
		assertMatch(error.message, /NVRTC_ERROR_COMPILATION while compiling compile_bad\.cu:\n/);
		assertMatch(error.message, /compile_bad\.cu[:(]3[^]*missing/);
	}
});
