// The reader of kernel signatures: names, kinds and packed offsets as CUDA has them, and what it refuses.

import { assertEquals, assertThrows } from "@std/assert";
import { parseKernels } from "../../src/cuda/kernel_source.ts";
import { kernelSources } from "../../src/cuda/kernels.ts";

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

Deno.test("every kernel in the sources is read", () => {
  for (const { name, text } of kernelSources) {
    const code = text.replace(/\/\/.*/g, "");
    assertEquals(parseKernels(text).length, code.match(/__global__/g)?.length, name);
  }
});
