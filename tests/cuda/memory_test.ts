// Memory: counted by label, refused with what holds it, and usable again after that.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { runProgram } from "../subprocess.ts";
import { openDevice } from "./kernels/bench.ts";

const device = await openDevice();
const held = (label: string) => device.holders.find((holder) => holder.label === label);

Deno.test("memory is counted by label: the argument's, else the innermost around it", () => {
	const pointers = device.withLabel("weights", () => [
		device.allocate(1000),
		device.withLabel("gradients", () => device.allocate(100)),
		device.allocate(2000),
		device.allocate(30, "batch"),
	]);
	assertEquals(held("weights"), { label: "weights", bytes: 3000, count: 2 });
	assertEquals(held("gradients"), { label: "gradients", bytes: 100, count: 1 });
	assertEquals(held("batch"), { label: "batch", bytes: 30, count: 1 });
	const bytes = device.holders.map((holder) => holder.bytes);
	assertEquals(bytes, bytes.toSorted((a, b) => b - a), "the largest first");
	for (const pointer of pointers) device.free(pointer);
	for (const label of ["weights", "gradients", "batch"]) assertEquals(held(label), undefined);
	assertThrows(() => device.withLabel("x", async () => await 1), TypeError, "withLabel");
	device.free(device.allocate(1));
});

Deno.test("the device tells its memory, and gives back what it does not use", () => {
	const { free, total } = device.memory;
	assert(free > 0 && free <= total);
	device.free(device.allocate(2 ** 26));
	device.trimMemory();
	const pointer = device.allocate(2 ** 26);
	device.fill(pointer, 1, 2 ** 26);
	device.synchronizeSync();
	const during = device.memory.free;
	device.free(pointer);
	device.trimMemory();
	assert(device.memory.free > during - 2 ** 25, "freed");
	assertEquals(device.memory.total, total);
});

Deno.test("out of memory says what was asked for and what holds the rest; then the device goes on", async () => {
	const { stdout, stderr } = await runProgram(
		`
import { Device } from "src/cuda/device.ts";
import { OutOfMemoryError } from "src/cuda/errors.ts";
const device = await Device.open(), MB = 2 ** 20, before = device.liveBytes;
const pointers = [];
let caught;
try {
  device.withLabel("weights", () => pointers.push(device.allocate(16 * MB)));
  for (let i = 0; i < 100; i++) pointers.push(device.allocate(4 * MB, "activations"));
} catch (error) {
  if (!(error instanceof OutOfMemoryError)) throw error;
  caught = error;
}
const { live, requested } = caught.memory;
for (const pointer of pointers.splice(1)) device.free(pointer);
const large = device.allocate(40 * MB); // fits only if what was freed in small pieces comes together
device.fill(large, 3, 40 * MB);
const bytes = new Uint8Array(1);
device.downloadSync(bytes, large + 40 * MB - 1);
device.free(large);
device.free(pointers[0]);
console.log(JSON.stringify({
  message: caught.message, live, requested, name: caught.name, code: caught.code,
  function: caught.function, byte: bytes[0], after: device.liveBytes - before,
}));`,
		{ env: { OUTLIERSCOPE_HOST_MEMORY: String(64 * 2 ** 20), OUTLIERSCOPE_DEVICE: "host" } },
	);
	assertEquals(stderr, "");
	const { message, ...rest } = JSON.parse(stdout);
	assertEquals(rest, {
		live: 64 * 2 ** 20,
		requested: 4 * 2 ** 20,
		name: "OutOfMemoryError",
		code: 2,
		function: "cuMemAllocAsync",
		byte: 3,
		after: 0,
	});
	assertEquals(
		message,
		"cuMemAllocAsync failed with code 2: CUDA_ERROR_OUT_OF_MEMORY (out of memory); " +
			"asked for 4.0 MiB (activations) while 64.0 MiB are in use: " +
			"48.0 MiB activations (12), 16.0 MiB weights (1); 0 B of 64.0 MiB are free",
	);
});

Deno.test("too much memory at once is an error, and changes nothing", () => {
	const before = device.liveBytes;
	const error = assertThrows(() => device.allocate(2 ** 50, "a mistake"));
	assertMatch((error as Error).message, /asked for 1\.0 PiB \(a mistake\) while /);
	assertEquals(device.liveBytes, before);
	assertEquals(held("a mistake"), undefined);
});
