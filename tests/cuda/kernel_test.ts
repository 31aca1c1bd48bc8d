// Launches: how arguments are packed, and what is refused before the driver sees it.

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../src/cuda/errors.ts";
import { Kernel } from "../../src/cuda/kernel.ts";
import { kernelTest, openDevice, wanted } from "./kernels/bench.ts";

await (await openDevice()).load([{
	name: "kernel_test.cu",
	text: `
extern "C" __global__ void kernel_echo(long long *out, float *number, int a, long long b, unsigned c,
                                       float d, const void *e, int f) {
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    out[0] = a; out[1] = b; out[2] = c; out[3] = reinterpret_cast<long long>(e); out[4] = f;
    *number = d;
  }
}`,
}]);

kernelTest(
	"arguments of each kind arrive unchanged, also large and negative ones",
	({ device }) => {
		const cases = [
			[1, 2, 3, 4.5, 0, 5],
			[-1, -1, 2 ** 32 - 1, -0.1, 0, -(2 ** 31)],
			[2 ** 31 - 1, 2 ** 53 - 1, 2 ** 31, Infinity, 0, 0],
			[0, -(2 ** 40) - 3, 0, 1e-45, 0, 7],
			[0, 2 ** 32, 1, NaN, 0, 7],
		];
		for (const [a, b, c, d, , f] of cases) {
			const out = wanted(device, "float64", 5), number = wanted(device, "float32", 1);
			const e = number.pointer;
			device.kernel("kernel_echo").once(out.pointer, number.pointer, a, b, c, d, e, f);
			const integers = new BigInt64Array(out.take().buffer);
			assertEquals([...integers], [a, b, c, e, f].map(BigInt));
			assertEquals(number.take()[0], Math.fround(d));
		}
	},
);

kernelTest("another number of arguments is refused", ({ device }) => {
	const before = device.launches;
	const error = assertThrows(
		() => device.kernel("gated_swiglu_float32_to_float32").once(1, 2),
		RangeError,
	);
	assertEquals(
		error.message,
		"Cannot launch gated_swiglu_float32_to_float32: it takes 4 arguments, got 2",
	);
	assertEquals(device.launches, before);
});

kernelTest("a refused launch names the kernel, its shape and its arguments", ({ device }) => {
	const args = [8, 2 ** 40 + 16, -1, -(2 ** 40) - 3, 5, 0.5, 0, 7];
	const error = assertThrows(() => device.kernel("kernel_echo").launch(1, 4096, args), CudaError);
	assertEquals(error.function, "cuLaunchKernel");
	assertEquals(error.code, 1);
	assertStringIncludes(
		error.message,
		"; kernel kernel_echo, 1 blocks of 4096, " +
			"arguments 8, 1099511627792, -1, -1099511627779, 5, 0.5, 0, 7",
	);
});

kernelTest("the number of warps grows with the work up to a full grid", ({ device }) => {
	const warps = [1, 2, 1000, 1e6, 1e9].map((count) => Kernel.warpsForRows(device, count));
	assertEquals(warps, warps.toSorted((a, b) => a - b));
	assertEquals(warps[3], warps[4]);
});
