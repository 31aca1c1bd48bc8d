// The reader of kernel signatures: names, kinds and packed offsets as CUDA has them, and what it refuses.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { parseKernels } from "../../src/cuda/kernel_source.ts";
import { kernelSources } from "../../src/cuda/kernels.ts";
import { root } from "../../tools/project.ts";

Deno.test("arguments are packed at multiples of their size", () => {
	const [kernel, ...rest] = parseKernels(`
    extern "C" __global__ void k(int a, float *b, unsigned c, long long d, float e, const int *f) {}`);
	assertEquals(rest, []);
	assertEquals(kernel, {
		name: "k",
		parameters: [
			{ name: "a", kind: "int", offset: 0 },
			{ name: "b", kind: "pointer", offset: 8 },
			{ name: "c", kind: "int", offset: 16 },
			{ name: "d", kind: "long", offset: 24 },
			{ name: "e", kind: "float", offset: 32 },
			{ name: "f", kind: "pointer", offset: 40 },
		],
		bytes: 48,
	});
});

Deno.test("the size ends with the last argument", () => {
	assertEquals(parseKernels("__global__ void k(float *a, int b) {}")[0].bytes, 12);
});

Deno.test("const, __restrict__, line breaks and odd spaces make no difference", () => {
	const [{ parameters }] = parseKernels(
		"__global__\nvoid  k (const float\n  *__restrict__ a,const   long   long n,\n float* const b)",
	);
	assertEquals(parameters.map(({ name, kind }) => `${name}: ${kind}`), [
		"a: pointer",
		"n: long",
		"b: pointer",
	]);
});

Deno.test("launch bounds may stand before or after void", () => {
	for (const head of ["void __launch_bounds__(256)", "__launch_bounds__(256, 2) void"]) {
		assertEquals(parseKernels(`__global__ ${head} k(int a)`).map(({ name }) => name), ["k"], head);
	}
});

Deno.test("a kernel without parameters has none", () => {
	for (const list of ["", " ", "void"]) {
		assertEquals(parseKernels(`__global__ void k(${list}) {}`), [
			{ name: "k", parameters: [], bytes: 0 },
		]);
	}
});

Deno.test("kernels in comments are none", () => {
	assertEquals(parseKernels("// __global__ void a(int b)\n/* __global__ void c(int d) */"), []);
});

Deno.test("comments between parameters are passed over", () => {
	const [{ parameters }] = parseKernels(
		"__global__ void k(int a,  // of [rows, columns] (!)\n int b)",
	);
	assertEquals(parameters.map(({ name }) => name), ["a", "b"]);
});

Deno.test("a parameter of another type is refused with its kernel and text", () => {
	for (const text of ["double a", "short a", "dim3 a", "int", "unsigned char a"]) {
		const error = assertThrows(() => parseKernels(`__global__ void k(${text})`), SyntaxError);
		assertEquals(
			error.message,
			`Cannot read parameter "${text}" of kernel k: ` +
				"it must be a pointer, int, unsigned, long long or float",
		);
	}
});

Deno.test("a macro that defines kernels is expanded where it is used", () => {
	const kernels = parseKernels(`
    #define SQUARE(x) ((x) * (x))
    #define SIZES int rows, \\
      int columns
    #define UNARY(NAME, T) \\
      extern "C" __global__ void NAME##_##T(T *y, const T *x, int NAMES, SIZES) {} \\
      extern "C" __global__ void NAME##_##T##_backward(T *dx, long long n) {}
    UNARY(relu, float)
    UNARY( silu , bfloat16)
    void f() { UNARY(no, kernel) }
    #undef UNARY
  `.replace(/^ {4}/gm, ""));
	assertEquals(kernels.map(({ name, parameters }) => [name, parameters.map(({ name }) => name)]), [
		["relu_float", ["y", "x", "NAMES", "rows", "columns"]],
		["relu_float_backward", ["dx", "n"]],
		["silu_bfloat16", ["y", "x", "NAMES", "rows", "columns"]],
		["silu_bfloat16_backward", ["dx", "n"]],
	]);
});

Deno.test("the kernels that are read are those that the preprocessor leaves", async () => {
	for (const { name, text } of kernelSources) {
		const child = new Deno.Command("g++", {
			args: ["-E", "-P", "-x", "c++", "-I", `${root}/src/cuda/kernels`, "-"],
			stdin: "piped",
			stdout: "piped",
		}).spawn();
		const writer = child.stdin.getWriter();
		await writer.write(new TextEncoder().encode(text));
		await writer.close();
		const expanded = new TextDecoder().decode((await child.output()).stdout);
		const names = [...expanded.matchAll(/__global__\s+void\s+(\w+)/g)].map(([, name]) => name);
		const kernels = parseKernels(text);
		assertEquals(kernels.map(({ name }) => name), names, name);
		assertEquals(kernels, parseKernels(expanded), name);
		assert(names.length > 0, name);
	}
});
