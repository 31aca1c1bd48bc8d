// NVRTC on the host: the compiler's words with file and line, several compilations at once, which kernels
// a source defines, and nothing left in the temporary directory.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fixedBuffer, textAt } from "../../../src/ffi/c_memory.ts";
import { CODE, HostDriver } from "./driver.ts";

const host = await HostDriver.open();
const { driver, nvrtc } = host;
const COMPILATION = 6;

Deno.test("an error comes with the file's name, the line and the compiler's words", async () => {
	const { status, log } = await host.compile(
		'extern "C" __global__ void k(float *x) {\n  x[0] = missing;\n}\n',
		"odd.cu",
	);
	assertEquals(status, COMPILATION);
	assertMatch(log, /odd\.cu:2:\d+: error: .*missing.* was not declared/);
	assert(!log.includes("/tmp/outlierscope"), log);
	assertEquals(textAt(nvrtc.nvrtcGetErrorString(status)), "NVRTC_ERROR_COMPILATION");
});

Deno.test("an error in a header names the header", async () => {
	const { status, log } = await host.compile('#include "h.cuh"\n', "k.cu", {
		"h.cuh": "\n\nint f() { return missing; }\n",
	});
	assertEquals(status, COMPILATION);
	assertMatch(log, /h\.cuh:3:\d+: error: .*missing/);
});

Deno.test("the log is empty on success", async () => {
	const { status, log, binary } = await host.compile('extern "C" __global__ void k(float *x) {}');
	assertEquals({ status, log }, { status: 0, log: "" });
	assert(binary.length > 1000);
});

Deno.test("compilations run at once, each with its own source", async () => {
	const stream = host.stream();
	const x = host.upload(new Uint32Array(6), stream);
	const modules = await Promise.all(
		Array.from(
			{ length: 6 },
			(_, i) => host.module(`extern "C" __global__ void k(unsigned *x) { x[${i}] = ${i + 1}; }`),
		),
	);
	for (const module of modules) host.launch(host.function(module, "k"), [x], { stream });
	driver.cuStreamSynchronize(stream);
	assertEquals([...host.read(new Uint32Array(6), x)], [1, 2, 3, 4, 5, 6]);
	driver.cuMemFreeAsync(x, stream);
	driver.cuStreamDestroy_v2(stream);
});

Deno.test("kernels are found with launch bounds and odd spaces, and not in comments", async () => {
	const module = await host.module(`
// A __global__ function in words (see below) is no kernel; nor is
/* extern "C" __global__ void commented(int a) */
extern "C" __global__ void __launch_bounds__(256) after(float *x) {}
extern "C" __global__ __launch_bounds__(256, 2) void before(float *x) {}
extern "C" __global__
void
  broken_lines  (float *x) {}
extern "C" __global__ void /* here too */ beside_comment(float *x /* ( */) {}
`);
	for (const name of ["after", "before", "broken_lines", "beside_comment"]) {
		assert(host.function(module, name) > 0, name);
	}
});

Deno.test("kernels that a macro defines are found", async () => {
	const module = await host.module(`
#define FILL(name, type) \\
  extern "C" __global__ void fill_##name(type *y) {} \\
  extern "C" __global__ void fill_##name##_twice(type *y) {}
FILL(float, float)
FILL(int, int)
`);
	for (const name of ["fill_float", "fill_float_twice", "fill_int", "fill_int_twice"]) {
		assert(host.function(module, name) > 0, name);
	}
});

Deno.test("a compilation leaves nothing in the temporary directory, and says if there is none", async () => {
	const before = Deno.env.get("TMPDIR");
	const directory = await Deno.makeTempDir({ prefix: "outlierscope_test_" });
	try {
		Deno.env.set("TMPDIR", directory);
		assertEquals((await host.compile("int x;")).status, 0);
		assertEquals((await host.compile("no C++ at all")).status, COMPILATION);
		assertEquals([...Deno.readDirSync(directory)], []);
		Deno.env.set("TMPDIR", `${directory}/missing`);
		const { status, log } = await host.compile("int x;");
		assertEquals(textAt(nvrtc.nvrtcGetErrorString(status)), "NVRTC_ERROR_INTERNAL_ERROR");
		assertMatch(log, /^Cannot create a temporary directory in TMPDIR or \/tmp: No such file/);
	} finally {
		if (before === undefined) Deno.env.delete("TMPDIR");
		else Deno.env.set("TMPDIR", before);
		await Deno.remove(directory, { recursive: true });
	}
});

Deno.test("arguments that make no sense are refused", async () => {
	const INVALID_INPUT = 3, INVALID_PROGRAM = 4;
	const out = fixedBuffer(8);
	const create = (source: Uint8Array<ArrayBuffer> | null, headers: number) =>
		nvrtc.nvrtcCreateProgram(out, source, null, headers, null, null);
	assertEquals(create(null, 0), INVALID_INPUT);
	assertEquals(create(fixedBuffer(1), -1), INVALID_INPUT);
	assertEquals(nvrtc.nvrtcDestroyProgram(fixedBuffer(8)), INVALID_PROGRAM);
	assertEquals(await nvrtc.nvrtcCompileProgram(0, 0, null), INVALID_PROGRAM);
	assertEquals(nvrtc.nvrtcGetCUBINSize(0, out), INVALID_PROGRAM);
	assertEquals(nvrtc.nvrtcVersion(null, out), INVALID_INPUT);
	assertEquals(CODE.SUCCESS, nvrtc.nvrtcVersion(out, fixedBuffer(8)));
});
