// Captures and graphs of the host driver: what is captured runs at the launch and not before, in order and
// with the values of that time, and a capture is refused what the real driver refuses it.

import { assert, assertEquals } from "@std/assert";
import { fixedBuffer, OutParameter } from "../../../src/ffi/c_memory.ts";
import { driverSymbols } from "../../../src/ffi/driver_symbols.ts";
import { buildHostDriver } from "../../../src/host/build.ts";
import { CODE, HostDriver, ORDER_KERNELS } from "./driver.ts";

const host = await HostDriver.open();
const { driver, cublas, out } = host;
const module = await host.module(ORDER_KERNELS);
const [append, slowAppend] = ["append", "slow_append"].map((name) => host.function(module, name));
const LONG = 100_000_000;
const word = (pointer: number) => host.read(new Uint32Array(1), pointer)[0];
const MODE = { GLOBAL: 0, THREAD_LOCAL: 1, RELAXED: 2 };
const STATUS = { NONE: 0, ACTIVE: 1, INVALIDATED: 2 };

const begin = (stream: number, mode = MODE.GLOBAL) =>
	assertEquals(driver.cuStreamBeginCapture_v2(stream, mode), 0);
const status = (stream: number) => {
	assertEquals(driver.cuStreamIsCapturing(stream, out.buffer), 0);
	return out.int;
};
const end = (stream: number) => host.made((graph) => driver.cuStreamEndCapture(stream, graph));

/** Captures `body` and makes it launchable. */
function capture(stream: number, body: () => void): number {
	begin(stream);
	body();
	const graph = end(stream);
	const executable = host.made((made) => driver.cuGraphInstantiateWithFlags(made, graph, 0));
	assertEquals(driver.cuGraphDestroy(graph), 0);
	return executable;
}

Deno.test("captured work runs at each launch, in order, and not before", () => {
	const stream = host.stream(), x = host.upload(Uint32Array.of(5), stream);
	const y = host.allocate(4, stream);
	assertEquals(status(stream), STATUS.NONE);
	const executable = capture(stream, () => {
		assertEquals(status(stream), STATUS.ACTIVE);
		for (const digit of [1, 2, 3]) assertEquals(host.launch(append, [x, digit], { stream }), 0);
		assertEquals(driver.cuMemcpyDtoDAsync_v2(y, x, 4, stream), 0);
		assertEquals(driver.cuMemsetD8Async(x, 0, 4, stream), 0);
	});
	assertEquals(status(stream), STATUS.NONE);
	driver.cuStreamSynchronize(stream);
	assertEquals(word(x), 5, "nothing ran");
	for (const expected of [5123, 123, 123]) {
		assertEquals(driver.cuGraphLaunch(executable, stream), 0);
		host.launch(append, [x, 0], { stream });
		assertEquals(driver.cuStreamSynchronize(stream), 0);
		assertEquals([word(y), word(x)], [expected, 0]);
	}
	assertEquals(driver.cuGraphExecDestroy(executable), 0);
	for (const pointer of [x, y]) driver.cuMemFreeAsync(pointer, stream);
	driver.cuStreamDestroy_v2(stream);
});

Deno.test("a launch is asynchronous, and may be destroyed while it runs", () => {
	const stream = host.stream(), x = host.upload(Uint32Array.of(1), stream);
	const executable = capture(stream, () => host.launch(slowAppend, [x, 2, LONG], { stream }));
	assertEquals(driver.cuGraphLaunch(executable, stream), 0);
	assertEquals([driver.cuStreamQuery(stream), word(x)], [CODE.NOT_READY, 1]);
	assertEquals(driver.cuGraphExecDestroy(executable), 0);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	assertEquals(word(x), 12);
	driver.cuMemFreeAsync(x, stream);
	driver.cuStreamDestroy_v2(stream);
});

Deno.test("launches of one graph follow each other, also on two streams", () => {
	const [one, two] = [host.stream(), host.stream()];
	const x = host.upload(Uint32Array.of(0), one);
	const executable = capture(one, () => host.launch(slowAppend, [x, 1, LONG / 2], { stream: one }));
	for (const stream of [one, two, one]) assertEquals(driver.cuGraphLaunch(executable, stream), 0);
	for (const stream of [one, two]) driver.cuStreamSynchronize(stream);
	assertEquals(word(x), 111, "none was lost");
	driver.cuGraphExecDestroy(executable);
	driver.cuMemFreeAsync(x, one);
	for (const stream of [one, two]) driver.cuStreamDestroy_v2(stream);
});

Deno.test("streams take part in a capture through its events", () => {
	const [one, two] = [host.stream(), host.stream()], [fork, join] = [host.event(2), host.event(2)];
	const [x, y] = [host.upload(Uint32Array.of(1), one), host.upload(Uint32Array.of(2), one)];
	const executable = capture(one, () => {
		host.launch(append, [x, 1], { stream: one });
		assertEquals(driver.cuEventRecord(fork, one), 0);
		assertEquals(driver.cuStreamWaitEvent(two, fork, 0), 0);
		assertEquals(status(two), STATUS.ACTIVE);
		assertEquals(driver.cuMemcpyDtoDAsync_v2(y, x, 4, two), 0);
		assertEquals(driver.cuEventRecord(join, two), 0);
		assertEquals(driver.cuStreamWaitEvent(one, join, 0), 0);
		host.launch(append, [y, 3], { stream: one });
	});
	assertEquals([status(one), status(two)], [STATUS.NONE, STATUS.NONE]);
	assertEquals([word(x), word(y)], [1, 2]);
	driver.cuGraphLaunch(executable, two);
	driver.cuStreamSynchronize(two);
	assertEquals([word(x), word(y)], [11, 113]);
	assertEquals(driver.cuStreamWaitEvent(one, join, 0), CODE.CAPTURED_EVENT, "the capture is over");
	assertEquals(driver.cuEventElapsedTime(out.buffer, fork, join), CODE.CAPTURED_EVENT);
	assertEquals(driver.cuEventRecord(join, one), 0);
	assertEquals(driver.cuEventSynchronize(join), 0, "a new recording makes it an event again");
	driver.cuGraphExecDestroy(executable);
	for (const pointer of [x, y]) driver.cuMemFreeAsync(pointer, one);
	for (const event of [fork, join]) driver.cuEventDestroy_v2(event);
	for (const stream of [one, two]) driver.cuStreamDestroy_v2(stream);
});

Deno.test("a graph can be part of another", () => {
	const stream = host.stream(), x = host.upload(Uint32Array.of(0), stream);
	const inner = capture(stream, () => host.launch(append, [x, 1], { stream }));
	const outer = capture(stream, () => {
		for (let i = 0; i < 2; i++) assertEquals(driver.cuGraphLaunch(inner, stream), 0);
		host.launch(append, [x, 2], { stream });
	});
	assertEquals(word(x), 0);
	driver.cuGraphExecDestroy(inner);
	driver.cuGraphLaunch(outer, stream);
	driver.cuStreamSynchronize(stream);
	assertEquals(word(x), 112);
	driver.cuGraphExecDestroy(outer);
	driver.cuMemFreeAsync(x, stream);
	driver.cuStreamDestroy_v2(stream);
});

Deno.test("copies from and to page-locked memory take what is there at the launch", () => {
	const stream = host.stream(), x = host.allocate(4, stream);
	const locked = host.made((made) => driver.cuMemHostAlloc(made, 8, 0));
	const view = new Uint32Array(
		Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(BigInt(locked))!, 8),
	);
	const bytes = new Uint8Array(view.buffer);
	const executable = capture(stream, () => {
		assertEquals(driver.cuMemcpyHtoDAsync_v2(x, bytes, 4, stream), 0);
		host.launch(append, [x, 1], { stream });
		assertEquals(driver.cuMemcpyDtoHAsync_v2(bytes.subarray(4), x, 4, stream), 0);
	});
	for (const value of [3, 40]) {
		view[0] = value;
		driver.cuGraphLaunch(executable, stream);
		driver.cuStreamSynchronize(stream);
		assertEquals(view[1], value * 10 + 1);
	}
	driver.cuGraphExecDestroy(executable);
	driver.cuMemFreeAsync(x, stream);
	assertEquals(driver.cuMemFreeHost(locked), 0);
	driver.cuStreamDestroy_v2(stream);
});

Deno.test("matrix products are captured", () => {
	const stream = host.stream();
	const [a, c] = [host.upload(Float32Array.of(3), stream), host.upload(Float32Array.of(1), stream)];
	const handle = host.made((made) => cublas.cublasCreate_v2(made));
	cublas.cublasSetStream_v2(handle, stream);
	const one = new Uint8Array(Float32Array.of(1).buffer);
	const executable = capture(stream, () => {
		// deno-fmt-ignore
		const status = cublas.cublasGemmStridedBatchedEx(
      handle, 0, 0, 1, 1, 1, one, a, 0, 1, 0, c, 0, 1, 0, one, c, 0, 1, 0, 1, 68, -1,
    );
		assertEquals(status, 0);
	});
	driver.cuGraphLaunch(executable, stream);
	driver.cuGraphLaunch(executable, stream);
	driver.cuStreamSynchronize(stream);
	assertEquals(host.read(new Float32Array(1), c)[0], 16, "(1 + 3·1) + 3·4");
	begin(stream);
	driver.cuStreamQuery(stream); // invalidates
	// deno-fmt-ignore
	const status = cublas.cublasGemmStridedBatchedEx(
    handle, 0, 0, 1, 1, 1, one, a, 0, 1, 0, c, 0, 1, 0, one, c, 0, 1, 0, 1, 68, -1,
  );
	assertEquals(status, 13, "execution failed");
	driver.cuStreamEndCapture(stream, out.buffer);
	cublas.cublasDestroy_v2(handle);
	driver.cuGraphExecDestroy(executable);
	for (const pointer of [a, c]) driver.cuMemFreeAsync(pointer, stream);
	driver.cuStreamDestroy_v2(stream);
});

Deno.test("what cannot be captured is refused, ends the capture, and leaves the stream usable", () => {
	const [stream, other] = [host.stream(), host.stream()];
	const x = host.upload(Uint32Array.of(0), stream);
	const [outside, inside] = [host.event(), host.event()];
	driver.cuEventRecord(outside, other);
	const bytes = fixedBuffer(4);
	const UNSUPPORTED = CODE.STREAM_CAPTURE_UNSUPPORTED;
	const refused: [string, number, () => number][] = [
		["synchronize", UNSUPPORTED, () => driver.cuStreamSynchronize(stream)],
		["query", UNSUPPORTED, () => driver.cuStreamQuery(stream)],
		["destroy", UNSUPPORTED, () => driver.cuStreamDestroy_v2(stream)],
		["synchronize all", UNSUPPORTED, () => driver.cuCtxSynchronize()],
		["allocate", UNSUPPORTED, () => driver.cuMemAllocAsync(out.buffer, 4, stream)],
		["free", UNSUPPORTED, () => driver.cuMemFreeAsync(x, stream)],
		["upload", UNSUPPORTED, () => driver.cuMemcpyHtoDAsync_v2(x, bytes, 4, stream)],
		["download", UNSUPPORTED, () => driver.cuMemcpyDtoHAsync_v2(bytes, x, 4, stream)],
		[
			"wait for an event outside",
			CODE.STREAM_CAPTURE_ISOLATION,
			() => driver.cuStreamWaitEvent(stream, outside, 0),
		],
		["query an event inside", CODE.CAPTURED_EVENT, () => {
			assertEquals(driver.cuEventRecord(inside, stream), 0);
			return driver.cuEventQuery(inside);
		}],
		["synchronize with an event inside", CODE.CAPTURED_EVENT, () => {
			assertEquals(driver.cuEventRecord(inside, stream), 0);
			return driver.cuEventSynchronize(inside);
		}],
	];
	for (const [what, code, call] of refused) {
		begin(stream, MODE.RELAXED);
		host.launch(append, [x, 9], { stream });
		assertEquals(call(), code, what);
		assertEquals(status(stream), STATUS.INVALIDATED, what);
		assertEquals(host.launch(append, [x, 1], { stream }), CODE.STREAM_CAPTURE_INVALIDATED, what);
		assertEquals(driver.cuEventRecord(inside, stream), CODE.STREAM_CAPTURE_INVALIDATED, what);
		out.buffer.fill(1);
		assertEquals(driver.cuStreamEndCapture(stream, out.buffer), CODE.STREAM_CAPTURE_INVALIDATED);
		assertEquals(out.size, 0, "no graph");
		assertEquals(driver.cuStreamSynchronize(stream), 0);
	}
	assertEquals(word(x), 0);
	host.launch(append, [x, 7], { stream });
	driver.cuStreamSynchronize(stream);
	assertEquals(word(x), 7);
	driver.cuMemFreeAsync(x, stream);
	for (const event of [outside, inside]) driver.cuEventDestroy_v2(event);
	for (const each of [stream, other]) assertEquals(driver.cuStreamDestroy_v2(each), 0);
});

Deno.test("forks must be joined, captures kept apart, and ended where they began", () => {
	const [one, two] = [host.stream(), host.stream()], [event, second] = [host.event(), host.event()];
	const x = host.upload(Uint32Array.of(0), one);
	// A fork with work that nothing waits for.
	begin(one);
	driver.cuEventRecord(event, one);
	driver.cuStreamWaitEvent(two, event, 0);
	host.launch(append, [x, 1], { stream: two });
	driver.cuEventRecord(event, two);
	driver.cuStreamWaitEvent(one, event, 0);
	host.launch(append, [x, 1], { stream: two }); // after the event that joins it
	assertEquals(driver.cuStreamEndCapture(two, out.buffer), CODE.STREAM_CAPTURE_UNMATCHED);
	assertEquals(driver.cuStreamEndCapture(one, out.buffer), CODE.STREAM_CAPTURE_INVALIDATED);
	begin(one);
	driver.cuEventRecord(event, one);
	driver.cuStreamWaitEvent(two, event, 0);
	host.launch(append, [x, 1], { stream: two });
	assertEquals(driver.cuStreamEndCapture(one, out.buffer), CODE.STREAM_CAPTURE_UNJOINED);
	assertEquals([status(one), status(two), out.size && 0], [STATUS.NONE, STATUS.NONE, 0]);
	// Two captures.
	begin(one);
	begin(two);
	driver.cuEventRecord(event, one);
	assertEquals(driver.cuStreamWaitEvent(two, event, 0), CODE.STREAM_CAPTURE_MERGE);
	assertEquals([status(one), status(two)], [STATUS.INVALIDATED, STATUS.INVALIDATED]);
	for (const stream of [one, two]) {
		assertEquals(driver.cuStreamEndCapture(stream, out.buffer), CODE.STREAM_CAPTURE_INVALIDATED);
		assertEquals(driver.cuStreamEndCapture(stream, out.buffer), CODE.ILLEGAL_STATE);
	}
	begin(one);
	assertEquals(driver.cuStreamBeginCapture_v2(one, MODE.GLOBAL), CODE.ILLEGAL_STATE);
	driver.cuGraphDestroy(end(one));
	assertEquals(driver.cuStreamBeginCapture_v2(0, MODE.GLOBAL), CODE.STREAM_CAPTURE_UNSUPPORTED);
	assertEquals(driver.cuStreamBeginCapture_v2(one, 3), CODE.INVALID_VALUE);
	driver.cuStreamSynchronize(one);
	assertEquals(word(x), 0, "nothing ran");
	driver.cuMemFreeAsync(x, one);
	for (const each of [event, second]) driver.cuEventDestroy_v2(each);
	for (const stream of [one, two]) assertEquals(driver.cuStreamDestroy_v2(stream), 0);
});

Deno.test("unless it is relaxed, a capture forbids calls that may be unsafe", async () => {
	const [stream, other] = [host.stream(), host.stream()];
	const x = host.upload(Uint32Array.of(0), other), event = host.event();
	driver.cuEventRecord(event, other);
	driver.cuStreamSynchronize(other);
	const unsafe = [
		() => driver.cuMemcpyDtoH_v2(fixedBuffer(4), x, 4),
		() => driver.cuEventQuery(event),
		() => driver.cuEventSynchronize(event),
		() => driver.cuStreamSynchronize(other),
		() => driver.cuStreamQuery(other),
		() => driver.cuMemFreeHost(host.made((made) => driver.cuMemHostAlloc(made, 8, 0))),
	];
	for (const mode of [MODE.GLOBAL, MODE.THREAD_LOCAL]) {
		for (const call of unsafe.slice(0, -1).concat(() => driver.cuMemHostAlloc(out.buffer, 8, 0))) {
			begin(stream, mode);
			assertEquals(call(), CODE.STREAM_CAPTURE_UNSUPPORTED);
			assertEquals(
				driver.cuStreamEndCapture(stream, out.buffer),
				CODE.STREAM_CAPTURE_INVALIDATED,
			);
		}
	}
	begin(stream, MODE.RELAXED);
	assertEquals(unsafe.map((call) => call()), unsafe.map(() => 0));
	driver.cuGraphDestroy(end(stream));
	// Another thread is bound by a global capture, and cannot end one.
	const { path } = await buildHostDriver();
	const elsewhere = Deno.dlopen(path, {
		cuCtxSetCurrent: { ...driverSymbols.cuCtxSetCurrent, nonblocking: true },
		cuStreamEndCapture: { ...driverSymbols.cuStreamEndCapture, nonblocking: true },
	});
	const context = host.made((made) => driver.cuDevicePrimaryCtxRetain(made, 0));
	const graph = new OutParameter();
	begin(stream);
	// Which thread serves a nonblocking call is not ours to say, so the context may be missing there.
	await elsewhere.symbols.cuCtxSetCurrent(BigInt(context));
	const code = await elsewhere.symbols.cuStreamEndCapture(BigInt(stream), graph.buffer);
	assert([CODE.STREAM_CAPTURE_WRONG_THREAD, CODE.INVALID_CONTEXT].includes(code as 908));
	driver.cuGraphDestroy(end(stream));
	elsewhere.close();
	driver.cuMemFreeAsync(x, other);
	driver.cuEventDestroy_v2(event);
	for (const each of [stream, other]) assertEquals(driver.cuStreamDestroy_v2(each), 0);
});

Deno.test("graphs that are none, or no more, are refused", () => {
	const stream = host.stream();
	begin(stream);
	const graph = end(stream);
	assertEquals(driver.cuGraphInstantiateWithFlags(out.buffer, graph + 8, 0), CODE.INVALID_VALUE);
	assertEquals(driver.cuGraphInstantiateWithFlags(null, graph, 0), CODE.INVALID_VALUE);
	const executable = host.made((made) => driver.cuGraphInstantiateWithFlags(made, graph, 0));
	assertEquals(driver.cuGraphLaunch(executable, stream), 0, "an empty graph is one");
	assertEquals(driver.cuGraphLaunch(executable + 8, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuGraphLaunch(executable, stream + 8), CODE.INVALID_HANDLE);
	assertEquals(driver.cuGraphDestroy(graph), 0);
	assertEquals(driver.cuGraphDestroy(graph), CODE.INVALID_VALUE);
	assertEquals(driver.cuGraphExecDestroy(executable), 0);
	assertEquals(driver.cuGraphExecDestroy(executable), CODE.INVALID_VALUE);
	assertEquals(driver.cuGraphLaunch(executable, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuStreamEndCapture(stream, null), CODE.INVALID_VALUE);
	driver.cuStreamDestroy_v2(stream);
});
