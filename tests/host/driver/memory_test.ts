// The host driver's copies, fills and page-locked memory: in the order of the stream, and what the real
// driver refuses is refused with its code.

import { assert, assertEquals } from "@std/assert";
import { fixedBuffer } from "../../../src/ffi/c_memory.ts";
import { CODE, HostDriver, ORDER_KERNELS } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;
const stream = host.stream();

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
