// Streams of the host driver are asynchronous and keep order: what is read too early is stale, events
// order streams and measure time.

import { assert, assertEquals } from "@std/assert";
import { CODE, HostDriver } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;
const module = await host.module(`
// Counts in steps that depend on each other, which takes about a nanosecond a step.
extern "C" __global__ void slow_set(volatile unsigned *x, long long value, long long steps) {
  unsigned state = 1;
  for (long long i = 0; i < steps; i++) state = state * 1664525u + 1013904223u + (state >> 16);
  *x = static_cast<unsigned>(value) + (state == 12345u ? 1u : 0u);
}
extern "C" __global__ void append(unsigned *x, long long digit) {
  *x = *x * 10 + static_cast<unsigned>(digit);
}
extern "C" __global__ void copy(unsigned *to, const volatile unsigned *from) { *to = *from; }
`);
const slowSet = host.function(module, "slow_set");
const append = host.function(module, "append"), copy = host.function(module, "copy");
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
