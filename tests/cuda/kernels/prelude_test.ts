// What prelude.cuh promises: fast_exp's accuracy and range, rounding to bfloat16, sums and maxima of a warp, and walks that visit each element once.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import { Kernel } from "../../../src/cuda/kernel.ts";
import { scope } from "../../../src/tensor/scope.ts";
import { TOLERANCE } from "../../tolerance.ts";
import { Random } from "../../random.ts";
import { numbersToBfloat16 } from "../../../src/doctor/self_test/compare.ts";
import { given, kernelTest, openDevice, wanted } from "./bench.ts";

const source = `
#include "prelude.cuh"
extern "C" __global__ void prelude_exp(float *y, const float *x, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) y[i] = fast_exp(x[i]);
}
extern "C" __global__ void prelude_exp2(float *y, const float *x, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    y[i] = exp2_nonpositive(x[i]);
  }
}
extern "C" __global__ void prelude_round(bfloat16 *y, const float *x, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    y[i] = from_nonnegative<bfloat16>(x[i]);
  }
}
extern "C" __global__ void prelude_row_max(float *y, const float *x, int count) {
  float largest = row_max(x, count);
  if (lane() == 0) y[0] = largest;
}
extern "C" __global__ void prelude_visits(unsigned *visits, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    atomicAdd(visits + i, 1u);
  }
}
extern "C" __global__ void prelude_warps(double *sums, unsigned *maxima, int *ids) {
  double sum = warp_sum(static_cast<double>(lane() + 1));
  unsigned largest = warp_max(static_cast<unsigned>(7 * lane()));
  if (lane() == 0) {
    sums[warp_id()] = sum;
    maxima[warp_id()] = largest;
    ids[warp_id()] = warp_count();
  }
}
`;

const loaded = openDevice().then((device) =>
	device.load([{ name: "prelude_test.cu", text: source }])
);
await loaded;

function exponentials(device: Device, x: Float32Array, kernel = "prelude_exp"): Float32Array {
	return scope(() => {
		const from = given(device, "float32", x);
		const to = wanted(device, "float32", x.length);
		device.kernel(kernel).overElements(x.length, to.pointer, from.pointer, x.length);
		return { y: to.take() };
	}).y;
}

/** Distance from a float32 to the next one at `value`. */
function lastPlace(value: number): number {
	return Math.max(2 ** -149, 2 ** (Math.floor(Math.log2(value)) - 23));
}

kernelTest("fast_exp is within the claimed places over its whole range", ({ device }) => {
	let worst = 0, where = 0;
	const look = (x: Float32Array) => {
		const y = exponentials(device, x);
		for (let i = 0; i < x.length; i++) {
			const e = Math.exp(x[i]);
			if (e >= 2 ** 128 - 2 ** 103) continue; // rounds to infinity: the next test
			const places = Math.abs(y[i] - e) / lastPlace(e);
			if (places > worst || places !== places) [worst, where] = [places, x[i]];
		}
	};
	const steps = 1 << 19;
	for (const [from, to] of [[-104, -87], [-87, -1], [-1, 1], [1, 88.8]]) {
		look(Float32Array.from({ length: steps }, (_, i) => from + (to - from) * i / steps));
	}
	// Arguments near zero, by powers of two.
	look(Float32Array.from({ length: 600 }, (_, i) => (i % 2 ? -1 : 1) * 2 ** (-(i >> 1) / 2)));
	assert(
		worst <= TOLERANCE.expUlps,
		`fast_exp(${where}) is off by ${worst} places, more than ${TOLERANCE.expUlps}`,
	);
});

kernelTest("fast_exp underflows to 0, overflows to infinity and keeps NaN", ({ device }) => {
	const x = [-Infinity, -3e38, -104.5, -104, -0, 0, 2 ** -149, 88.72283, 88.73, 89, 1e30, Infinity];
	const y = exponentials(device, Float32Array.of(...x, NaN));
	assertEquals([...y.subarray(0, 4)], [0, 0, 0, 0]);
	assertEquals([...y.subarray(4, 7)], [1, 1, 1]);
	assert(y[7] > 3.4e38 && y[7] < Infinity, `fast_exp just below the limit is ${y[7]}`);
	assertEquals([...y.subarray(8, 12)], [Infinity, Infinity, Infinity, Infinity]);
	assertEquals(y[12], NaN);
});

kernelTest(
	"exp2_nonpositive is within two places down to 2⁻¹²⁶, and 0 beyond 2⁻¹²⁷",
	({ device, random }) => {
		const special = [0, -0, -0.5, -1, -125.5, -126];
		const x = Float32Array.of(
			...special,
			...Array.from({ length: 20000 }, (_, i) => -126 * i / 20000),
			...random.normals(1000).map((value) => -Math.abs(value)),
		);
		const y = exponentials(device, x, "prelude_exp2");
		for (let i = 0; i < x.length; i++) {
			const exact = 2 ** x[i], places = Math.abs(y[i] - exact) / lastPlace(exact);
			assert(places <= TOLERANCE.expUlps, `exp2_nonpositive(${x[i]}) is off by ${places} places`);
		}
		const tiny = exponentials(device, Float32Array.of(-126.2, -126.7, -126.99), "prelude_exp2");
		assert(tiny.every((value) => value >= 0 && value < 2 ** -126), `below the range: ${tiny}`);
		const ends = Float32Array.of(-127, -127.5, -1e30, -Infinity, NaN);
		assertEquals([...exponentials(device, ends, "prelude_exp2")], [0, 0, 0, 0, NaN]);
	},
);

kernelTest(
	"from_nonnegative rounds as from_float does, and keeps NaN of either sign",
	({ device, random }) => {
		const x = Float32Array.of(
			0,
			1,
			2 ** -140,
			3.4e38,
			Infinity,
			...random.normals(5000).map(Math.abs),
		);
		const nan = new Float32Array(
			Uint32Array.of(0x7fc00000, 0xffc00000, 0x7fffffff, 0xffffffff).buffer,
		);
		const words = new Uint32Array(Float32Array.of(1, 0.3, 700).buffer);
		const ties = new Float32Array(
			Uint32Array.from(
				[...words].flatMap((word) =>
					[0x7fff, 0x8000, 0x18000, 0x8001].map((low) => (word & 0xfffe0000) + low)
				),
			).buffer,
		);
		const all = Float32Array.of(...x, ...ties);
		const round = (data: Float32Array) => {
			const from = given(device, "float32", data), to = wanted(device, "bfloat16", data.length);
			device.kernel("prelude_round").overElements(
				data.length,
				to.pointer,
				from.pointer,
				data.length,
			);
			return to.take();
		};
		assertEquals([...round(all)], [...numbersToBfloat16(all)]);
		assert([...round(nan)].every((bits) => (bits & 0x7fff) > 0x7f80));
	},
);

kernelTest("row_max is the largest of any number of floats, NaN left out", ({ device, random }) => {
	const largest = (data: Float32Array) => {
		const from = given(device, "float32", data), to = wanted(device, "float32", 1);
		device.kernel("prelude_row_max").once(to.pointer, from.pointer, data.length);
		return to.take()[0];
	};
	for (const count of [1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 577]) {
		const data = random.normals(count, 1e3).map((value) => value - 5e3); // all below 0
		for (const at of [0, count - 1, random.below(count)]) {
			const one = Float32Array.from(data);
			one[at] = 7;
			assertEquals(largest(one), 7, `at ${at} of ${count}`);
		}
		assertEquals(largest(data), Math.max(...data));
	}
	assertEquals(largest(Float32Array.of(NaN, -3, NaN)), -3);
	assertEquals(largest(Float32Array.of(NaN)), -Infinity);
});

kernelTest("a walk over elements visits each once, whatever the size", ({ device, random }) => {
	const full = device.multiprocessors * 8 * Math.min(256, device.maxThreadsPerBlock);
	const sizes = [
		1,
		2,
		31,
		33,
		63,
		65,
		127,
		577,
		full - 1,
		full,
		full + 1,
		1000 + random.below(9999),
	];
	for (const count of sizes) {
		const visits = wanted(device, "uint32", count); // starts at 2³² - 1
		device.kernel("prelude_visits").overElements(count, visits.pointer, count);
		assertEquals(visits.take().findIndex((value) => value !== 0), -1, `of ${count} elements`);
	}
});

kernelTest(
	"warps are numbered without gaps, and sum and compare over their lanes",
	({ device }) => {
		const threads = Math.min(256, device.maxThreadsPerBlock), w = device.warpSize;
		for (const blocks of [1, 5]) {
			const warps = blocks * threads / w;
			const sums = wanted(device, "float64", warps);
			const maxima = wanted(device, "uint32", warps);
			const counts = wanted(device, "int32", warps);
			device.kernel("prelude_warps")
				.launch(blocks, threads, [sums.pointer, maxima.pointer, counts.pointer]);
			assertEquals([...sums.take()], Array(warps).fill(w * (w + 1) / 2));
			assertEquals([...maxima.take()], Array(warps).fill(7 * (w - 1)));
			assertEquals([...counts.take()], Array(warps).fill(warps));
		}
		assertEquals(Kernel.warpsForRows(device, 1), threads / w);
		assertEquals(
			Kernel.warpsForRows(device, 1e9),
			device.multiprocessors * 8 * threads / w,
		);
	},
);

Deno.test("random inputs repeat by stream, and streams differ", () => {
	assertEquals(new Random(3).normals(5), new Random(3).normals(5));
	assert(new Random(3).bits() !== new Random(4).bits());
});
