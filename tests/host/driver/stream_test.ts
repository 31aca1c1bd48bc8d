// Streams of the host driver are asynchronous and keep their own order: what is read too early is stale.
// Two streams run at the same time.

import { assert, assertEquals } from "@std/assert";
import { CODE, HostDriver, ORDER_KERNELS } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;
const module = await host.module(ORDER_KERNELS);
const [slowSet, append, copy, meet] = ["slow_set", "append", "copy", "meet"]
	.map((name) => host.function(module, name));
const LONG = 100_000_000; // steps: some 0.2 s
const word = (pointer: number) => host.read(new Uint32Array(1), pointer)[0];

Deno.test("a launch returns before the kernel ends, and reading then gives what was there", () => {
	const stream = host.stream();
	const x = host.upload(Uint32Array.of(7), stream);
	const start = performance.now();
	assertEquals(host.launch(slowSet, [x, 8, LONG], { stream }), 0);
	const launched = performance.now() - start;
	assertEquals(word(x), 7, "stale before synchronizing");
	assertEquals(driver.cuStreamQuery(stream), CODE.NOT_READY);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	const done = performance.now() - start;
	assertEquals(word(x), 8);
	assertEquals(driver.cuStreamQuery(stream), 0);
	assert(launched < done / 4, `the launch took ${launched} of ${done} ms`);
	driver.cuMemFreeAsync(x, stream);
	assertEquals(driver.cuStreamDestroy_v2(stream), 0);
});

Deno.test("work of a stream runs in the order it was queued", () => {
	const stream = host.stream();
	const x = host.allocate(4, stream), y = host.allocate(4, stream);
	driver.cuMemsetD8Async(x, 0, 4, stream);
	for (let digit = 1; digit <= 9; digit++) host.launch(append, [x, digit], { stream });
	driver.cuMemcpyDtoDAsync_v2(y, x, 4, stream);
	driver.cuMemsetD8Async(x, 255, 4, stream);
	driver.cuStreamSynchronize(stream);
	assertEquals([word(y), word(x)], [123456789, 2 ** 32 - 1]);
	driver.cuMemFreeAsync(x, stream);
	driver.cuMemFreeAsync(y, stream);
	assertEquals(driver.cuStreamDestroy_v2(stream), 0);
});

Deno.test("kernels of two streams run at the same time, those of one do not", () => {
	const streams = [host.stream(), host.stream()];
	const words = host.upload(new Uint32Array(4), streams[0]);
	const [a, b, aMet, bMet] = [0, 4, 8, 12].map((offset) => words + offset);
	const run = (patience: number, [first, second]: number[]) => {
		driver.cuMemsetD8Async(words, 0, 16, first);
		driver.cuStreamSynchronize(first);
		host.launch(meet, [a, b, aMet, patience], { stream: first });
		host.launch(meet, [b, a, bMet, patience], { stream: second });
		for (const stream of [first, second]) assertEquals(driver.cuStreamSynchronize(stream), 0);
		return [...host.read(new Uint32Array(2), aMet)];
	};
	assertEquals(run(20 * LONG, streams), [1, 1], "each saw the other, which only overlap allows");
	assertEquals(run(LONG / 10, [streams[0], streams[0]]), [0, 1], "the first one waited in vain");
	driver.cuMemFreeAsync(words, streams[0]);
	for (const stream of streams) assertEquals(driver.cuStreamDestroy_v2(stream), 0);
});

Deno.test("streams and events that are none, or no more, are refused", () => {
	const stream = host.stream(), event = host.event();
	const codes = [
		driver.cuStreamSynchronize(stream + 8),
		driver.cuStreamQuery(stream + 8),
		driver.cuStreamDestroy_v2(0),
		driver.cuStreamWaitEvent(stream, event + 8, 0),
		driver.cuStreamWaitEvent(stream + 8, event, 0),
		driver.cuEventRecord(event, stream + 8),
		driver.cuEventRecord(event + 8, stream),
		driver.cuEventQuery(event + 8),
		driver.cuEventSynchronize(event + 8),
		driver.cuEventDestroy_v2(event + 8),
	];
	assertEquals(codes, Array(codes.length).fill(CODE.INVALID_HANDLE));
	assertEquals(driver.cuStreamCreate(out.buffer, 2), CODE.INVALID_VALUE);
	assertEquals(driver.cuEventCreate(out.buffer, 4), CODE.INVALID_VALUE);
	assertEquals(driver.cuStreamDestroy_v2(stream), 0);
	assertEquals(driver.cuStreamDestroy_v2(stream), CODE.INVALID_HANDLE);
	assertEquals(driver.cuEventDestroy_v2(event), 0);
	assertEquals(driver.cuEventDestroy_v2(event), CODE.INVALID_HANDLE);
});

Deno.test("memory freed while queued work uses it stays until that work is done", () => {
	const stream = host.stream();
	const x = host.upload(Uint32Array.of(3), stream), y = host.allocate(4, stream);
	host.launch(slowSet, [x, 4, LONG], { stream });
	host.launch(copy, [y, x], { stream });
	assertEquals(driver.cuMemFreeAsync(x, stream), 0);
	const again = host.allocate(4, stream); // the same block, for work that comes later
	driver.cuMemsetD8Async(again, 9, 4, stream);
	driver.cuStreamSynchronize(stream);
	assertEquals(word(y), 4);
	driver.cuMemFreeAsync(y, stream);
	driver.cuMemFreeAsync(again, stream);
	driver.cuStreamDestroy_v2(stream);
});
