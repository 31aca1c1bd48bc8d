// Lanes: pieces of work run after what was queued before and before what is queued after. That streams run
// side by side is the stream test's.

import { assertEquals, assertThrows } from "@std/assert";
import { Device } from "../../src/cuda/device.ts";

const device = await Device.open();

Deno.test("lanes begin after what was queued before, and what follows waits for all of them", async () => {
	const { lanes } = device, items = 3 * lanes.count + 1;
	const bytes = 1 << 20;
	const memory = Array.from({ length: items }, () => device.allocate(bytes));
	const results = Array.from({ length: items }, () => device.allocate(bytes));
	for (let round = 1; round <= 20; round++) {
		for (const pointer of memory) device.fill(pointer, round, bytes);
		const seen: number[] = [];
		lanes.run(items, (item, lane) => {
			assertEquals(lane, item % lanes.count);
			seen.push(item);
			device.copy(results[item]!, memory[item]!, bytes);
			device.copy(memory[item]!, results[item]!, bytes);
		});
		assertEquals(seen, Array.from({ length: items }, (_, i) => i));
		assertEquals(device.currentStream, device.mainStream);
		for (const pointer of memory) device.copy(memory[0]!, pointer, 1); // the main stream's own work
		for (const [item, pointer] of results.entries()) {
			const got = new Uint8Array(bytes);
			await device.download(got, pointer);
			assertEquals(got.findIndex((byte) => byte !== round), -1, `item ${item}, round ${round}`);
		}
	}
	for (const pointer of [...memory, ...results]) device.free(pointer);
});

Deno.test("after an error in a piece of work the main stream still waits for what was queued", async () => {
	const bytes = 1 << 22, from = device.allocate(bytes), to = device.allocate(bytes);
	device.fill(from, 5, bytes);
	assertThrows(
		() =>
			device.lanes.run(2, (item) => {
				if (item === 1) throw new Error("planted");
				device.copy(to, from, bytes);
			}),
		Error,
		"planted",
	);
	assertEquals(device.currentStream, device.mainStream);
	const got = new Uint8Array(bytes);
	await device.download(got, to);
	assertEquals(got.every((byte) => byte === 5), true);
	device.free(from);
	device.free(to);
});
