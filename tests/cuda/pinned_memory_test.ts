// Page-locked memory: copied from and to in the order of the stream, and safe to touch after it was freed.

import { assertEquals, assertThrows } from "@std/assert";
import { CudaError } from "../../src/cuda/errors.ts";
import { PinnedMemory } from "../../src/cuda/pinned_memory.ts";
import { LONG, orderDevice, Words } from "./order.ts";

const device = await orderDevice();
const set = device.kernel("order_set");

Deno.test("an upload from it reads it when the work before is done", () => {
	using pinned = new PinnedMemory(device, 8);
	assertEquals([...pinned.bytes], Array(8).fill(0));
	using words = new Words(device, [0]);
	const from = new Uint32Array(pinned.bytes.buffer, 4, 1);
	set.launch(1, 1, [words.pointer, 1, LONG]);
	from[0] = 2;
	device.upload(words.pointer, from);
	from[0] = 3;
	device.synchronizeSync();
	assertEquals(words.now, [3], "not the 2 that was there at the call");
});

Deno.test("a download into it is there when an event behind it is reached", async () => {
	using pinned = new PinnedMemory(device, 8);
	using words = new Words(device, [1]);
	const to = new Uint32Array(pinned.bytes.buffer);
	set.launch(1, 1, [words.pointer, 7, LONG]);
	device.queueDownload(to.subarray(1), words.pointer);
	const done = device.mark();
	assertEquals([...to], [0, 0]);
	await done.reached();
	assertEquals([...to], [0, 7]);
	assertThrows(
		() => device.queueDownload(new Uint32Array(1), words.pointer),
		TypeError,
		"use PinnedMemory, or download()",
	);
});

Deno.test("it is freed after the copies that use it, and then empty", () => {
	using words = new Words(device, [0]);
	const pinned = new PinnedMemory(device, 4);
	const view = new Uint32Array(pinned.bytes.buffer);
	view[0] = 5;
	set.launch(1, 1, [words.pointer, 1, LONG]);
	device.upload(words.pointer, view);
	pinned[Symbol.dispose]();
	assertEquals(words.now, [5]);
	assertEquals([pinned.bytes.length, view.length, view[0]], [0, 0, undefined]);
	pinned[Symbol.dispose]();
});

Deno.test("more than there is is refused", () => {
	const error = assertThrows(() => new PinnedMemory(device, 2 ** 50), CudaError);
	assertEquals([error.function, error.code], ["cuMemHostAlloc", 2]);
});
