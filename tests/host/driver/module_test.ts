// Modules and launches of the host driver: what is refused, with which code, before a kernel could run.

import { assert, assertEquals } from "@std/assert";
import { cString, fixedBuffer } from "../../../src/ffi/c_memory.ts";
import { CODE, HostDriver } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;
const stream = host.stream();
const source = `
extern "C" __global__ void ids(unsigned *x, long long n) {
  long long id = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  if (id < n) x[id] += 1 + id;
}
extern "C" __global__ void first_byte(unsigned char *x) { x[0] = 1; }
extern "C" __global__ void nothing() {}
`;
const module = await host.module(source);
const ids = host.function(module, "ids"), firstByte = host.function(module, "first_byte");

Deno.test("every block of a grid of three dimensions runs once", () => {
	const x = host.upload(new Uint32Array(60), stream);
	assertEquals(host.launch(ids, [x, 60], { stream, grid: [5, 4, 3] }), 0);
	driver.cuStreamSynchronize(stream);
	const expected = Uint32Array.from({ length: 60 }, (_, id) => id + 1);
	assertEquals(host.read(new Uint32Array(60), x), expected);
	driver.cuMemFreeAsync(x, stream);
});

Deno.test("a kernel without arguments is launched", () => {
	assertEquals(host.launch(host.function(module, "nothing"), [], { stream }), 0);
});

Deno.test("blocks, grids and shared memory over the limits are refused", () => {
	const x = host.upload(new Uint32Array(1), stream);
	const code = (options: Parameters<typeof host.launch>[2]) =>
		host.launch(ids, [x, 1], { stream, ...options });
	assertEquals(code({ block: [2, 1, 1] }), CODE.INVALID_VALUE);
	assertEquals(code({ block: [1, 1, 2] }), CODE.INVALID_VALUE);
	assertEquals(code({ block: [0, 1, 1] }), CODE.INVALID_VALUE);
	assertEquals(code({ grid: [0, 1, 1] }), CODE.INVALID_VALUE);
	assertEquals(code({ grid: [1, 65536, 1] }), CODE.INVALID_VALUE);
	assertEquals(code({ grid: [1, 1, 65536] }), CODE.INVALID_VALUE);
	assertEquals(code({ grid: [2 ** 31, 1, 1] }), CODE.INVALID_VALUE);
	assertEquals(code({ shared: 49153 }), CODE.INVALID_VALUE);
	assertEquals(code({ shared: 49152 }), 0);
	driver.cuMemFreeAsync(x, stream);
});

Deno.test("arguments of another size are refused", () => {
	const x = host.upload(new Uint32Array(1), stream);
	assertEquals(host.launch(ids, [x], { stream }), CODE.INVALID_VALUE);
	assertEquals(host.launch(ids, [x, 1, 2], { stream }), CODE.INVALID_VALUE);
	assertEquals(host.launch(ids, [x, 1], { stream, bytes: 12 }), CODE.INVALID_VALUE);
	assertEquals(
		driver.cuLaunchKernel(ids, 1, 1, 1, 1, 1, 1, 0, stream, null, null),
		CODE.NOT_SUPPORTED,
		"no arguments at all",
	);
	driver.cuMemFreeAsync(x, stream);
});

Deno.test("a foreign, freed or misaligned pointer is refused at the launch, null is not", () => {
	const x = host.upload(new Uint32Array(4), stream);
	assertEquals(host.launch(ids, [12345 * 4, 1], { stream }), CODE.ILLEGAL_ADDRESS);
	assertEquals(host.launch(ids, [x - 4, 1], { stream }), CODE.ILLEGAL_ADDRESS);
	assertEquals(host.launch(ids, [x + 16, 1], { stream }), CODE.ILLEGAL_ADDRESS);
	assertEquals(host.launch(ids, [x + 1, 1], { stream }), CODE.MISALIGNED_ADDRESS);
	assertEquals(host.launch(ids, [x + 2, 1], { stream }), CODE.MISALIGNED_ADDRESS);
	assertEquals(host.launch(firstByte, [x + 1], { stream }), 0, "bytes lie anywhere");
	assertEquals(host.launch(ids, [0, 0], { stream }), 0);
	driver.cuMemFreeAsync(x, stream);
	assertEquals(host.launch(ids, [x, 1], { stream }), CODE.ILLEGAL_ADDRESS, "after the free");
});

Deno.test("handles that are none are refused", () => {
	const x = host.upload(new Uint32Array(1), stream);
	assertEquals(host.launch(ids + 8, [x, 1], { stream }), CODE.INVALID_HANDLE);
	assertEquals(host.launch(0, [x, 1], { stream }), CODE.INVALID_HANDLE);
	assertEquals(host.launch(ids, [x, 1], { stream: stream + 8 }), CODE.INVALID_HANDLE);
	const name = cString("ids");
	assertEquals(driver.cuModuleGetFunction(out.buffer, module + 8, name), CODE.INVALID_HANDLE);
	assertEquals(driver.cuModuleGetFunction(out.buffer, module, cString("none")), CODE.NOT_FOUND);
	assertEquals(driver.cuModuleGetFunction(null, module, name), CODE.INVALID_VALUE);
	assertEquals(driver.cuModuleUnload(module + 8), CODE.INVALID_HANDLE);
	driver.cuMemFreeAsync(x, stream);
});

Deno.test("a module that was unloaded is gone with its functions", async () => {
	const second = await host.module(source), kernel = host.function(second, "nothing");
	assertEquals(host.launch(kernel, [], { stream }), 0);
	assertEquals(driver.cuModuleUnload(second), 0);
	assertEquals(host.launch(kernel, [], { stream }), CODE.INVALID_HANDLE);
	assertEquals(driver.cuModuleUnload(second), CODE.INVALID_HANDLE);
	assertEquals(host.launch(host.function(module, "nothing"), [], { stream }), 0);
});

Deno.test("two modules with a kernel of one name keep their own", async () => {
	const x = host.upload(new Uint32Array(1), stream);
	const [one, two] = await Promise.all(
		[1, 2].map((value) =>
			host.module(`extern "C" __global__ void set(unsigned *x) { *x = ${value}; }`)
		),
	);
	const values = [one, two, one].map((module) => {
		assertEquals(host.launch(host.function(module, "set"), [x], { stream }), 0);
		driver.cuStreamSynchronize(stream);
		return host.read(new Uint32Array(1), x)[0];
	});
	assertEquals(values, [1, 2, 1]);
	driver.cuMemFreeAsync(x, stream);
});

Deno.test("bytes that are no image are refused", () => {
	const junk = fixedBuffer(256).fill(0x41);
	assertEquals(driver.cuModuleLoadData(out.buffer, junk), CODE.INVALID_IMAGE);
	junk.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // an ELF file by its first bytes only
	assertEquals(driver.cuModuleLoadData(out.buffer, junk), CODE.INVALID_IMAGE);
	new DataView(junk.buffer).setUint16(16, 3, true); // a shared object of no sections
	new DataView(junk.buffer).setBigUint64(40, 64n, true);
	new DataView(junk.buffer).setUint16(60, 0, true);
	assertEquals(driver.cuModuleLoadData(out.buffer, junk), CODE.INVALID_IMAGE);
	assertEquals(driver.cuModuleLoadData(out.buffer, null), CODE.INVALID_VALUE);
	assert(driver.cuCtxSynchronize() === 0, "and the context still works");
});
