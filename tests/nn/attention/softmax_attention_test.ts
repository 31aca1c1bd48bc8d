// Causal softmax attention against plain loops in float64: lengths around the blocks of queries, grouped
// heads, both types, and the cumulative attention that is summed on the way.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../../mod.ts";
import { softmaxAttention } from "../../../src/nn/attention/softmax_attention.ts";
import { cast } from "../../../src/tensor/cast.ts";
import { swapAxes } from "../../../src/tensor/swap_axes.ts";
import {
	assertClose,
	device,
	deviceTest,
	fromBfloat16,
	normal,
	roundToBfloat16,
} from "../../tensor/on_device.ts";

/**
 * Of the largest value. In bfloat16 the inputs are rounded in the reference too; what remains is that the
 * probabilities, and then the output, are rounded at 2⁻⁹.
 */
const TOLERANCE = { float32: 2e-6, bfloat16: 6e-3 } as const;

interface Sizes {
	heads: number;
	kv: number;
	T: number;
	d: number;
}

function reference(q: Float32Array, k: Float32Array, v: Float32Array, { heads, kv, T, d }: Sizes) {
	const output = new Float64Array(T * heads * d);
	const sums = new Float64Array(heads * T);
	for (let h = 0; h < heads; h++) {
		const g = Math.floor(h * kv / heads);
		for (let i = 0; i < T; i++) {
			const scores = Array.from({ length: i + 1 }, (_, j) => {
				let dot = 0;
				for (let c = 0; c < d; c++) dot += q[(h * T + i) * d + c] * k[(g * T + j) * d + c];
				return dot / Math.sqrt(d);
			});
			const largest = Math.max(...scores);
			const powers = scores.map((score) => Math.exp(score - largest));
			const total = powers.reduce((sum, power) => sum + power, 0);
			powers.forEach((power, j) => {
				sums[h * T + j] += power / total;
				for (let c = 0; c < d; c++) {
					output[(i * heads + h) * d + c] += power / total * v[(g * T + j) * d + c];
				}
			});
		}
	}
	return { output, sums };
}

const tensor = (shape: [number, number, number], data: Float32Array) =>
	Tensor.from<"float32", 3>(device, "float32", shape, data);

/** Queries [heads, T, d] as attention takes them, [kv, T, g, d]. */
function queries([heads, T, d]: [number, number, number], kv: number, data: Float32Array) {
	using byHead = Tensor.from<"float32", 4>(device, "float32", [kv, heads / kv, T, d], data);
	return swapAxes(byHead, "float32");
}

const SIZES: Sizes[] = [
	...[1, 2, 127, 128, 129, 257].map((T) => ({ heads: 4, kv: 2, T, d: 8 })),
	{ heads: 2, kv: 2, T: 400, d: 8 }, // several blocks of a head that shares its keys with none
	{ heads: 12, kv: 12, T: 20, d: 4 }, // several heads in one launch
	{ heads: 3, kv: 1, T: 40, d: 10 },
	{ heads: 2, kv: 2, T: 33, d: 64 },
	{ heads: 9, kv: 3, T: 130, d: 6 },
];

for (const sizes of SIZES) {
	const { heads, kv, T, d } = sizes;
	deviceTest(`attention of ${heads} heads over ${kv}, T = ${T}, d = ${d}`, async () => {
		const data = [
			normal(heads * T * d, 1.5),
			normal(kv * T * d, 1.5),
			normal(kv * T * d),
		] as const;
		using q = queries([heads, T, d], kv, data[0]);
		using k = tensor([kv, T, d], data[1]);
		using v = tensor([kv, T, d], data[2]);
		using sums = Tensor.zeros<"float32", 2>(device, "float32", [heads, T]);
		using output = softmaxAttention({ q, k, v }, { cumulative: sums });
		assertEquals([...output.shape], [T, heads * d]);
		const expected = reference(...data, sizes);
		assertClose(await output.data(), expected.output, TOLERANCE.float32, "output");
		assertClose(await sums.data(), expected.sums, TOLERANCE.float32, "cumulative attention");
		using plain = softmaxAttention({ q, k, v });
		assertEquals(await plain.data(), await output.data(), "summing changes nothing");

		using qh = cast(q, "bfloat16");
		using kh = cast(k, "bfloat16");
		using vh = cast(v, "bfloat16");
		using half = softmaxAttention({ q: qh, k: kh, v: vh }, { cumulative: sums }); // added to what is there
		const output16 = [...await half.data()].map(fromBfloat16);
		const round = (values: Float32Array) => values.map(roundToBfloat16);
		const rounded = reference(round(data[0]), round(data[1]), round(data[2]), sizes);
		assertClose(output16, rounded.output, TOLERANCE.bfloat16, "output in bfloat16");
		const both = expected.sums.map((sum, i) => sum + rounded.sums[i]);
		assertClose(await sums.data(), both, TOLERANCE.bfloat16, "both sums");
	});
}

deviceTest("each head's cumulative attention sums to T, key j gets at most T − j", async () => {
	const T = 200;
	using q = queries([3, T, 4], 3, normal(3 * T * 4, 3));
	using v = tensor([3, T, 4], normal(3 * T * 4, 3));
	using sums = Tensor.zeros<"float32", 2>(device, "float32", [3, T]);
	using _output = softmaxAttention({ q, k: v, v }, { cumulative: sums });
	const values = await sums.data();
	for (let h = 0; h < 3; h++) {
		const head = values.subarray(h * T, (h + 1) * T);
		assertClose([head.reduce((a, b) => a + b, 0)], [T], 1e-6, `sum of head ${h}`);
		head.forEach((value, j) => assert(value >= 0 && value <= (T - j) * (1 + 1e-6)));
	}
});

deviceTest("large scores neither overflow nor lose the largest key", async () => {
	// Query and key of token 2 meet at a score of 1e6/√2 above all others: it takes all attention after it.
	const data = Float32Array.of(0, 0, 0, 0, 1000, 1000, 1000, 1000);
	using q = queries([1, 4, 2], 1, data);
	using k = tensor([1, 4, 2], Float32Array.of(0, 0, 0, 0, 500, 500, -500, -500));
	using v = tensor([1, 4, 2], Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8));
	using sums = Tensor.zeros<"float32", 2>(device, "float32", [1, 4]);
	using output = softmaxAttention({ q, k, v }, { cumulative: sums });
	assertEquals([...await output.data()], [1, 2, 2, 3, 5, 6, 5, 6]);
	assertEquals([...await sums.data()], [1.5, 0.5, 2, 0]);
});

deviceTest(
	"shapes that do not go together are refused with both, and nothing is left behind",
	() => {
		using q = Tensor.zeros<"float32", 4>(device, "float32", [2, 5, 2, 8]);
		using odd = Tensor.zeros<"float32", 3>(device, "float32", [3, 5, 8]);
		using long = Tensor.zeros<"float32", 3>(device, "float32", [2, 6, 8]);
		using short = Tensor.zeros<"float32", 3>(device, "float32", [2, 4, 8]);
		using two = Tensor.zeros<"float32", 3>(device, "float32", [2, 5, 8]);
		using sums = Tensor.zeros<"float32", 2>(device, "float32", [4, 6]);
		const before = device.liveBytes;
		const cases: [() => unknown, string][] = [
			[
				() => softmaxAttention({ q, k: odd, v: odd }),
				"the keys must have shape [2,5,8], got [3,5,8]",
			],
			[
				() => softmaxAttention({ q, k: short, v: short }),
				"of queries [2,5,2,8] and keys [2,4,8] of 1 sequences",
			],
			[
				() => softmaxAttention({ q, k: two, v: long }),
				"the values must have shape [2,5,8], got [2,6,8]",
			],
			[
				() => softmaxAttention({ q, k: two, v: two }, { cumulative: sums }),
				"the cumulative attention must have shape [4,5], got [4,6]",
			],
		];
		for (const [run, message] of cases) {
			const error = assertThrows(run, RangeError, message);
			assert(error.message.startsWith("Cannot compute attention"), error.message);
		}
		assertEquals(device.liveBytes, before);
	},
);

deviceTest(
	"sums over queries are the same bits each time, though blocks of a head run side by side",
	async () => {
		// As many heads as lanes or a multiple of them would keep each head on one lane.
		const kv = device.lanes.count + 1, T = 640, d = 16;
		using q = Tensor.from<"float32", 4>(device, "float32", [kv, T, 1, d], normal(kv * T * d));
		using k = Tensor.from<"float32", 3>(device, "float32", [kv, T, d], normal(kv * T * d));
		const run = async () => {
			using sums = Tensor.zeros<"float32", 2>(device, "float32", [kv, T]);
			using _output = softmaxAttention({ q, k, v: k }, { cumulative: sums });
			return await sums.data();
		};
		const first = await run();
		const total = first.reduce((sum, value) => sum + value, 0);
		assert(Math.abs(total / (kv * T) - 1) < 1e-4, `the sums are ${total}, of ${kv * T} queries`);
		for (let i = 0; i < 40; i++) assertEquals(await run(), first);
	},
);
