// The host driver and the symbol tables agree with NVIDIA's headers: the driver's and NVRTC's, which are
// installed here, and those of cuBLAS, cuDNN and NCCL by the record in tests/fixtures/nvidia_prototypes.json,
// which `./dev test nvidia` compares with the headers.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { cublasSymbols } from "../../src/ffi/cublas_symbols.ts";
import { cudnnSymbols } from "../../src/ffi/cudnn_symbols.ts";
import { driverSymbols } from "../../src/ffi/driver_symbols.ts";
import { ncclSymbols } from "../../src/ffi/nccl_symbols.ts";
import { nvrtcSymbols } from "../../src/ffi/nvrtc_symbols.ts";
import { root } from "../../tools/project.ts";
import recorded from "../fixtures/nvidia_prototypes.json" with { type: "json" };
import { checkConstants, checkUnits, constantsOf, readPrototypes } from "./headers.ts";
import { differences, functionsOf } from "./symbol_table.ts";

const abi = Deno.readTextFileSync(`${root}/src/host/driver/abi.h`);

Deno.test("the host driver compiles against cuda.h and nvrtc.h", async () => {
	assertEquals(await checkUnits("compiler"), {});
});

Deno.test("a function unlike its prototype, or without one, is found", async () => {
	const unit = (code: string) => `#include "abi.h"\n${code} { return CUDA_SUCCESS; }\n`;
	const right = "EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *, size_t)";
	const refused = await checkUnits("compiler", {
		"right.cpp": unit(right),
		"parameter.cpp": unit(right.replace("size_t", "unsigned")),
		"count.cpp": unit(right.replace(", size_t", "")),
		"result.cpp": unit(right.replace("CUresult", "int")),
		"name.cpp": unit(right.replace("_v2", "_v9")),
		// The first version of this function had other types; cuda.h has a macro of its name.
		"version.cpp": unit(right.replace("_v2", "")),
	});
	assertEquals(Object.keys(refused).sort(), [
		"count.cpp",
		"name.cpp",
		"parameter.cpp",
		"result.cpp",
		"version.cpp",
	]);
	assertMatch(refused["parameter.cpp"], /conflicting declaration of C function .*cuMemAlloc_v2/);
	assertMatch(refused["name.cpp"], /no previous declaration for .*cuMemAlloc_v9/);
});

Deno.test("the constants of abi.h have NVIDIA's values", async () => {
	const constants = constantsOf(abi).filter(({ name }) => !/^(CU(BLAS|DNN|DA_R)_|nccl)/.test(name));
	for (
		const name of ["CUDA_ERROR_UNKNOWN", "CU_LAUNCH_PARAM_BUFFER_SIZE", "NVRTC_ERROR_COMPILATION"]
	) assert(constants.some((constant) => constant.name === name), name);
	assertEquals(await checkConstants("compiler", constants), "");
});

Deno.test("a constant with another value is found", async () => {
	const constants = constantsOf(
		"  CUDA_ERROR_NOT_READY = 601,\n#define CU_LAUNCH_PARAM_END ((void *)0x03)",
	);
	assertEquals(
		await checkConstants("compiler", constants),
		"CUDA_ERROR_NOT_READY is 600, not 601\nCU_LAUNCH_PARAM_END is 0, not 3\n",
	);
});

Deno.test("the symbol tables of the driver and NVRTC agree with the headers", async () => {
	const table = { ...driverSymbols, ...nvrtcSymbols };
	assertEquals(differences(table, await readPrototypes("compiler", functionsOf(table))), []);
});

Deno.test("a function that is bound under another name is compared by its own", async () => {
	const { nvrtcCompileProgram, nvrtcCompileProgramSync: { name, ...other } } = nvrtcSymbols;
	const table = { nvrtcCompileProgram, another: { ...other, name } };
	assertEquals(functionsOf(table), ["nvrtcCompileProgram"]);
	const prototypes = await readPrototypes("compiler", functionsOf(table));
	assertEquals(differences(table, prototypes), []);
	assertEquals(
		differences(
			{ another: { ...other, parameters: ["usize", "u32", "buffer"], name } },
			prototypes,
		),
		["another: parameter 1 is int, not u32"],
	);
	assertEquals(differences({ another: other }, prototypes), ["another has no prototype"]);
});

Deno.test("the symbol tables of cuBLAS, cuDNN and NCCL agree with the record of their headers", () => {
	assertEquals(differences({ ...cublasSymbols, ...cudnnSymbols, ...ncclSymbols }, recorded), []);
	const { parameters, result } = cudnnSymbols.cudnnSetStream;
	assertEquals(
		differences({ cudnnSetStream: { parameters: [...parameters, "i32"], result } }, recorded),
		["cudnnSetStream has 2 parameters, not 3"],
	);
	// A structure that is passed by value has its size.
	const { ncclCommInitRank } = ncclSymbols, half = { struct: Array<"u64">(8).fill("u64") };
	const parameters_ = ncclCommInitRank.parameters.with(2, half as never);
	assertEquals(
		differences({ ncclCommInitRank: { ...ncclCommInitRank, parameters: parameters_ } }, recorded),
		["ncclCommInitRank: parameter 2 is struct of 128 bytes, not struct of 64 bytes"],
	);
});

Deno.test("a symbol that the headers do not declare is found", async () => {
	const error = await assertRejects(
		() => readPrototypes("compiler", ["cuInit", "cuInitiate"]),
		Error,
	);
	assertMatch(error.message, /'cuInitiate' was not declared/);
});

Deno.test("each kind of wrong entry in a symbol table is found", async () => {
	const names = ["cuMemAllocAsync", "cuMemsetD8Async", "nvrtcGetErrorString", "cuLaunchKernel"];
	const prototypes = await readPrototypes("compiler", names);
	assertEquals(prototypes.cuMemAllocAsync, {
		result: "enum cudaError_enum",
		parameters: ["unsigned long long*", "unsigned long", "handle CUstream_st"],
	});
	const planted = (name: keyof typeof driverSymbols, place: number, type: Deno.NativeType) => {
		const { parameters, result } = driverSymbols[name];
		return differences({
			[name]: { parameters: (parameters as readonly Deno.NativeType[]).with(place, type), result },
		}, prototypes);
	};
	const wrong: [keyof typeof driverSymbols, number, Deno.NativeType][] = [
		["cuMemAllocAsync", 0, "usize"], // an address of the caller's as a handle
		["cuMemAllocAsync", 1, "u32"], // 4 bytes of 8
		["cuMemAllocAsync", 1, "isize"],
		["cuMemAllocAsync", 2, "buffer"], // a handle as memory of the caller
		["cuMemsetD8Async", 0, "usize"],
		["cuMemsetD8Async", 1, "u32"],
		["cuLaunchKernel", 1, "i32"], // a sign
		["cuLaunchKernel", 1, "f32"],
	];
	for (const [name, place, type] of wrong) {
		const found = planted(name, place, type);
		assertEquals(found.length, 1, `${name} ${place} ${type}`);
		assertMatch(found[0], new RegExp(`^${name}: parameter ${place} is .*, not ${type}$`));
	}
	const string = { parameters: ["i32"], result: "pointer" } as const;
	assertEquals(differences({ nvrtcGetErrorString: string }, prototypes), []);
	assertEquals(
		differences({
			nvrtcGetErrorString: { ...string, result: "i32" },
			cuMemAllocAsync: { parameters: ["buffer", "usize"], result: "i32" },
			cuMemGone: string,
		}, prototypes),
		[
			"nvrtcGetErrorString returns char const*, not i32",
			"cuMemAllocAsync has 3 parameters, not 2",
			"cuMemGone has no prototype",
		],
	);
});
