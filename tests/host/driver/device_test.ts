// The host driver's device and contexts answer as the real driver's do: nothing works before cuInit or on
// a thread without a context, and every code has NVIDIA's name.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fixedBuffer, textAt, textIn } from "../../../src/ffi/c_memory.ts";
import { cublasSymbols } from "../../../src/ffi/cublas_symbols.ts";
import { driverSymbols } from "../../../src/ffi/driver_symbols.ts";
import { buildHostDriver } from "../../../src/host/build.ts";
import { configPath, toFileUrl } from "../../../tools/project.ts";
import { CODE, HostDriver } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;

Deno.test("before cuInit every call says so", async () => {
	const { path } = await buildHostDriver();
	const table = toFileUrl(new URL("../../../src/ffi/driver_symbols.ts", import.meta.url).pathname);
	const script = `
    import { driverSymbols } from ${JSON.stringify(table)};
    const d = Deno.dlopen(${JSON.stringify(path)}, driverSymbols).symbols;
    const out = new Uint8Array(8);
    console.log(JSON.stringify([
      d.cuDeviceGetCount(out), d.cuDeviceGet(out, 0), d.cuDeviceGetName(out, 8, 0),
      d.cuDeviceGetAttribute(out, 10, 0), d.cuDevicePrimaryCtxRetain(out, 0),
      d.cuStreamCreate(out, 1), d.cuMemAllocAsync(out, 64, 0), d.cuModuleLoadData(out, out),
      d.cuCtxSynchronize(), d.cuInit(1), d.cuInit(0), d.cuDeviceGetCount(out), d.cuCtxSynchronize(),
    ]));`;
	const file = await Deno.makeTempFile({ prefix: "outlierscope_test_", suffix: ".ts" });
	try {
		await Deno.writeTextFile(file, script);
		const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
			args: ["run", "-A", "--quiet", "--config", configPath(), file],
		}).output();
		assertEquals(new TextDecoder().decode(stderr), "");
		const uninitialized = Array(9).fill(CODE.NOT_INITIALIZED);
		assertEquals(JSON.parse(new TextDecoder().decode(stdout)), [
			...uninitialized,
			CODE.INVALID_VALUE, // cuInit takes no flags
			0,
			0,
			CODE.INVALID_CONTEXT, // initialized, but this thread has no context
		]);
	} finally {
		await Deno.remove(file);
	}
});

Deno.test("a thread without a current context is refused", async () => {
	const { path } = await buildHostDriver();
	// Nonblocking calls run on another thread.
	const other = Deno.dlopen(path, {
		cuCtxSynchronize: { ...driverSymbols.cuCtxSynchronize, nonblocking: true },
		cuMemAllocAsync: { ...driverSymbols.cuMemAllocAsync, nonblocking: true },
		cublasCreate_v2: { ...cublasSymbols.cublasCreate_v2, nonblocking: true },
	});
	assertEquals(await other.symbols.cuCtxSynchronize(), CODE.INVALID_CONTEXT);
	assertEquals(await other.symbols.cuMemAllocAsync(fixedBuffer(8), 64n, 0n), CODE.INVALID_CONTEXT);
	assertEquals(await other.symbols.cublasCreate_v2(fixedBuffer(8)), 1); // not initialized
	assertEquals(driver.cuCtxSynchronize(), 0); // while this one has it
	other.close();
});

Deno.test("a context is taken away and given back", () => {
	const context = host.made((out) => driver.cuDevicePrimaryCtxRetain(out, 0));
	assertEquals(driver.cuCtxSetCurrent(0), 0);
	assertEquals(driver.cuMemAllocAsync(out.buffer, 64, 0), CODE.INVALID_CONTEXT);
	assertEquals(driver.cuCtxSetCurrent(context + 8), CODE.INVALID_CONTEXT);
	assertEquals(driver.cuCtxSetCurrent(context), 0);
	assertEquals(driver.cuCtxSynchronize(), 0);
});

Deno.test("there is one device, a warp of one a core", () => {
	assertEquals(driver.cuDeviceGetCount(out.buffer), 0);
	assertEquals(out.int, 1);
	assertEquals(driver.cuDeviceGet(out.buffer, 1), CODE.INVALID_DEVICE);
	assertEquals(driver.cuDeviceGet(null, 0), CODE.INVALID_VALUE);
	const attribute = (number: number) => {
		assertEquals(driver.cuDeviceGetAttribute(out.buffer, number, 0), 0);
		return out.int;
	};
	assertEquals([attribute(1), attribute(10)], [1, 1]); // threads in a block, lanes of a warp
	assert(attribute(16) >= 1 && attribute(16) <= navigator.hardwareConcurrency);
	assertEquals(driver.cuDeviceGetAttribute(out.buffer, 9999, 0), CODE.INVALID_VALUE);
	assertEquals(driver.cuDeviceGetAttribute(out.buffer, 10, 7), CODE.INVALID_DEVICE);
	const name = fixedBuffer(256);
	assertEquals(driver.cuDeviceGetName(name, 256, 0), 0);
	assertMatch(textIn(name), /\(host driver, \d+ cores\)$/);
	assertEquals(driver.cuDeviceGetName(name.fill(1), 4, 0), 0);
	assertEquals(name[3], 0, "a short buffer still ends with zero");
	assertEquals(name[4], 1, "nothing is written behind it");
});

Deno.test("the device tells its memory and identity, and is no peer of its own", () => {
	assertEquals(driver.cuDeviceTotalMem_v2(out.buffer, 0), 0);
	assertEquals(out.size, Deno.systemMemoryInfo().total);
	const uuids = [fixedBuffer(16), fixedBuffer(16)];
	for (const uuid of uuids) assertEquals(driver.cuDeviceGetUuid_v2(uuid, 0), 0);
	assert(uuids[0].some((byte) => byte !== 0));
	assertEquals(uuids[0], uuids[1]);
	assertEquals(driver.cuDeviceCanAccessPeer(out.buffer, 0, 0), 0);
	assertEquals(out.int, 0);
	assertEquals(driver.cuDeviceCanAccessPeer(out.buffer, 0, 1), CODE.INVALID_DEVICE);
	assertEquals(driver.cuDeviceTotalMem_v2(out.buffer, 1), CODE.INVALID_DEVICE);
	assertEquals(driver.cuDeviceGetUuid_v2(null, 0), CODE.INVALID_VALUE);
});

Deno.test("each code has NVIDIA's name and a text", () => {
	for (const [name, code] of Object.entries(CODE)) {
		assertEquals(driver.cuGetErrorName(code, out.buffer), 0);
		assertEquals(textAt(out.pointer), code === 0 ? "CUDA_SUCCESS" : `CUDA_ERROR_${name}`);
		assertEquals(driver.cuGetErrorString(code, out.buffer), 0);
		assert(textAt(out.pointer).length > 0);
	}
	assertEquals(driver.cuGetErrorName(12345, out.buffer), CODE.INVALID_VALUE);
	assertEquals(out.pointer, null);
});
