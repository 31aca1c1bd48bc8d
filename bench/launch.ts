// Measures what it costs to launch a kernel from TypeScript, beside the same calls from C++: the kernel is
// empty, so that only the launch is left. Run it on an idle machine.

import { Device } from "../src/cuda/device.ts";
import { rmsNorm } from "../src/tensor/norm.ts";
import { Tensor } from "../src/tensor/tensor.ts";
import { addressOf, fixedBuffer } from "../src/ffi/c_memory.ts";
import { openCpp } from "./support/c_library.ts";
import { formatSpread, markdownTable, spread } from "./support/spread.ts";

const LAUNCHES = 1000; // a round; then the stream is waited for
const WARM_UP = 100; // rounds, until V8 has compiled what is called
const ROUNDS = 400;

const device = await Device.open();
const source = `extern "C" __global__ void empty(float *y, const float *x, const float *weight,
                                                 int rows, int columns, float epsilon) {}`;
await device.load([{ name: "launch.cu", text: source }]);
const kernel = device.kernel("empty");
using memory = Tensor.zeros<"float32", 2>(device, "float32", [4, 64]);
using gain = Tensor.zeros<"float32", 1>(device, "float32", [64]);
const { pointer } = memory;

// --- The same launch from C++, by the address of the driver's function. ---

const { cuLaunchKernel } = Deno.dlopen(device.libraries.paths.driver, {
	cuLaunchKernel: { type: "pointer" },
}).symbols;
const { launch_loop } = await openCpp("launch_loop.cpp", [], {
	launch_loop: {
		parameters: ["pointer", "u64", "u64", "buffer", "u32", "u32", "i32"],
		result: "f64",
	},
});
const packed = fixedBuffer(kernel.signature.bytes);
new BigUint64Array(packed.buffer, 0, 3).fill(BigInt(pointer));
const size = fixedBuffer(8), extra = fixedBuffer(40);
size[0] = packed.length;
new BigUint64Array(extra.buffer).set([1n, addressOf(packed), 2n, addressOf(size), 0n]);
const threads = Math.min(256, device.maxThreadsPerBlock);

// --- What is measured: nanoseconds of one call, and of one call until the work is done. ---

type Times = { queue: number; done: number };

function timeRound(call: () => void): Times {
	const begin = performance.now();
	for (let i = 0; i < LAUNCHES; i++) call();
	const queued = performance.now();
	device.synchronizeSync();
	const done = performance.now();
	return { queue: (queued - begin) * 1e6 / LAUNCHES, done: (done - begin) * 1e6 / LAUNCHES };
}

function timeCpp(): Times {
	const begin = performance.now();
	const queue = launch_loop(
		cuLaunchKernel as Deno.PointerValue,
		kernel.handle,
		device.stream,
		extra,
		1,
		threads,
		LAUNCHES,
	);
	if (queue < 0) throw new Error("A launch from C++ failed");
	device.synchronizeSync();
	return { queue, done: (performance.now() - begin) * 1e6 / LAUNCHES };
}

/** Launches with pauses in which the stream runs dry, as between the operations of a busy program. */
function timePaused(call: () => void): Times {
	const PAUSE = 0.02, calls = LAUNCHES / 20; // ms
	let queue = 0;
	const begin = performance.now();
	for (let i = 0; i < calls; i++) {
		const start = performance.now();
		call();
		const end = performance.now();
		queue += end - start;
		while (performance.now() - end < PAUSE);
	}
	device.synchronizeSync();
	const done = performance.now() - begin - calls * PAUSE;
	return { queue: queue * 1e6 / calls, done: done * 1e6 / calls };
}

const launch = () => kernel.overRows(1, pointer, pointer, pointer, 4, 64, 1e-6);
const cases: Record<string, () => Times> = {
	"launch from TypeScript": () => timeRound(launch),
	"the same every 20 µs": () => timePaused(launch),
	"launch from C++": timeCpp,
	"allocate and free": () => timeRound(() => device.free(device.allocate(1024))),
	"rmsNorm of [4, 64], its result freed": () =>
		timeRound(() => rmsNorm(memory, gain, { epsilon: 1e-6 }).dispose()),
};

const times = new Map(Object.keys(cases).map((name) => [name, [] as Times[]]));
for (let round = -WARM_UP; round < ROUNDS; round++) {
	for (const [name, run] of Object.entries(cases)) {
		const time = run();
		if (round >= 0) times.get(name)!.push(time);
	}
}

// Where a collection falls between, the heap shrinks; the median does not see it.
const growths = Array.from({ length: 100 }, () => {
	const before = Deno.memoryUsage().heapUsed;
	for (let i = 0; i < LAUNCHES; i++) launch();
	const growth = (Deno.memoryUsage().heapUsed - before) / LAUNCHES;
	device.synchronizeSync();
	return growth;
});

const microseconds = (values: number[]) => formatSpread(spread(values.map((ns) => ns / 1000)));
console.log(`${device.name}; µs a call, median (smallest to largest) of ${ROUNDS} rounds\n`);
console.log(markdownTable(
	["call", "queued, µs", "and done, µs"],
	[...times].map(([name, rounds]) => [
		name,
		microseconds(rounds.map(({ queue }) => queue)),
		microseconds(rounds.map(({ done }) => done)),
	]),
));
console.log(`\nJavaScript heap that a launch takes: ${spread(growths).median.toFixed(1)} bytes`);
