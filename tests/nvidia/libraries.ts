// What `./dev test nvidia` adds to the tests: cuBLAS, cuDNN and NCCL, whose packages are a gigabyte, and every
// compute capability. libcuda.so is not among NVIDIA's packages, since it comes with a GPU's driver: its
// functions are compared with cuda.h only, by their exact names.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { kernelSources } from "../../src/cuda/kernels.ts";
import { cublasSymbols } from "../../src/ffi/cublas_symbols.ts";
import { cudnnSymbols } from "../../src/ffi/cudnn_symbols.ts";
import { LibraryError, openLibrary } from "../../src/ffi/libraries.ts";
import { ncclSymbols } from "../../src/ffi/nccl_symbols.ts";
import { root } from "../../tools/project.ts";
import recorded from "../fixtures/nvidia_prototypes.json" with { type: "json" };
import { checkConstants, checkUnits, constantsOf, readPrototypes } from "./headers.ts";
import { compileAll, computeCapabilities } from "./nvrtc.ts";
import { nvidiaDirectory } from "./packages.ts";

Deno.test("the host driver compiles against cublas_v2.h, cudnn.h and nccl.h", async () => {
	assertEquals(await checkUnits("libraries"), {});
	const refused = await checkUnits("libraries", {
		"wrong.cpp": `#include "abi.h"\nEXPORT cublasStatus_t cublasDestroy_v2(int) { return {}; }\n`,
	});
	assertMatch(refused["wrong.cpp"], /conflicting declaration of C function/);
});

Deno.test("all constants of abi.h have NVIDIA's values", async () => {
	const constants = constantsOf(Deno.readTextFileSync(`${root}/src/host/driver/abi.h`));
	assert(constants.some(({ name }) => name === "CUBLAS_COMPUTE_32F"));
	assertEquals(await checkConstants("libraries", constants), "");
});

Deno.test("the recorded prototypes are those of the headers", async () => {
	const functions = Object.keys({ ...cublasSymbols, ...cudnnSymbols, ...ncclSymbols });
	const prototypes = await readPrototypes("libraries", functions);
	assertEquals(recorded, prototypes, "run tools/record_nvidia_prototypes.ts");
});

Deno.test("every bound function of cuBLAS, cuDNN and NCCL is in NVIDIA's library", () => {
	const directory = `${nvidiaDirectory("libraries")}/lib`;
	openLibrary("cuBLAS", [`${directory}/libcublas.so.13`], cublasSymbols);
	openLibrary("cuDNN", [`${directory}/libcudnn.so.9`], cudnnSymbols);
	openLibrary("NCCL", [`${directory}/libnccl.so.2`], ncclSymbols);
	const error = assertThrows(
		() =>
			openLibrary("cuBLAS", [`${directory}/libcublas.so.13`], {
				cublasGemmQuickly: { parameters: [], result: "i32" },
			}),
		LibraryError,
	);
	assertMatch(error.message, /undefined symbol: cublasGemmQuickly/);
});

Deno.test("kernels compile with NVRTC for every compute capability", async () => {
	const uses = await compileAll(kernelSources, computeCapabilities());
	assertEquals(uses.filter(({ spilled }) => spilled > 0), []);
});
