// Graphs: captured work runs at each launch and not before, on memory that stays where it is.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import type { Graph } from "../../src/cuda/graph.ts";
import { PinnedMemory } from "../../src/cuda/pinned_memory.ts";
import { Stream } from "../../src/cuda/stream.ts";
import { softmaxAttention } from "../../src/nn/attention/softmax_attention.ts";
import { linear } from "../../src/tensor/linear.ts";
import { type Shape, Tensor } from "../../src/tensor/tensor.ts";
import { Random } from "../random.ts";
import { LONG, orderDevice, Words } from "./order.ts";

const device = await orderDevice();
const append = device.kernel("order_append");

Deno.test("captured work runs at each launch, in order, and not before", () => {
	using words = new Words(device, [5]);
	using graph = device.capture(() => {
		assert(device.isCapturing);
		for (const digit of [1, 2]) append.launch(1, 1, [words.pointer, digit, 1]);
	});
	assert(!device.isCapturing);
	device.synchronizeSync();
	assertEquals(words.now, [5]);
	for (let i = 0; i < 2; i++) {
		graph.launch();
		append.launch(1, 1, [words.pointer, 0, 1]);
	}
	device.synchronizeSync();
	assertEquals(words.now, [5120120]);
});

Deno.test("a step of tensors is captured with its temporaries, and sees new inputs", async () => {
	const before = device.liveBytes;
	using x = Tensor.from<"float32", 2>(device, "float32", [1, 2], [1, 2]);
	using w = Tensor.from<"float32", 2>(device, "float32", [2, 2], [1, 0, 1, 1]);
	let y!: Tensor<"float32", 2>;
	const graph = device.capture(() => {
		const first = linear(x, w);
		using second = linear(first, w);
		first.dispose();
		y = linear(second, w);
	});
	const captured = device.liveBytes;
	assertEquals(captured - before, 8 + 16 + 2 * 8, "the third result took the place of the first");
	for (const [a, b] of [[1, 2], [-3, 5]]) {
		device.upload(x.pointer, Float32Array.of(a!, b!));
		graph.launch();
		assertEquals([...await y.data()], [a, 3 * a! + b!]);
	}
	assertEquals(device.liveBytes, captured, "launches allocate nothing");
	graph[Symbol.dispose]();
	assertEquals([...y.readNow()], [-3, -4], "a result outlives the graph");
	y.dispose();
	assertEquals(device.liveBytes, before + 8 + 16);
});

Deno.test("attention on lanes of its own is captured", async () => {
	const random = new Random(5), [kv, tokens, group, d] = [2, 37, 3, 8];
	const draw = <R extends number>(shape: Shape<R>) =>
		Tensor.from(device, "float32", shape, random.normals(shape.reduce((a, b) => a * b, 1)));
	using q = draw<4>([kv, tokens, group, d]);
	using k = draw<3>([kv, tokens, d]);
	using v = draw<3>([kv, tokens, d]);
	using expected = softmaxAttention({ q, k, v }); // also makes the handles that a capture cannot
	let captured!: Tensor<"float32", 2>;
	using graph = device.capture(() => {
		captured = softmaxAttention({ q, k, v });
	});
	using result = captured;
	device.fill(result.pointer, 255, result.byteLength);
	graph.launch();
	assertEquals(await result.data(), await expected.data());
});

Deno.test("what is freed during the capture, and results freed before the graph, stay for the launches", () => {
	const before = device.liveBytes;
	const outside = device.allocate(4);
	device.upload(outside, Uint32Array.of(4));
	let inside = 0;
	const graph = device.capture(() => {
		inside = device.allocate(4);
		device.copy(inside, outside, 4);
		append.launch(1, 1, [inside, 2, 1]);
		device.copy(outside, inside, 4);
		device.free(outside);
	});
	assertThrows(() => device.free(outside), RangeError, "twice");
	device.free(inside);
	const others = [0, 0, 0].map(() => device.allocate(4));
	for (const other of others) device.fill(other, 0, 4);
	graph.launch();
	graph.launch();
	const word = new Uint32Array(1);
	device.downloadSync(word, outside);
	assertEquals(word[0], 422);
	graph[Symbol.dispose]();
	graph[Symbol.dispose]();
	for (const other of others) device.free(other);
	assertEquals(device.liveBytes, before);
	assertThrows(() => graph.launch(), ReferenceError, "disposed of");
});

Deno.test("streams join a capture through events", () => {
	using side = new Stream(device);
	using words = new Words(device, [1, 0]);
	using graph = device.capture(() => {
		append.launch(1, 1, [words.pointer, 2, LONG]);
		side.wait(device.mainStream);
		device.withStream(side, () => device.copy(words.pointer + 4, words.pointer, 4));
		device.mainStream.wait(side);
		append.launch(1, 1, [words.pointer + 4, 3, 1]);
	});
	device.withStream(side, () => graph.launch());
	side.synchronizeSync();
	assertEquals(words.now, [12, 123]);
});

Deno.test("what a capture frees on one stream serves that stream only", () => {
	const before = device.liveBytes;
	using side = new Stream(device);
	const onSide = () => device.withStream(side, () => device.allocate(256));
	const pointers: number[] = [];
	{
		using _graph = device.capture(() => {
			side.wait(device.mainStream);
			const first = onSide();
			device.free(first);
			pointers.push(first, device.allocate(256), onSide());
			device.mainStream.wait(side);
		});
	}
	const [first, onMain, again] = pointers;
	assertEquals([onMain === first, again === first], [false, true]);
	for (const pointer of [onMain, again]) device.free(pointer!);
	assertEquals(device.liveBytes, before);
});

Deno.test("uploads and downloads of page-locked memory are part of a graph", async () => {
	using pinned = new PinnedMemory(device, 8);
	using words = new Words(device, [0]);
	const [from, to] = [0, 4].map((offset) => new Uint32Array(pinned.bytes.buffer, offset, 1));
	using graph = device.capture(() => {
		device.upload(words.pointer, from!);
		append.launch(1, 1, [words.pointer, 1, 1]);
		device.queueDownload(to!, words.pointer);
	});
	for (const value of [2, 30]) {
		from![0] = value;
		graph.launch();
		await device.synchronize();
		assertEquals(to![0], value * 10 + 1);
	}
});

Deno.test("a graph may be disposed of while it runs", () => {
	using words = new Words(device, [1]);
	using side = new Stream(device);
	{
		using graph = device.capture(() => {
			const x = device.allocate(4);
			device.copy(x, words.pointer, 4);
			append.launch(1, 1, [x, 2, LONG]);
			device.copy(words.pointer, x, 4);
			device.free(x);
		});
		device.withStream(side, () => graph.launch());
	}
	const other = device.allocate(4);
	device.fill(other, 0, 4); // must not be the memory that the graph still works on
	side.synchronizeSync();
	assertEquals(words.now, [12]);
	device.free(other);
});

Deno.test("what makes no sense in a capture is refused, and spoils nothing", async () => {
	using words = new Words(device, [0]);
	using side = new Stream(device);
	const event = device.mark();
	const refusals: [RegExp, () => unknown][] = [
		[/^Cannot read memory during a capture: /, () => device.read(new Uint8Array(4), words.pointer)],
		[/^Cannot wait for a stream/, () => device.synchronizeSync()],
		[/^Cannot wait for a stream/, () => device.downloadSync(new Uint8Array(4), words.pointer)],
		[/^Cannot wait for an event/, () => event.isReached],
		[/^Cannot wait for an event/, () => event.reachedSync()],
		[/^Cannot wait for an event/, () => device.mark().reachedSync()],
		[/^Cannot make a cuBLAS handle/, () => device.withStream(side, () => device.blas)],
		[/^Cannot ask whether/, () => device.mainStream.isIdle],
		[
			/^Cannot upload from memory that is not page-locked/,
			() => device.upload(words.pointer, Uint32Array.of(1)),
		],
		[/^Cannot allocate page-locked/, () => new PinnedMemory(device, 4)],
		[/^Cannot trim memory/, () => device.trimMemory()],
		[/^Cannot capture /, () => device.capture(() => {})],
	];
	using graph = device.capture(() => {
		for (const [message, call] of refusals) {
			assertMatch((assertThrows(call, RangeError) as Error).message, message);
		}
		append.launch(1, 1, [words.pointer, 4, 1]);
	});
	graph.launch();
	await device.synchronize();
	assertEquals(words.now, [4]);
});

Deno.test("a capture that fails leaves the device as it was", async () => {
	const before = device.liveBytes;
	using words = new Words(device, [3]);
	using side = new Stream(device);
	const captureWith = (body: () => void): Graph => device.capture(body);
	assertThrows(
		() =>
			captureWith(() => {
				device.free(device.allocate(64));
				throw new Error("from the body");
			}),
		Error,
		"from the body",
	);
	assertThrows(
		() => captureWith(async () => await Promise.reject(new Error("lost"))),
		TypeError,
		"asynchronous",
	);
	const unjoined = assertThrows(() =>
		captureWith(() => {
			side.wait(device.mainStream.record());
			device.withStream(side, () => append.launch(1, 1, [words.pointer, 4, 1]));
		})
	);
	assertMatch((unjoined as Error).message, /^cuStreamEndCapture failed .*UNJOINED/);
	append.launch(1, 1, [words.pointer, 5, 1]);
	await device.synchronize();
	assertEquals(words.now, [35]);
	assertEquals([device.isCapturing, device.liveBytes], [false, before + 4]);
});
