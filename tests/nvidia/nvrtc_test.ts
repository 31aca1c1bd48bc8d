// Every kernel compiles with NVIDIA's own compiler, without a warning, for each generation of GPUs: by
// the code that a machine with a GPU would use. `./dev test nvidia` does it for every compute capability.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CudaError } from "../../src/cuda/errors.ts";
import { kernelSources } from "../../src/cuda/kernels.ts";
import { compileAll, compileStrictly, computeCapabilities, generations } from "./nvrtc.ts";

Deno.test("kernels compile with NVRTC for each generation of GPUs, and spill no registers", async () => {
	const capabilities = generations(computeCapabilities());
	assert(capabilities.length >= 5 && capabilities[0] === 75, capabilities.join(", "));
	const uses = await compileAll(kernelSources, capabilities);
	assertEquals(uses.filter(({ spilled }) => spilled > 0), []);
});

Deno.test("generations are the first of each, and the newest of the last", () => {
	assertEquals(generations([75, 80, 86, 89, 90, 100, 103, 120, 121]), [75, 80, 90, 100, 121]);
	assertEquals(generations([75, 90, 91, 120]), [75, 90, 120]);
});

const source = (body: string) => ({
	name: "planted.cu",
	text: `#include "prelude.cuh"\nextern "C" __global__ void planted(float *x) {\n${body}\n}\n`,
});

Deno.test("what NVRTC warns of, and what it refuses, is found with its place", async () => {
	const [use] = await compileStrictly(source("x[lane()] = warp_sum(x[lane()]);"), 75);
	assertEquals({ name: use.name, spilled: use.spilled }, { name: "planted", spilled: 0 });
	assert(use.registers > 0);
	const warned = await assertRejects(
		() => compileStrictly(source("int unused = 1; x[0] = 0;"), 75),
		CudaError,
	);
	assertMatch(warned.message, /planted\.cu\(3\): error #177-D: variable "unused"/);
	const refused = await assertRejects(() => compileStrictly(source("x[0] = y;"), 75), CudaError);
	assertMatch(refused.message, /planted\.cu\(3\): error[^]*"y" is undefined/);
});

Deno.test("registers that do not fit are seen in the assembler's report", async () => {
	const body = "__shared__ float s[32]; float a[200];\n" +
		"#pragma unroll\nfor (int i = 0; i < 200; i++) a[i] = x[i * 32 + lane()];\n" +
		"s[lane()] = a[0]; __syncthreads();\n" +
		"#pragma unroll\nfor (int i = 0; i < 200; i++) x[i] = a[199 - i] * s[i % 32] + a[i];";
	const text = source(body).text.replace(" planted(", " __launch_bounds__(1024) planted(");
	const [use] = await compileStrictly({ name: "planted.cu", text }, 90);
	assert(use.spilled > 0, JSON.stringify(use));
	assertEquals(use.shared, 128);
});
