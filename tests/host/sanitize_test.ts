// OUTLIERSCOPE_SANITIZE: mistakes planted in a kernel end the process with the sanitizer's words and the
// kernel's line, with either warp; what is freed or has no room is guarded; a wrong setting is one error.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { runProgram } from "../subprocess.ts";
import { sanitizerEnvironment } from "../sanitizers.ts";

const sanitizers = await sanitizerEnvironment();
const source = `
#include "prelude.cuh"
extern "C" __global__ void right(float *x, int n) {
  __shared__ float cells[64];
  for (int i = lane(); i < 64; i += WARP) cells[i] = x[i % n];
  __syncthreads();
  for (int i = lane(); i < n; i += WARP) x[i] = cells[63 - i % 64];
}
extern "C" __global__ void writes_one_too_far(float *x, int n) {
  for (int i = lane(); i <= n; i += WARP) x[i] = 1;  // here
}
extern "C" __global__ void reads_one_too_far(float *x, int n) {
  for (int i = lane(); i < n; i += WARP) x[i] = x[i + 1];  // here
}
extern "C" __global__ void leaves_shared_memory(float *x, int n) {
  __shared__ float cells[64];
  float *to = cells;
  for (int i = lane(); i < 2 * n; i += WARP) to[i] = x[i % n];  // here
}
extern "C" __global__ void overflows(int *x, int n) {
  x[0] = 0x7fffffff - 32 + n;  // here
}
extern "C" __global__ void shifts_too_far(int *x, int n) {
  x[0] = 1 << n;  // here
}
`;

/** Runs a kernel over 33 elements in a process of its own. */
function launch(kernel: string, env: Record<string, string>) {
	return runProgram(
		`
    import { Device } from "src/cuda/device.ts";
    const device = await Device.open(), n = 33, x = device.allocate(4 * n);
    await device.load([{ name: "planted.cu", text: ${JSON.stringify(source)} }]);
    device.fill(x, 0, 4 * n);
    device.kernel("${kernel}").once(x, n);
    await device.synchronize();
    console.log("no report");`,
		{ env: { OUTLIERSCOPE_DEVICE: "host", ...sanitizers, ...env } },
	);
}

const planted: Record<string, RegExp> = {
	writes_one_too_far: /AddressSanitizer: heap-buffer-overflow.*\nWRITE of size 4/,
	reads_one_too_far: /AddressSanitizer: heap-buffer-overflow.*\nREAD of size 4/,
	leaves_shared_memory: /global-buffer-overflow|store to address \w+ with insufficient space/,
	overflows: /runtime error: signed integer overflow/,
	shifts_too_far: /runtime error: shift exponent 33 is too large/,
};
for (const [warp, env] of [["one", {}], ["32", { OUTLIERSCOPE_SIMT: "1" }]] as const) {
	Deno.test(`a kernel without a mistake is not reported with a warp of ${warp}`, async () => {
		assertEquals(await launch("right", env), { code: 0, stdout: "no report", stderr: "" });
	});
	for (const [kernel, words] of Object.entries(planted)) {
		Deno.test(`a sanitizer reports what ${kernel} does with a warp of ${warp}`, async () => {
			const { code, stdout, stderr } = await launch(kernel, env);
			assert(code !== 0 && stdout === "", stdout);
			assertMatch(stderr, words);
			const from = source.slice(0, source.indexOf("// here", source.indexOf(kernel)));
			assert(stderr.includes(`planted.cu:${from.split("\n").length}`), stderr);
		});
	}
}

Deno.test("a kernel that uses memory freed before it on another stream is reported", async () => {
	const { code, stderr } = await runProgram(
		`
    import { Device } from "src/cuda/device.ts";
    const device = await Device.open(), x = device.allocate(132), { driver } = device.libraries;
    await device.load([{ name: "planted.cu", text: ${JSON.stringify(source)} }]);
    const out = new Uint8Array(8);
    driver.cuStreamCreate(out, 1);
    const other = Number(new BigUint64Array(out.buffer)[0]);
    // The launch is queued behind much work, and the other stream frees what it will use.
    const busy = device.allocate(1 << 28);
    for (let i = 0; i < 20; i++) device.fill(busy, i, 1 << 28);
    device.kernel("right").once(x, 33);
    driver.cuMemFreeAsync(x, other);
    await device.synchronize();`,
		{ env: { OUTLIERSCOPE_DEVICE: "host", ...sanitizers } },
	);
	assert(code !== 0);
	assertMatch(stderr, /AddressSanitizer: heap-use-after-free/);
});

Deno.test("a setting that cannot work is one error", async () => {
	const open = async (env: Record<string, string>) =>
		(await runProgram(
			`
      import { Device } from "src/cuda/device.ts";
      await Device.open().catch((error) => console.log(error.name + ": " + error.message));`,
			{ env: { OUTLIERSCOPE_DEVICE: "host", ...env } },
		)).stdout;
	assertEquals(
		await open({ OUTLIERSCOPE_SANITIZE: "thread" }),
		'HostBuildError: Cannot use OUTLIERSCOPE_SANITIZE="thread": ' +
			'it must be "address", "undefined" or "address,undefined", or not set',
	);
	assertMatch(
		await open({ OUTLIERSCOPE_SANITIZE: "address" }),
		/^HostBuildError: Cannot use AddressSanitizer unless it is loaded before Deno: set LD_PRELOAD=/,
	);
});
