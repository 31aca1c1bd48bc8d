// Events: points of a stream that are waited for once, measured between, and never leaked.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Stream } from "../../src/cuda/stream.ts";
import { CudaError } from "../../src/cuda/errors.ts";
import { runProgram } from "../subprocess.ts";
import { LONG, orderDevice, Words } from "./order.ts";

const device = await orderDevice();
const set = device.kernel("order_set");
const { mainStream } = device;

Deno.test("an event is reached after the work before it, not the work behind it", async () => {
	using words = new Words(device, [0]);
	set.launch(1, 1, [words.pointer, 1, LONG]);
	const event = mainStream.record();
	set.launch(1, 1, [words.pointer, 2, 3 * LONG]);
	assertEquals(event.isReached, false);
	await Promise.all([event.reached(), event.reached()]);
	assertEquals([event.isReached, ...words.now], [true, 1]);
	await event.reached(); // once more does not wait
	const last = mainStream.record();
	last.reachedSync();
	assertEquals(words.now, [2]);
});

Deno.test("the time between two events is that of the work between them", () => {
	using words = new Words(device, [0]);
	const started = performance.now();
	const begin = mainStream.record({ timed: true });
	set.launch(1, 1, [words.pointer, 1, LONG]);
	const end = mainStream.record({ timed: true });
	const early = assertThrows(() => end.millisecondsSince(begin), CudaError);
	assertEquals([early.function, early.code], ["cuEventElapsedTime", 600]);
	end.reachedSync();
	const waited = performance.now() - started;
	const measured = end.millisecondsSince(begin);
	assert(measured > 5 && measured < waited + 1, `${measured} of ${waited} ms`);
	assert(Math.abs(begin.millisecondsSince(end) + measured) < 0.01);
	const untimed = mainStream.record();
	assertThrows(() => untimed.millisecondsSince(begin), TypeError, "{ timed: true }");
	begin[Symbol.dispose]();
	begin[Symbol.dispose]();
	assertThrows(() => end.millisecondsSince(begin), ReferenceError, "disposed of");
});

Deno.test("a stream that waits for an event still does when that is disposed of", () => {
	using side = new Stream(device);
	using words = new Words(device, [0, 0]);
	set.launch(1, 1, [words.pointer, 8, LONG]);
	{
		using event = mainStream.record();
		side.wait(event);
	}
	mainStream.record(); // may use the driver's event again
	device.withStream(side, () => device.copy(words.pointer + 4, words.pointer, 4));
	side.synchronizeSync();
	assertEquals(words.now, [8, 8]);
});

Deno.test("a failed recording throws", () => {
	const stream = new Stream(device);
	stream[Symbol.dispose]();
	const error = assertThrows(() => stream.record(), CudaError);
	assertEquals([error.function, error.code], ["cuEventRecord", 400]);
});

Deno.test("events that nobody waits for are used again once they are collected", async () => {
	const { stdout, stderr } = await runProgram(
		`
import { Device } from "src/cuda/device.ts";
const device = await Device.open();
const { driver } = device.libraries, create = driver.cuEventCreate;
let made = 0;
driver.cuEventCreate = (...args) => (made++, create(...args));
const churn = () => { for (let i = 0; i < 500; i++) device.mark(); };
churn();
for (let round = 0; round < 10; round++) {
  await device.synchronize();
  gc();
  await new Promise((resolve) => setTimeout(resolve, 10)); // finalizers run in a task of their own
  churn();
}
console.log(made);`,
		{ flags: ["-A", "--v8-flags=--expose-gc"] },
	);
	assertEquals(stderr, "");
	assert(Number(stdout) >= 500 && Number(stdout) < 1600, `${stdout} events for 5500 marks`);
});
