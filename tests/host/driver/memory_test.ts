// The host driver's memory: what the real driver refuses is refused with its code, and freed memory is
// reused in the order of the stream and given back to the system.

import { assert, assertEquals } from "@std/assert";
import { fixedBuffer } from "../../../src/ffi/c_memory.ts";
import { CODE, HostDriver } from "./driver.ts";

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

Deno.test("cuMemGetInfo tells less than the machine has", () => {
  const available = fixedBuffer(8), total = fixedBuffer(8);
  assertEquals(driver.cuMemGetInfo_v2(available, total), 0);
  const [a, t] = [available, total].map((buffer) => new BigUint64Array(buffer.buffer)[0]);
  assert(a > 0n && a < t);
  assertEquals(driver.cuMemGetInfo_v2(null, total), CODE.INVALID_VALUE);
});
