// What tests of device code share: one body that runs on whichever device this process has, checked to
// be the one that OUTLIERSCOPE_DEVICE asks for and to hold no more memory afterwards than before; fresh
// random numbers from a printed seed; and the measures by which results are compared.

import { assert, assertEquals } from "@std/assert";
import { Device, Tensor } from "../../mod.ts";
import { fromBfloat16, toBfloat16 } from "../../src/tensor/bfloat16.ts";

export { fromBfloat16, toBfloat16 as bfloat16Bits };

/** The device of this process. */
export const device: Device = await Device.open();

/** OUTLIERSCOPE_SEED repeats a run. */
export const seed: number = Number(
	Deno.env.get("OUTLIERSCOPE_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0],
);
console.log(`device: ${device.name} (${device.kind}); random numbers from seed ${seed}`);

let state = seed >>> 0;

/** The next random number in [0, 1) (mulberry32). */
export function random(): number {
	state = (state + 0x6d2b79f5) >>> 0;
	let t = state;
	t = Math.imul(t ^ (t >>> 15), t | 1);
	t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
	return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

/** What `make` makes of the random numbers of one seed: for claims that hold of one model, not of every one. */
export function withSeed<T>(fixed: number, make: () => T): T {
	const saved = state;
	state = fixed;
	try {
		return make();
	} finally {
		state = saved;
	}
}

/** `count` normally distributed numbers, rounded to float32. */
export function normal(count: number, deviation = 1): Float32Array<ArrayBuffer> {
	return Float32Array.from(
		{ length: count },
		() => deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
	);
}

/** A matrix of normally distributed numbers on the device, and its elements. */
export function normalMatrix(rows: number, columns: number, deviation = 1) {
	const data = normal(rows * columns, deviation);
	return { data, tensor: Tensor.from<"float32", 2>(device, "float32", [rows, columns], data) };
}

/** x rounded to bfloat16. */
export function roundToBfloat16(x: number): number {
	return fromBfloat16(toBfloat16(x));
}

/** How far `actual` is from `expected`: ‖a − e‖ / ‖e‖, and max|a − e| / max|e|, which counts as `least` at least. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>, least = 0) {
	assertEquals(actual.length, expected.length);
	let square = 0, total = 0, largest = 0, size = least;
	for (let i = 0; i < expected.length; i++) {
		const error = Math.abs(actual[i] - expected[i]);
		square += error ** 2;
		total += expected[i] ** 2;
		largest = Math.max(largest, error); // NaN stays
		size = Math.max(size, Math.abs(expected[i]));
	}
	const ratio = (error: number, of: number) => error === 0 ? 0 : error / of;
	return { norm: ratio(Math.sqrt(square), Math.sqrt(total)), largest: ratio(largest, size) };
}

/** Fails unless max|a − e| ≤ tolerance · max|e|, or tolerance · `least`: the size of terms that may cancel. */
export function assertClose(
	actual: ArrayLike<number>,
	expected: ArrayLike<number>,
	tolerance: number,
	what: string,
	least = 0,
): void {
	const { largest } = difference(actual, expected, least);
	assert(
		largest <= tolerance,
		`${what}: max|error| / max|expected| is ${largest}, over ${tolerance} (seed ${seed})`,
	);
}

/**
 * Registers a test of the device. It fails if the device is not the one asked for, or if the test leaves
 * device memory behind.
 */
export function deviceTest(name: string, body: () => void | Promise<void>): void {
	Deno.test(name, async () => {
		const wanted = Deno.env.get("OUTLIERSCOPE_DEVICE");
		if (wanted) assertEquals(device.kind, wanted);
		const before = device.liveBytes;
		await body();
		await device.synchronize();
		assertEquals(device.liveBytes, before, "the test left memory of the device in use");
	});
}
