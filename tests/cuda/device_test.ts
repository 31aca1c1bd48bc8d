// The device: one a process, memory counted, reading with and without waiting, marks, and launches.

import {
	assert,
	assertEquals,
	assertMatch,
	assertNotEquals,
	assertRejects,
	assertThrows,
} from "@std/assert";
import { Device } from "../../src/cuda/device.ts";
import { CudaError } from "../../src/cuda/errors.ts";
import { inDirectory, runProgram } from "../subprocess.ts";
import { openDevice } from "./kernels/bench.ts";

const device = await openDevice();
await device.load([{
	name: "device_test.cu",
	text: `
extern "C" __global__ void device_slow_set(volatile unsigned *x, int value, long long steps) {
  unsigned state = 1;
  for (long long i = 0; i < steps; i++) state = state * 1664525u + 1013904223u + (state >> 16);
  *x = static_cast<unsigned>(value) + (state == 12345u ? 1u : 0u);
}`,
}]);
const LONG = 100_000_000;

/** Memory of one number, freed at the end. */
async function withWord(body: (pointer: number) => Promise<void>) {
	const pointer = device.allocate(4);
	try {
		await body(pointer);
	} finally {
		device.synchronizeSync();
		device.free(pointer);
	}
}

Deno.test("a process has one device, however often and at once it is opened", async () => {
	const opened = await Promise.all([Device.open(), Device.open()]);
	assert(opened.every((other) => other === device));
	assert(device.name.length > 0 && device.multiprocessors >= 1);
	assertEquals(device.maxThreadsPerBlock % device.warpSize, 0);
});

Deno.test("bytes in use are counted, and the largest number is kept", () => {
	const before = device.liveBytes;
	const pointers = [1000, 2000].map((bytes) => device.allocate(bytes));
	assertEquals(device.liveBytes, before + 3000);
	assert(device.peakBytes >= before + 3000);
	device.free(pointers[0]);
	device.free(pointers[1]);
	assertEquals(device.liveBytes, before);
	device.resetPeak();
	assertEquals(device.peakBytes, before);
	device.free(device.allocate(500));
	assertEquals(device.peakBytes, before + 500);
	const error = assertThrows(() => device.free(pointers[0]), CudaError);
	assertEquals(error.function, "cuMemFreeAsync");
	assertEquals(device.liveBytes, before, "a failed free counts nothing");
});

Deno.test("reading does not wait, downloading does", async () => {
	await withWord(async (x) => {
		device.upload(x, Uint32Array.of(1));
		await device.synchronize();
		device.kernel("device_slow_set").launch(1, 1, [x, 2, LONG]);
		const now = new Uint32Array(1), later = new Uint32Array(1);
		device.read(now, x);
		await device.download(later, x);
		assertEquals([now[0], later[0]], [1, 2]);
		device.kernel("device_slow_set").launch(1, 1, [x, 3, LONG]);
		device.downloadSync(later, x);
		assertEquals(later[0], 3);
	});
});

Deno.test("while waiting, other tasks run", async () => {
	await withWord(async (x) => {
		device.kernel("device_slow_set").launch(1, 1, [x, 1, LONG]);
		let ticks = 0;
		const timer = setInterval(() => ticks++, 1);
		await device.synchronize();
		clearInterval(timer);
		assert(ticks >= 3, `${ticks} timers ran`);
	});
});

Deno.test("fills and copies follow the order of the stream", async () => {
	const x = device.allocate(64);
	device.fill(x, 1, 64);
	device.fill(x + 8, 2, 8);
	device.copy(x + 32, x + 8, 16);
	const bytes = new Uint8Array(64);
	await device.download(bytes, x);
	const expected = new Uint8Array(64).fill(1).fill(2, 8, 16).fill(2, 32, 40);
	assertEquals(bytes, expected);
	device.free(x);
});

Deno.test("nothing is copied for empty arrays, whatever the pointer", () => {
	device.upload(0, new Float32Array());
	device.read(new Float32Array(), 0);
});

Deno.test("a kernel that is not there is named", () => {
	const error = assertThrows(() => device.kernel("no_such_kernel"), RangeError);
	assertEquals(error.message, 'Cannot find the kernel "no_such_kernel": no source has it');
});

Deno.test("a source that does not compile is told with file and line, and the device still works", async () => {
	const error = await assertRejects(
		() =>
			device.load([{
				name: "bad.cu",
				text: '\nextern "C" __global__ void bad(float *x) { y(); }',
			}]),
		CudaError,
	);
	assertEquals(error.function, "nvrtcCompileProgram");
	assertMatch(error.message, /while compiling bad\.cu:\n/);
	assertMatch(error.message, /bad\.cu[:(]2/);
	await device.synchronize();
});

Deno.test("launches are counted", async () => {
	await withWord((x) => {
		const before = device.launches;
		for (let i = 0; i < 3; i++) device.kernel("device_slow_set").once(x, 1, 1);
		assertEquals(device.launches, before + 3);
		return Promise.resolve();
	});
});

Deno.test("what was prepared is told once, and a second process prepares nothing", async () => {
	const program = `
import { Device } from "src/cuda/device.ts";
const told: string[] = [];
const device = await Device.open({ onPrepare: (what) => told.push(what) });
told.push("opened");
for (const name of ["scan_rows", "in_place_add_float32"]) device.kernel(name);
console.log(told.join(", "));`;
	await inDirectory(async (directory) => {
		// The built host driver is taken from the usual cache: only kernels are compiled here.
		const usual = Deno.env.get("OUTLIERSCOPE_CACHE") ||
			`${Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME")}/.cache`}/outlierscope`;
		for (const { name } of Deno.readDirSync(usual)) {
			if (/^host-driver-.*\.so$/.test(name)) {
				await Deno.symlink(`${usual}/${name}`, `${directory}/${name}`);
			}
		}
		const run = () => runProgram(program, { env: { OUTLIERSCOPE_CACHE: directory } });
		const [first, again] = [await run(), await run()];
		assertEquals([first.stdout, again.stdout], ["opened, compiling kernels", "opened"]);
		// A truncated module is compiled again.
		const [module] = [...Deno.readDirSync(`${directory}/kernels`)];
		await Deno.truncate(`${directory}/kernels/${module.name}`, 1000);
		assertEquals((await run()).stdout, "opened, compiling kernels");
		assertNotEquals((await Deno.stat(`${directory}/kernels/${module.name}`)).size, 1000);
	});
});
