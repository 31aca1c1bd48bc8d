// What the doctor finds on the machine that the tests run on. What it says where something is missing is
// tested through the command.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { isHealthy } from "../../src/doctor/examination.ts";
import { examine } from "../../src/doctor/examine.ts";
import { openDevice } from "../cuda/kernels/bench.ts";

const device = await openDevice();
const examination = await examine();

Deno.test("the device is described as it describes itself", () => {
	const { name, kind, warpSize, multiprocessors, memory, computeCapability } = examination.device!;
	assertEquals(
		[name, kind, warpSize, multiprocessors],
		[device.name, device.kind, device.warpSize, device.multiprocessors],
	);
	assert(memory.total > 2 ** 28 && memory.free <= memory.total);
	assertMatch(computeCapability, /^\d+\.\d$/);
});

Deno.test("each library and program is found, or says why not", () => {
	const names = examination.parts.map(({ name }) => name);
	assertEquals(names.slice(0, 3), ["CUDA driver", "NVRTC", "cuBLAS"]);
	if (device.kind === "host") {
		assertEquals(names.slice(3), ["C++ compiler", "oneDNN", "host driver"]);
		const [compiler, oneDnn, driver] = examination.parts.slice(3);
		assertMatch(compiler.version!, /\d+\.\d+/);
		assertMatch(oneDnn.version!, /^\d+\.\d+\.\d+, /);
		assertEquals(driver.path, device.libraries.paths.driver);
	}
	for (const { path, version, problem } of examination.parts) {
		assert(problem === null ? path !== null || version !== null : problem.length > 10);
	}
});

Deno.test("the cache holds what this process has compiled", () => {
	const { bytes, modules, hostDrivers } = examination.cache!;
	assert(bytes > 10_000 && modules > 0);
	assert(device.kind === "cuda" || hostDrivers > 0);
});

Deno.test("healthy is who has a device whose results are all right", () => {
	assert(isHealthy(examination));
	assert(!isHealthy({ ...examination, selfTest: null }));
	const wrong = { name: "k", ok: false, largestError: null, problem: "wrong" };
	const { seed, results } = examination.selfTest!;
	assert(!isHealthy({ ...examination, selfTest: { seed, results: [...results, wrong] } }));
});
