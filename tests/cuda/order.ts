// Kernels whose results tell in which order they ran, for tests of streams, events and graphs.

import type { Device } from "../../src/cuda/device.ts";
import { openDevice } from "./kernels/bench.ts";

/** Steps of `order_set` and `order_append` that take some 0.2 s. */
export const LONG = 100_000_000;

/** The device with the kernels `order_set`, `order_append` and `order_meet`. */
export async function orderDevice(): Promise<Device> {
	const device = await openDevice();
	await device.load([{
		name: "order_test.cu",
		text: `
__device__ unsigned order_spend(long long steps) {
  unsigned state = 1;
  for (long long i = 0; i < steps; i++) state = state * 1664525u + 1013904223u + (state >> 16);
  return state == 12345u ? 1u : 0u;
}
extern "C" __global__ void order_set(volatile unsigned *x, int value, long long steps) {
  unsigned nothing = order_spend(steps);
  *x = static_cast<unsigned>(value) + nothing;
}
// Reads first and writes last, so that another in between is lost.
extern "C" __global__ void order_append(volatile unsigned *x, int digit, long long steps) {
  unsigned old = *x, nothing = order_spend(steps);
  *x = old * 10 + static_cast<unsigned>(digit) + nothing;
}
// Waits for another kernel that runs at the same time, which raises \`other\`.
extern "C" __global__ void order_meet(volatile unsigned *own, volatile unsigned *other,
                                      volatile unsigned *met, long long patience) {
  *own = 1;
  for (long long i = 0; i < patience && !*met; i++) *met = *other;
}`,
	}]);
	return device;
}

/** Words of device memory, freed at the end of the block that uses them. */
export class Words implements Disposable {
	readonly pointer: number;
	readonly #device: Device;
	readonly #count: number;

	constructor(device: Device, values: readonly number[]) {
		this.#device = device;
		this.#count = values.length;
		this.pointer = device.allocate(4 * values.length);
		device.upload(this.pointer, Uint32Array.from(values));
		device.synchronizeSync();
	}

	/** As they are at this moment. */
	get now(): number[] {
		const words = new Uint32Array(this.#count);
		this.#device.read(words, this.pointer);
		return [...words];
	}

	[Symbol.dispose](): void {
		this.#device.free(this.pointer);
	}
}
