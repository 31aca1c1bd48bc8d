// What a device says of itself for reports.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { takeInventory } from "../../src/cuda/inventory.ts";
import { openDevice } from "./kernels/bench.ts";

Deno.test("a device tells its versions, its compute capability and its memory", async () => {
	const device = await openDevice();
	const inventory = takeInventory(device);
	assertMatch(inventory.driverVersion, /^1\d\.\d+$/);
	assertMatch(inventory.nvrtcVersion, /^\d+\.\d+$/);
	assertMatch(inventory.computeCapability, /^\d+\.\d$/);
	assertEquals(inventory.computeCapability === "0.0", device.kind === "host");
	assert(inventory.cublasVersion > 10_000);
	const { free, total } = inventory.memory;
	assert(free > 0 && free <= total && total > 2 ** 28, `${free} of ${total}`);
});
