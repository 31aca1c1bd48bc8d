// Events of the host driver order streams among each other and measure time.

import { assert, assertEquals } from "@std/assert";
import { Random, seed } from "../../random.ts";
import { CODE, HostDriver, ORDER_KERNELS } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;
const module = await host.module(
	ORDER_KERNELS + `
// A value that depends on two others and on the order of everything before; slow, so that a reader that
// does not wait comes too early.
extern "C" __global__ void mix(volatile unsigned *to, const volatile unsigned *a,
                               const volatile unsigned *b, long long salt) {
  unsigned value = *to * 31u + *a * 17u + *b * 13u + static_cast<unsigned>(salt);
  for (int i = 0; i < 100000; i++) value = value * 1664525u + 1013904223u;
  *to = value;
}`,
);
const [slowSet, copy, mix] = ["slow_set", "copy", "mix"].map((name) => host.function(module, name));
const LONG = 100_000_000; // steps: some 0.2 s
const word = (pointer: number) => host.read(new Uint32Array(1), pointer)[0];

Deno.test("a stream waits for an event of another, as it was recorded then", () => {
	const [one, two] = [host.stream(), host.stream()];
	const x = host.upload(Uint32Array.of(1), one), y = host.upload(Uint32Array.of(0), one);
	const event = host.event(2);
	host.launch(slowSet, [x, 5, LONG], { stream: one });
	assertEquals(driver.cuEventRecord(event, one), 0);
	assertEquals(driver.cuStreamWaitEvent(two, event, 0), 0);
	host.launch(copy, [y, x], { stream: two });
	assertEquals(driver.cuEventQuery(event), CODE.NOT_READY);
	driver.cuStreamSynchronize(two);
	assertEquals(word(y), 5, "read after the other stream wrote");
	assertEquals(driver.cuEventQuery(event), 0);
	// Streams that nothing orders do not wait for each other.
	host.launch(slowSet, [x, 6, LONG], { stream: one });
	host.launch(copy, [y, x], { stream: two });
	driver.cuStreamSynchronize(two);
	assertEquals(driver.cuStreamQuery(one), CODE.NOT_READY);
	driver.cuStreamSynchronize(one);
	assertEquals([word(y), word(x)], [5, 6]);
	for (const pointer of [x, y]) driver.cuMemFreeAsync(pointer, one);
	for (const stream of [one, two]) assertEquals(driver.cuStreamDestroy_v2(stream), 0);
	assertEquals(driver.cuEventDestroy_v2(event), 0);
});

Deno.test("the time between two events is that of the work between them", () => {
	const stream = host.stream();
	const x = host.upload(Uint32Array.of(0), stream);
	const [from, to, untimed, never] = [host.event(), host.event(), host.event(2), host.event()];
	driver.cuEventRecord(from, stream);
	host.launch(slowSet, [x, 1, LONG], { stream });
	driver.cuEventRecord(to, stream);
	driver.cuEventRecord(untimed, stream);
	assertEquals(driver.cuEventElapsedTime(out.buffer, from, to), CODE.NOT_READY);
	const start = performance.now();
	assertEquals(driver.cuEventSynchronize(to), 0);
	const waited = performance.now() - start;
	assertEquals(driver.cuEventElapsedTime(out.buffer, from, to), 0);
	assert(out.float > waited / 2 && out.float > 20, `${out.float} ms, waited ${waited} ms`);
	assertEquals(driver.cuEventElapsedTime(out.buffer, to, from), 0);
	assert(out.float < -20);
	assertEquals(driver.cuEventElapsedTime(out.buffer, from, from), 0);
	assertEquals(out.float, 0);
	driver.cuEventSynchronize(untimed);
	assertEquals(driver.cuEventElapsedTime(out.buffer, from, untimed), CODE.INVALID_HANDLE);
	assertEquals(driver.cuEventElapsedTime(out.buffer, from, never), CODE.INVALID_HANDLE);
	assertEquals(driver.cuEventElapsedTime(null, from, to), CODE.INVALID_VALUE);
	driver.cuMemFreeAsync(x, stream);
	for (const event of [from, to, untimed, never]) assertEquals(driver.cuEventDestroy_v2(event), 0);
	assertEquals(driver.cuStreamDestroy_v2(stream), 0);
});

Deno.test("an event that was never recorded counts as reached", () => {
	const stream = host.stream(), event = host.event();
	assertEquals(driver.cuEventQuery(event), 0);
	assertEquals(driver.cuEventSynchronize(event), 0);
	assertEquals(driver.cuStreamWaitEvent(stream, event, 0), 0);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	driver.cuEventDestroy_v2(event);
	driver.cuStreamDestroy_v2(stream);
});

Deno.test("a stream may be told to wait for an event, and the event then be recorded anew", () => {
	const [one, two] = [host.stream(), host.stream()];
	const x = host.upload(Uint32Array.of(1), one), y = host.upload(Uint32Array.of(0), one);
	const event = host.event(2);
	host.launch(slowSet, [x, 5, LONG / 10], { stream: one });
	driver.cuEventRecord(event, one);
	driver.cuStreamWaitEvent(two, event, 0);
	host.launch(slowSet, [x, 6, 5 * LONG], { stream: one });
	driver.cuEventRecord(event, one);
	host.launch(copy, [y, x], { stream: two });
	driver.cuStreamSynchronize(two);
	assertEquals(word(y), 5, "two waited for the first recording only");
	assertEquals(driver.cuEventQuery(event), CODE.NOT_READY, "the event stands for the second");
	driver.cuEventSynchronize(event);
	assertEquals(word(x), 6);
	for (const pointer of [x, y]) driver.cuMemFreeAsync(pointer, one);
	for (const stream of [one, two]) assertEquals(driver.cuStreamDestroy_v2(stream), 0);
	driver.cuEventDestroy_v2(event);
});

Deno.test("any tangle of streams and events gives what one stream gives", () => {
	const random = new Random(31), CELLS = 8, STEPS = 120;
	const mixed = (values: Uint32Array, to: number, a: number, b: number, salt: number) => {
		let value = Math.imul(values[to], 31) + Math.imul(values[a], 17) +
			Math.imul(values[b], 13) + salt;
		for (let i = 0; i < 100000; i++) value = (Math.imul(value, 1664525) + 1013904223) | 0;
		values[to] = value;
	};
	const streams = [host.stream(), host.stream(), host.stream()];
	const start = Uint32Array.from({ length: CELLS }, () => random.bits());
	const expected = start.slice();
	const cells = host.upload(start, streams[0]);
	const events: number[] = [];
	// The event behind the latest use of each cell by each stream.
	const last: (number | undefined)[][] = start.reduce(
		(all) => [...all, streams.map(() => undefined)],
		[] as (number | undefined)[][],
	);
	for (let step = 0; step < STEPS; step++) {
		const s = random.below(streams.length);
		const [to, a, b] = [0, 0, 0].map(() => random.below(CELLS));
		for (const cell of new Set([to, a, b])) {
			last[cell].forEach((event, other) => {
				if (event && other !== s) driver.cuStreamWaitEvent(streams[s], event, 0);
			});
		}
		host.launch(mix, [to, a, b].map((cell) => cells + 4 * cell).concat(step), {
			stream: streams[s],
		});
		const event = host.event(2);
		assertEquals(driver.cuEventRecord(event, streams[s]), 0);
		for (const cell of [to, a, b]) last[cell][s] = event;
		events.push(event);
		mixed(expected, to, a, b, step);
	}
	for (const stream of streams) assertEquals(driver.cuStreamSynchronize(stream), 0);
	assertEquals(
		host.read(new Uint32Array(CELLS), cells),
		expected,
		`repeat with OUTLIERSCOPE_SEED=${seed}`,
	);
	driver.cuMemFreeAsync(cells, streams[0]);
	for (const event of events) driver.cuEventDestroy_v2(event);
	for (const stream of streams) assertEquals(driver.cuStreamDestroy_v2(stream), 0);
});
