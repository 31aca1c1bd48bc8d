// The list of devices agrees with the device that is opened.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { Device } from "../../src/cuda/device.ts";
import { openDevice } from "./kernels/bench.ts";

Deno.test("the devices are listed, the first being the one that is opened", async () => {
	const devices = await Device.list();
	const device = await openDevice();
	assert(devices.length >= 1);
	devices.forEach((info, ordinal) => assertEquals(info.ordinal, ordinal));
	const [first] = devices;
	assertEquals([first.name, first.warpSize, first.multiprocessors, first.maxThreadsPerBlock], [
		device.name,
		device.warpSize,
		device.multiprocessors,
		device.maxThreadsPerBlock,
	]);
	assertMatch(first.computeCapability, /^\d+\.\d+$/);
	assert(first.totalMemory > 2 ** 28);
	assertMatch(first.uuid, /^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
	assertEquals(new Set(devices.map(({ uuid }) => uuid)).size, devices.length);
	for (const { ordinal, peers } of devices) {
		assert(peers.every((peer) => peer !== ordinal && peer < devices.length));
	}
	assertEquals(await Device.list(), devices);
});
