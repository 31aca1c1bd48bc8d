// Staging: what passes through reaches the device, though each piece is filled again and again.

import { assertEquals, assertThrows } from "@std/assert";
import { Device } from "../../mod.ts";
import { Staging } from "../../src/formats/staging.ts";

const device = await Device.open();

Deno.test("bytes of every upload reach the device, whatever a piece is filled with afterwards", async () => {
	using staging = new Staging(device, 1000);
	const sizes = Array.from({ length: 60 }, (_, i) => i % 7 === 0 ? 1000 : 1 + (i * 37) % 999);
	const total = sizes.reduce((a, b) => a + b), pointer = device.allocate(total);
	let at = 0;
	for (const [i, bytes] of sizes.entries()) {
		staging.upload(pointer + at, bytes, (memory) => {
			assertEquals(memory.length, bytes);
			memory.fill(i + 1);
		});
		at += bytes;
	}
	const got = new Uint8Array(total);
	await device.download(got, pointer);
	assertEquals([...got], sizes.flatMap((bytes, i) => Array(bytes).fill(i + 1)));
	device.free(pointer);
});

Deno.test("more than a piece is refused, and a read that fails leaves the rest usable", async () => {
	using staging = new Staging(device, 10);
	const pointer = device.allocate(10);
	assertThrows(
		() => staging.upload(pointer, 11, () => {}),
		RangeError,
		"Cannot stage 11 bytes at once: a piece has 10",
	);
	const fail = () => {
		throw new Error("no");
	};
	for (let i = 0; i < 3; i++) assertThrows(() => staging.upload(pointer, 5, fail), Error, "no");
	staging.upload(pointer, 10, (memory) => memory.fill(7));
	const got = new Uint8Array(10);
	await device.download(got, pointer);
	assertEquals([...got], Array(10).fill(7));
	device.free(pointer);
});
