// Streams: work of two runs at the same time, unless an event orders it; what is queued within withStream()
// goes to that stream.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Stream } from "../../src/cuda/stream.ts";
import { gemm } from "../../src/cuda/gemm.ts";
import { LONG, orderDevice, Words } from "./order.ts";

const device = await orderDevice();
const set = device.kernel("order_set"), append = device.kernel("order_append");
const { mainStream } = device;

Deno.test("kernels of two streams run at the same time", () => {
	using side = new Stream(device);
	using words = new Words(device, [0, 0, 0, 0]);
	const [a, b, aMet, bMet] = [0, 4, 8, 12].map((offset) => words.pointer + offset);
	const meet = device.kernel("order_meet");
	meet.launch(1, 1, [a, b, aMet, 20 * LONG]);
	device.withStream(side, () => meet.launch(1, 1, [b, a, bMet, 20 * LONG]));
	for (const stream of [mainStream, side]) stream.synchronizeSync();
	assertEquals(words.now.slice(2), [1, 1], "each saw the other");
});

Deno.test("a stream waits for an event of another, and for nothing that is queued later", () => {
	using side = new Stream(device);
	using words = new Words(device, [0, 0]);
	const y = words.pointer + 4;
	set.launch(1, 1, [words.pointer, 5, LONG]);
	side.wait(mainStream.record());
	set.launch(1, 1, [words.pointer, 6, 5 * LONG]);
	device.withStream(side, () => device.copy(y, words.pointer, 4));
	side.synchronizeSync();
	assertEquals(words.now, [5, 5]);
	assertEquals([side.isIdle, mainStream.isIdle], [true, false]);
	mainStream.synchronizeSync();
	assertEquals(words.now, [6, 5]);
});

Deno.test("a stream waits for another", () => {
	using side = new Stream(device);
	using words = new Words(device, [1]);
	append.launch(1, 1, [words.pointer, 2, LONG]);
	side.wait(mainStream);
	device.withStream(side, () => append.launch(1, 1, [words.pointer, 3, LONG / 4]));
	mainStream.wait(side);
	append.launch(1, 1, [words.pointer, 4, 1]);
	mainStream.synchronizeSync();
	assertEquals(words.now, [1234]);
});

Deno.test("copies, fills, uploads, products and memory follow the stream they are queued on", () => {
	using side = new Stream(device);
	using words = new Words(device, [0]);
	device.withStream(side, () => {
		assertEquals(device.currentStream, side);
		set.launch(1, 1, [words.pointer, 7, LONG]);
		const x = device.allocate(16);
		device.upload(x, Float32Array.of(2, 0, 0, 0));
		device.fill(x + 4, 0, 12);
		const operand = { pointer: x, rowStride: 1 };
		const c = { pointer: x + 4, rowStride: 1 };
		gemm(device, {
			a: operand,
			b: operand,
			c,
			rows: 1,
			columns: 1,
			inner: 1,
			input: "float32",
		});
		device.copy(x + 8, x + 4, 4);
		const numbers = new Float32Array(4);
		device.read(numbers, x);
		assertEquals(words.now, [0], "nothing behind the slow kernel has run");
		device.downloadSync(numbers, x);
		assertEquals([...numbers], [2, 4, 4, 0]);
		device.free(x);
	});
	assertEquals(device.currentStream, mainStream);
});

Deno.test("memory is freed in the order of its stream, whichever is current", () => {
	using side = new Stream(device);
	const x = device.withStream(side, () => device.allocate(4));
	device.withStream(side, () => set.launch(1, 1, [x, 3, LONG]));
	device.free(x); // must not serve the main stream while the kernel writes to it
	const others = Array.from({ length: 8 }, () => device.allocate(4));
	for (const other of others) device.fill(other, 9, 4);
	mainStream.synchronizeSync();
	side.synchronizeSync();
	for (const other of others) {
		const word = new Uint32Array(1);
		device.read(word, other);
		assertEquals(word[0], 0x09090909);
		device.free(other);
	}
});

Deno.test("memory of a stream that ended can be freed", () => {
	const before = device.liveBytes;
	const side = new Stream(device);
	const x = device.withStream(side, () => device.allocate(1000));
	side[Symbol.dispose]();
	device.free(x);
	assertEquals(device.liveBytes, before);
});

Deno.test("synchronizing waits for one stream, ending a stream for its work", async () => {
	using words = new Words(device, [1]);
	{
		using side = new Stream(device);
		device.withStream(side, () => {
			append.launch(1, 1, [words.pointer, 2, LONG]);
		});
		await mainStream.synchronize();
		assertEquals(words.now, [1]);
		await side.synchronize();
		assertEquals(words.now, [12]);
		device.withStream(side, () => append.launch(1, 1, [words.pointer, 3, LONG]));
	}
	assertEquals(words.now, [123]);
});

Deno.test("withStream() gives back what its body returns, and the stream before, also on errors", () => {
	using one = new Stream(device);
	using two = new Stream(device);
	const handles = device.withStream(one, () => {
		const inner = device.withStream(two, () => device.stream);
		return [device.stream, inner];
	});
	assertEquals(handles, [one.handle, two.handle]);
	assertThrows(
		() =>
			device.withStream(one, () => {
				throw new Error("body");
			}),
		Error,
		"body",
	);
	assertEquals(device.stream, mainStream.handle);
});

Deno.test("streams that cannot be used, or ended, are told", () => {
	const ended = new Stream(device);
	ended[Symbol.dispose]();
	ended[Symbol.dispose]();
	assert(ended.disposed);
	assertThrows(() => device.withStream(ended, () => {}), RangeError, "disposed of");
	assertThrows(() => mainStream[Symbol.dispose](), RangeError, "queueing on");
	using side = new Stream(device);
	device.withStream(side, () => {
		assertThrows(() => side[Symbol.dispose](), RangeError, "queueing on");
	});
	const error = assertThrows(() => device.withStream(side, async () => await 1), TypeError);
	assertMatch(error.message, /asynchronous function in withStream/);
});
