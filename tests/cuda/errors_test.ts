// A failed C call as an exception: the function, its code, NVIDIA's name and words, and what was tried.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
	checkCublas,
	checkDriver,
	CompileError,
	CudaError,
	formatBytes,
	OutOfMemoryError,
} from "../../src/cuda/errors.ts";
import { openDevice } from "./kernels/bench.ts";

const { libraries } = await openDevice();

Deno.test("success throws nothing", () => {
	checkDriver(libraries, "cuInit", 0);
	checkCublas(libraries, "cublasCreate_v2", 0, "context");
});

Deno.test("a driver error carries its name, its words and the context", () => {
	const error = assertThrows(
		() => checkDriver(libraries, "cuLaunchKernel", 700, "kernel k"),
		CudaError,
	);
	assertEquals([error.name, error.function, error.code], ["CudaError", "cuLaunchKernel", 700]);
	assertEquals(
		error.message,
		"cuLaunchKernel failed with code 700: CUDA_ERROR_ILLEGAL_ADDRESS " +
			"(an illegal memory access was encountered); kernel k",
	);
});

Deno.test("a code that the driver does not know is told as such", () => {
	const error = assertThrows(() => checkDriver(libraries, "cuInit", 54321), CudaError);
	assertEquals(error.message, "cuInit failed with code 54321: unknown (unknown)");
});

Deno.test("a cuBLAS status carries its words", () => {
	const error = assertThrows(() => checkCublas(libraries, "cublasCreate_v2", 1), CudaError);
	assertEquals(
		error.message,
		"cublasCreate_v2 failed with code 1: CUBLAS_STATUS_NOT_INITIALIZED (the library was not initialized)",
	);
});

Deno.test("an error of a compilation knows where the first error is, in either compiler's log", () => {
	const logs = [
		// NVRTC
		[
			`k.cu(12): error: identifier "y" is undefined\n    y();\n    ^\n\n1 error detected`,
			"k.cu",
			12,
		],
		['odd name.cu(1): catastrophic error: cannot open source file "x.h"', "odd name.cu", 1],
		[
			"k.cu(3): warning #177-D: never used\n\nprelude.cuh(7): error: expected a ;",
			"prelude.cuh",
			7,
		],
		// GCC
		["k.cu: In function 'f':\nk.cu:4:9: error: 'y' was not declared", "k.cu", 4],
		["In file included from k.cu:1:\na/h.cuh:30: error: stray '@'", "a/h.cuh", 30],
		["k.cu:2:10: fatal error: x.h: No such file", "k.cu", 2],
		["k.cu:3:1: warning: unused\nk.cu:9: error: expected ';'", "k.cu", 9],
		["the compiler gave no reason", undefined, undefined],
	] as const;
	for (const [log, file, line] of logs) {
		const error = new CompileError(
			"nvrtcCompileProgram",
			6,
			"NVRTC_ERROR_COMPILATION",
			"k.cu",
			log,
		);
		assertEquals([error.file, error.line, error.log], [file, line, log]);
		assertEquals(
			error.message,
			"nvrtcCompileProgram failed with code 6: NVRTC_ERROR_COMPILATION while compiling k.cu:\n" +
				log,
		);
		assert(error instanceof CudaError);
	}
});

Deno.test("an error for lack of memory lists the largest holders", () => {
	const holders = [7, 6, 5, 4, 3, 2, 1].map((n) => ({
		label: `part ${n}`,
		bytes: n * 2 ** 30,
		count: 1,
	}));
	const memory = {
		requested: 1536,
		label: "x",
		live: 28 * 2 ** 30,
		holders,
		free: 0,
		total: 2 ** 35,
	};
	const error = new OutOfMemoryError(libraries, "cuMemAllocAsync", memory);
	assertEquals(error.memory, memory);
	assertMatch(
		error.message,
		/asked for 1\.5 KiB \(x\) while 28\.0 GiB are in use: 7\.0 GiB part 7 \(1\), .*part 3 \(1\), 2 more; 0 B of 32\.0 GiB are free$/,
	);
});

Deno.test("numbers of bytes have the unit that fits", () => {
	assertEquals([0, 1, 1023, 1024, 2 ** 20 - 1, 2 ** 60].map(formatBytes), [
		"0 B",
		"1 B",
		"1023 B",
		"1.0 KiB",
		"1024.0 KiB",
		"1024.0 PiB",
	]);
});
