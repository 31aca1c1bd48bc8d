// The host driver's memory: what the real driver refuses is refused with its code, and freed memory is
// reused in the order of the stream and given back to the system.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { fixedBuffer } from "../../../src/ffi/c_memory.ts";
import { runProgram } from "../../subprocess.ts";
import { CODE, HostDriver, ORDER_KERNELS } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;
const stream = host.stream();
const GIGABYTE = 2 ** 30;

Deno.test("memory is freed once, by its own address", () => {
	const pointer = host.allocate(100, stream);
	assertEquals(pointer % 64, 0, "aligned as kernels may expect");
	assertEquals(driver.cuMemFreeAsync(pointer + 64, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemFreeAsync(pointer, stream), 0);
	assertEquals(driver.cuMemFreeAsync(pointer, stream), CODE.INVALID_VALUE, "the second time");
	assertEquals(driver.cuMemFreeAsync(12345, stream), CODE.INVALID_VALUE, "a foreign pointer");
});

Deno.test("allocations of nothing, without a place, or on no stream are refused", () => {
	assertEquals(driver.cuMemAllocAsync(out.buffer, 0, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemAllocAsync(null, 8, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemAllocAsync(out.buffer, 8, stream + 8), CODE.INVALID_HANDLE);
});

Deno.test("more than the machine has is out of memory, and later allocations work", () => {
	assertEquals(driver.cuMemAllocAsync(out.buffer, 2 ** 50, stream), CODE.OUT_OF_MEMORY);
	assertEquals(driver.cuMemFreeAsync(host.allocate(8, stream), stream), 0);
});

Deno.test("copies and fills out of range are refused, and change nothing", () => {
	const data = Uint8Array.from({ length: 100 }, (_, i) => i);
	const pointer = host.upload(data, stream), bytes = fixedBuffer(101);
	const refused = [
		driver.cuMemcpyHtoDAsync_v2(pointer, bytes, 101, stream),
		driver.cuMemcpyHtoDAsync_v2(pointer + 1, bytes, 100, stream),
		driver.cuMemcpyHtoDAsync_v2(pointer - 1, bytes, 2, stream),
		driver.cuMemcpyHtoDAsync_v2(pointer, null, 4, stream),
		driver.cuMemcpyDtoH_v2(bytes, pointer, 101),
		driver.cuMemcpyDtoH_v2(bytes, pointer + 99, 2),
		driver.cuMemcpyDtoDAsync_v2(pointer, pointer + 50, 51, stream),
		driver.cuMemcpyDtoDAsync_v2(pointer + 50, pointer, 51, stream),
		driver.cuMemsetD8Async(pointer, 7, 101, stream),
		driver.cuMemsetD8Async(pointer + 2 ** 40, 7, 1, stream),
		driver.cuMemcpyDtoH_v2(bytes, 0, 1),
	];
	assertEquals(refused, Array(refused.length).fill(CODE.INVALID_VALUE));
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	assertEquals(host.read(new Uint8Array(100), pointer), data);
	assertEquals(driver.cuMemFreeAsync(pointer, stream), 0);
	assertEquals(driver.cuMemcpyDtoH_v2(bytes, pointer, 1), CODE.INVALID_VALUE, "after the free");
});

Deno.test("an upload may be overwritten as soon as the call returns", () => {
	const data = new Uint8Array(1 << 20).fill(1);
	const pointer = host.allocate(data.length, stream);
	assertEquals(driver.cuMemcpyHtoDAsync_v2(pointer, data, data.length, stream), 0);
	data.fill(2);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	assert(host.read(new Uint8Array(1 << 20), pointer).every((byte) => byte === 1));
	driver.cuMemFreeAsync(pointer, stream);
});

Deno.test("copies between places of the device may overlap", () => {
	const pointer = host.upload(Uint8Array.from({ length: 10 }, (_, i) => i), stream);
	driver.cuMemcpyDtoDAsync_v2(pointer + 2, pointer, 8, stream);
	driver.cuStreamSynchronize(stream);
	assertEquals([...host.read(new Uint8Array(10), pointer)], [0, 1, 0, 1, 2, 3, 4, 5, 6, 7]);
	driver.cuMemFreeAsync(pointer, stream);
});

Deno.test("memory freed on a stream is reused there, and not by another stream", () => {
	const other = host.stream();
	const pointer = host.allocate(5_000_000, stream);
	driver.cuMemFreeAsync(pointer, stream);
	const elsewhere = host.allocate(5_000_000, other);
	const again = host.allocate(5_000_000, stream);
	assert(elsewhere !== pointer);
	assertEquals(again, pointer);
	driver.cuMemFreeAsync(again, stream);
	driver.cuMemFreeAsync(elsewhere, other);
	assertEquals(driver.cuStreamDestroy_v2(other), 0);
});

/** Resident memory of this process. */
function resident(): number {
	return Deno.memoryUsage().rss;
}

Deno.test("freed memory goes back to the system when other sizes are asked for", () => {
	const before = resident(), step = GIGABYTE / 8;
	for (let round = 0; round < 6; round++) {
		// Each round's size fits no block of the rounds before.
		const size = Math.round(step * 1.5 ** (round % 3)) + round * 2 ** 22;
		const pointer = host.allocate(size, stream);
		driver.cuMemsetD8Async(pointer, 1, size, stream);
		driver.cuMemFreeAsync(pointer, stream);
		driver.cuStreamSynchronize(stream);
	}
	driver.cuMemFreeAsync(host.allocate(2 ** 24, stream), stream);
	driver.cuStreamSynchronize(stream);
	const kept = (resident() - before) / step;
	assert(kept < 3.5, `${kept.toFixed(1)} × 128 MB are still held`);
});

/** An attribute of the pool. */
const ATTRIBUTE = { threshold: 4, reserved: 5, reservedHigh: 6, used: 7, usedHigh: 8 };
const pool = host.made((made) => driver.cuDeviceGetDefaultMemPool(made, 0));
function attribute(name: keyof typeof ATTRIBUTE): number {
	assertEquals(driver.cuMemPoolGetAttribute(pool, ATTRIBUTE[name], out.buffer), 0);
	return out.size;
}
function setAttribute(name: keyof typeof ATTRIBUTE, value: bigint): number {
	const buffer = fixedBuffer(8);
	new BigUint64Array(buffer.buffer)[0] = value;
	return driver.cuMemPoolSetAttribute(pool, ATTRIBUTE[name], buffer);
}

/** A pool that keeps nothing, whatever other tests of this process asked of it. */
function emptyPool(): void {
	assertEquals(setAttribute("threshold", 0n), 0);
	driver.cuCtxSynchronize();
	driver.cuMemPoolTrimTo(pool, 0);
}

Deno.test("the pool counts, keeps what the threshold says, and is trimmed", () => {
	emptyPool();
	const SIZE = 2 ** 23, before = attribute("reserved"), inUse = attribute("used");
	assertEquals(attribute("threshold"), 0);
	const pointers = [0, 1, 2].map(() => host.allocate(SIZE, stream));
	assertEquals(attribute("used"), inUse + 3 * SIZE);
	assertEquals(attribute("reserved"), before + 3 * SIZE);
	for (const pointer of pointers) driver.cuMemFreeAsync(pointer, stream);
	assertEquals([attribute("used"), attribute("reserved")], [inUse, before + 3 * SIZE]);
	assert(attribute("usedHigh") >= inUse + 3 * SIZE);
	assertEquals(setAttribute("threshold", BigInt(before + 2 * SIZE)), 0);
	driver.cuStreamSynchronize(stream);
	assertEquals(attribute("reserved"), before + 2 * SIZE, "released down to the threshold");
	assertEquals(driver.cuMemPoolTrimTo(pool, before + SIZE), 0);
	assertEquals(attribute("reserved"), before + SIZE);
	assertEquals(setAttribute("threshold", 0n), 0);
	driver.cuCtxSynchronize();
	assertEquals(attribute("reserved"), before);
	assertEquals(setAttribute("usedHigh", 0n), 0);
	assertEquals(attribute("usedHigh"), inUse);
	assertEquals(setAttribute("usedHigh", 1n), CODE.INVALID_VALUE, "only reset");
	assertEquals(setAttribute("used", 0n), CODE.INVALID_VALUE, "only read");
	assertEquals(driver.cuMemPoolTrimTo(pool + 8, 0), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemPoolGetAttribute(pool, 99, out.buffer), CODE.INVALID_VALUE);
	assertEquals(driver.cuDeviceGetDefaultMemPool(out.buffer, 1), CODE.INVALID_DEVICE);
});

Deno.test("a pool that may keep everything holds little more than was ever in use", () => {
	const SIZE = 2 ** 26;
	emptyPool();
	setAttribute("threshold", 2n ** 64n - 1n);
	setAttribute("usedHigh", 0n);
	const before = attribute("reserved");
	for (let round = 0; round < 12; round++) {
		const size = Math.round(SIZE * 1.3 ** round % (2 * SIZE)) + 2 ** 20;
		driver.cuMemFreeAsync(host.allocate(size, stream), stream);
		driver.cuStreamSynchronize(stream);
	}
	const again = host.allocate(SIZE, stream);
	driver.cuMemFreeAsync(again, stream);
	driver.cuStreamSynchronize(stream);
	assertEquals(host.allocate(SIZE, stream), again, "kept over a synchronization");
	driver.cuMemFreeAsync(again, stream);
	assert(attribute("reserved") - before <= attribute("usedHigh") + 2 ** 27 + 2 ** 22);
	setAttribute("threshold", 0n);
	driver.cuCtxSynchronize();
	assertEquals(attribute("reserved"), before);
});

Deno.test("memory freed on a stream that ended serves the others", () => {
	setAttribute("threshold", 2n ** 64n - 1n);
	const other = host.stream(), pointer = host.allocate(5_000_000, other);
	driver.cuMemFreeAsync(pointer, other);
	const elsewhere = host.allocate(5_000_000, stream);
	assertNotEquals(elsewhere, pointer);
	driver.cuStreamDestroy_v2(other);
	assertEquals(host.allocate(5_000_000, stream), pointer);
	driver.cuMemFreeAsync(pointer, stream);
	driver.cuMemFreeAsync(elsewhere, stream);
	setAttribute("threshold", 0n);
});

Deno.test("a limit refuses what exceeds it, after giving back what is free", async () => {
	const { stdout, stderr } = await runProgram(
		`
import { HostDriver } from "tests/host/driver/driver.ts";
const host = await HostDriver.open(), { driver, out } = host;
const one = host.stream(), two = host.stream(), MB = 2 ** 20, codes = [];
const allocate = (bytes, stream) => {
  codes.push(driver.cuMemAllocAsync(out.buffer, bytes, stream));
  return out.size;
};
const held = allocate(32 * MB, one);
allocate(20 * MB, one); // more than 48 MB
const pointer = allocate(16 * MB, two);
driver.cuMemFreeAsync(pointer, two);
driver.cuMemFreeAsync(allocate(10 * MB, one), one); // what the other stream had freed gives way
const free = new Uint8Array(8), total = new Uint8Array(8);
driver.cuMemGetInfo_v2(free, total);
driver.cuMemFreeAsync(held, one);
allocate(45 * MB, two);
const size = (bytes) => Number(new BigUint64Array(bytes.buffer)[0]);
driver.cuDeviceTotalMem_v2(out.buffer, 0);
console.log(JSON.stringify({ codes, free: size(free), total: size(total), all: out.size }));`,
		{ env: { OUTLIERSCOPE_HOST_MEMORY: String(48 * 2 ** 20) } },
	);
	assertEquals(stderr, "");
	assertEquals(JSON.parse(stdout), {
		codes: [0, CODE.OUT_OF_MEMORY, 0, 0, 0],
		free: 6 * 2 ** 20, // what the pool keeps is not free
		total: 48 * 2 ** 20,
		all: 48 * 2 ** 20,
	});
});

const slowSet = host.function(await host.module(ORDER_KERNELS), "slow_set");
/** Page-locked memory, seen from here. */
function locked(bytes: number) {
	const pointer = host.made((made) => driver.cuMemHostAlloc(made, bytes, 0));
	const memory = Deno.UnsafePointer.create(BigInt(pointer))!;
	return { pointer, bytes: new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(memory, bytes)) };
}

Deno.test("copies from page-locked memory read it when they run, in the order of the stream", () => {
	const from = locked(4), x = host.allocate(4, stream);
	const word = new Uint32Array(from.bytes.buffer);
	word[0] = 1;
	host.launch(slowSet, [x, 9, 200_000_000], { stream });
	assertEquals(driver.cuMemcpyHtoDAsync_v2(x, from.bytes, 4, stream), 0);
	word[0] = 2;
	assertEquals(driver.cuStreamQuery(stream), CODE.NOT_READY);
	driver.cuStreamSynchronize(stream);
	assertEquals(host.read(new Uint32Array(1), x)[0], 2);
	driver.cuMemFreeAsync(x, stream);
	assertEquals(driver.cuMemFreeHost(from.pointer), 0);
});

Deno.test("downloads into page-locked memory return at once, others when they are done", () => {
	const to = locked(8), x = host.upload(Uint32Array.of(3), stream);
	const words = new Uint32Array(to.bytes.buffer);
	host.launch(slowSet, [x, 5, 200_000_000], { stream });
	assertEquals(driver.cuMemcpyDtoHAsync_v2(to.bytes.subarray(4), x, 4, stream), 0);
	const early = words[1];
	const ordinary = new Uint32Array(1);
	assertEquals(
		driver.cuMemcpyDtoHAsync_v2(new Uint8Array(ordinary.buffer), x, 4, stream),
		0,
	);
	assertEquals([early === 5, ordinary[0], words[1]], [false, 5, 5]);
	driver.cuMemFreeAsync(x, stream);
	assertEquals(driver.cuMemFreeHost(to.pointer), 0);
});

Deno.test("page-locked memory is freed once, after the copies that use it", () => {
	const from = locked(4), x = host.allocate(4, stream);
	from.bytes.fill(7);
	host.launch(slowSet, [x, 9, 200_000_000], { stream });
	driver.cuMemcpyHtoDAsync_v2(x, from.bytes, 4, stream);
	assertEquals(driver.cuMemFreeHost(from.pointer), 0);
	assertEquals(driver.cuStreamQuery(stream), 0, "it waited");
	assertEquals(host.read(new Uint32Array(1), x)[0], 0x07070707);
	assertEquals(driver.cuMemFreeHost(from.pointer), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemHostAlloc(out.buffer, 0, 0), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemHostAlloc(out.buffer, 8, 8), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemHostAlloc(out.buffer, 2 ** 50, 0), CODE.OUT_OF_MEMORY);
	assertEquals(driver.cuMemFreeAsync(x, stream), 0);
});

Deno.test("cuMemGetInfo tells less than the machine has", () => {
	const available = fixedBuffer(8), total = fixedBuffer(8);
	assertEquals(driver.cuMemGetInfo_v2(available, total), 0);
	const [a, t] = [available, total].map((buffer) => new BigUint64Array(buffer.buffer)[0]);
	assert(a > 0n && a < t);
	assertEquals(driver.cuMemGetInfo_v2(null, total), CODE.INVALID_VALUE);
});
