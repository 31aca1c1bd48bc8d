// What math.cuh promises: each function within the places it claims over its whole range, and at its ends.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import { erf } from "../../../src/doctor/self_test/functions.ts";
import { scope } from "../../../src/tensor/scope.ts";
import type { Random } from "../../random.ts";
import { given, kernelTest, openDevice, wanted } from "./bench.ts";

const functions = ["fast_log", "fast_log1p", "fast_expm1", "fast_tanh", "sigmoid", "fast_erf"];
const source = `
#include "math.cuh"
#define MATH(function, call)                                                                       \\
  extern "C" __global__ void math_##function(float *y, const float *x, long long count) {          \\
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \\
      y[i] = function(x[i]);                                                                       \\
    }                                                                                              \\
  }
__device__ __forceinline__ float sine(float x) { return sin_of_quarters(x, 0); }
__device__ __forceinline__ float cosine(float x) { return sin_of_quarters(x, 1); }
${[...functions, "sine", "cosine"].map((name) => `MATH(${name}, )`).join("\n")}
`;
const loaded = openDevice().then((device) => device.load([{ name: "math_test.cu", text: source }]));
await loaded;

function evaluate(device: Device, name: string, x: Float32Array): Float32Array {
	return scope(() => {
		const from = given(device, "float32", x), to = wanted(device, "float32", x.length);
		device.kernel(`math_${name}`).overElements(x.length, to.pointer, from.pointer, x.length);
		return { y: to.take() };
	}).y;
}

/** Distance from a float32 to the next one at `value`. */
const lastPlace = (value: number) =>
	Math.max(2 ** -149, 2 ** (Math.floor(Math.log2(Math.abs(value))) - 23));

/** Even steps from `from` to `to`. */
const even = (from: number, to: number) =>
	Float32Array.from({ length: 1 << 18 }, (_, i) => from + (to - from) * i / (1 << 18));

/** Numbers of every size, from denormal ones on. */
function everySize(random: Random, positive: boolean): Float32Array {
	const bits = Uint32Array.from({ length: 1 << 18 }, () => {
		const word = random.bits() & (positive ? 0x7fffffff : 0xffffffff);
		return (word & 0x7fffffff) < 0x7f800000 ? word : word ^ 0x40000000;
	});
	return new Float32Array(bits.buffer);
}

interface Claim {
	name: string;
	exact: (x: number) => number;
	places: number;
	ranges: (random: Random) => Float32Array[];
	/** Arguments and values where a claim in places says nothing. */
	ends: [x: number, y: number][];
}

const claims: Claim[] = [
	{
		name: "fast_log",
		exact: Math.log,
		places: 2,
		ranges: (random) => [even(0.4, 3), everySize(random, true)],
		ends: [[0, -Infinity], [-0, -Infinity], [-1, NaN], [-Infinity, NaN], [Infinity, Infinity], [
			1,
			0,
		]],
	},
	{
		name: "fast_log1p",
		exact: Math.log1p,
		places: 2,
		ranges: (random) => [
			even(-1 + 2 ** -20, 3),
			even(0, 2 ** 28),
			everySize(random, true),
			everySize(random, true).map((x) => -x % 1),
		],
		ends: [[0, 0], [-1, -Infinity], [-1.5, NaN], [-Infinity, NaN], [Infinity, Infinity]],
	},
	{
		name: "fast_expm1",
		exact: Math.expm1,
		places: 3,
		ranges: (random) => [even(-30, 1), even(-1, 1), even(1, 88.72), everySize(random, false)],
		ends: [[0, 0], [-Infinity, -1], [-1e30, -1], [89, Infinity], [Infinity, Infinity]],
	},
	{
		name: "fast_tanh",
		exact: Math.tanh,
		places: 4,
		ranges: (random) => [even(-12, 12), even(-1, 1), everySize(random, false)],
		ends: [[0, 0], [-Infinity, -1], [Infinity, 1], [1e30, 1]],
	},
	{
		name: "sigmoid",
		exact: (x) => x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)),
		places: 4,
		ranges: (random) => [even(-104, 20), even(-2, 2), everySize(random, false)],
		ends: [[0, 0.5], [-Infinity, 0], [Infinity, 1], [-1e30, 0]],
	},
	{
		name: "fast_erf",
		exact: erf,
		places: 2,
		ranges: (random) => [even(-4.5, 4.5), even(-1, 1), everySize(random, false)],
		ends: [[0, 0], [-Infinity, -1], [Infinity, 1], [1e30, 1]],
	},
];

for (const { name, exact, places, ranges, ends } of claims) {
	kernelTest(`${name} is within ${places} places over its whole range`, ({ device, random }) => {
		let worst = 0, where = 0;
		for (const x of ranges(random)) {
			const y = evaluate(device, name, x);
			for (let i = 0; i < x.length; i++) {
				const e = exact(x[i]);
				if (Math.abs(e) >= 2 ** 128 - 2 ** 103) continue; // rounds to infinity
				const off = Math.abs(y[i] - e) / lastPlace(e);
				if (off > worst || off !== off) [worst, where] = [off, x[i]];
			}
		}
		if (Deno.env.get("OUTLIERSCOPE_SHOW")) console.log(`${name}: ${worst} at ${where}`);
		assert(worst <= places, `${name}(${where}) is off by ${worst} places`);
	});
	kernelTest(`${name} is right at its ends and keeps NaN`, ({ device }) => {
		const y = evaluate(device, name, Float32Array.of(...ends.map(([x]) => x), NaN));
		// -0 counts as 0: the host's compiler may lose its sign.
		assertEquals([...y].map((value) => value + 0), [...ends.map(([, value]) => value), NaN]);
	});
}

kernelTest("sin and cos are right up to 2¹⁶, near their zeros as well", ({ device, random }) => {
	const zeros = Float32Array.from(
		{ length: 20000 },
		(_, i) => Math.PI / 2 * (random.below(41000) * (i % 2 ? 1 : -1)),
	);
	for (const x of [even(-65536, 65536), even(-10, 10), even(-1e-3, 1e-3), zeros]) {
		for (const [name, exact] of [["sine", Math.sin], ["cosine", Math.cos]] as const) {
			const y = evaluate(device, name, x);
			x.forEach((angle, i) => {
				const e = exact(angle);
				// A rounded distance to the zero errs by its own last place; 2^-60 beside it for 41,000 · π/2.
				const allowed = 2 * lastPlace(e) + 2 ** -55;
				assert(Math.abs(y[i] - e) <= allowed, `${name}(${angle}) is ${y[i]}, not ${e}`);
			});
		}
	}
});
