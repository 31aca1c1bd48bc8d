// Rotary positions: angles, rotation of pairs, the split into heads, against float64.

import { assertEquals, assertThrows } from "@std/assert";
import { contiguous, rotary, scope, sum, Tensor } from "../../mod.ts";
import { RotaryTable, splitHeadsRotary } from "../../src/nn/rotary.ts";
import { cast } from "../../src/tensor/cast.ts";
import { swapAxes } from "../../src/tensor/swap_axes.ts";
import { assertClose, bfloat16Bits, device, deviceTest, normal } from "../tensor/on_device.ts";

/** Angles are products in float32, as in the models' training: up to T · 2⁻²⁴ off. */
const TOLERANCE = 2e-5;

deviceTest(
	"angles are position · base^(-2i/d), divided by the factors if there are any",
	async () => {
		const [T, d, base] = [100, 10, 10000];
		for (const factors of [undefined, [1, 2, 4, 8, 1.5]]) {
			using table = new RotaryTable(device, T, d, base, factors);
			assertEquals([...table.cosine.shape, ...table.sine.shape], [T, 5, T, 5]);
			const angles = Float64Array.from({ length: T * 5 }, (_, at) => {
				const i = at % 5;
				return Math.floor(at / 5) * base ** (-2 * i / d) / (factors?.[i] ?? 1);
			});
			assertClose(await table.cosine.data(), angles.map(Math.cos), TOLERANCE, "cosines");
			assertClose(await table.sine.data(), angles.map(Math.sin), TOLERANCE, "sines");
		}
	},
);

for (const [T, heads, kv, d] of [[1, 1, 1, 2], [13, 4, 2, 8], [40, 9, 3, 64]] as const) {
	deviceTest(`${heads} queries and ${kv} keys of ${d} are rotated by pairs, T = ${T}`, async () => {
		const width = (heads + 2 * kv) * d;
		const data = normal(T * width);
		using qkv = Tensor.from<"float32", 2>(device, "float32", [T, width], data);
		using table = new RotaryTable(device, T, d, 500);
		const cosine = await table.cosine.data(), sine = await table.sine.data();
		// [count, T, d] from the projections that start at `first`, turned or not
		const expected = (first: number, count: number, turn: boolean) =>
			Float64Array.from({ length: count * T * d }, (_, at) => {
				const c = at % d, t = Math.floor(at / d) % T, head = Math.floor(at / d / T);
				const from = t * width + (first + head) * d;
				if (!turn) return data[from + c];
				const i = c % (d / 2);
				const [a, b] = [data[from + i], data[from + i + d / 2]];
				const [cos, sin] = [cosine[t * d / 2 + i], sine[t * d / 2 + i]];
				return c < d / 2 ? a * cos - b * sin : b * cos + a * sin;
			});
		const { q, k, v } = splitHeadsRotary(qkv, table, heads, kv);
		using qs = q;
		using ks = k;
		using vs = v;
		assertEquals([...q.shape], [kv, T, heads / kv, d]);
		assertEquals([[...k.shape], [...v.shape]], [[kv, T, d], [kv, T, d]]);
		using byHead = swapAxes(qs, "float32"); // kv g T d
		const actual = [byHead, ks, vs].map((part) => Float32Array.from(part.dataSync()));
		assertClose(actual[0], expected(0, heads, true), 2e-7, "queries");
		assertClose(actual[1], expected(heads, kv, true), 2e-7, "keys");
		assertClose(actual[2], expected(heads + kv, kv, false), 0, "values");

		// In bfloat16: the same of rounded projections, rounded.
		using rounded = cast(qkv, "bfloat16");
		using exact = cast(rounded, "float32");
		const half = splitHeadsRotary(rounded, table, heads, kv);
		const whole = splitHeadsRotary(exact, table, heads, kv);
		for (const part of ["q", "k", "v"] as const) {
			using bits = half[part];
			using values = whole[part];
			assertEquals([...await bits.data()], [...await values.data()].map(bfloat16Bits), part);
		}
	});
}

deviceTest("a table is freed with `using`, also one of no positions", () => {
	const before = device.liveBytes;
	{
		using table = new RotaryTable(device, 0, 4, 10000);
		assertEquals(table.cosine.size, 0);
	}
	assertEquals(device.liveBytes, before);
});

deviceTest(
	"a batch is split by kernels as by tensor operations, from any position, with gradients",
	() => {
		for (
			const [batch, T, heads, kv, d, pairs, first] of [
				[3, 5, 4, 2, 8, 4, 0],
				[2, 7, 3, 3, 10, 2, 3],
				[2, 4, 6, 1, 5, 0, 0],
			] as const
		) {
			scope(() => {
				const width = (heads + 2 * kv) * d, g = heads / kv;
				const qkv = Tensor.from<"float32", 2>(
					device,
					"float32",
					[batch * T, width],
					normal(batch * T * width),
				).requireGrad();
				const table = pairs ? new RotaryTable(device, first + T + 2, 2 * pairs, 100) : null;
				using _freed = table ?? Tensor.zeros(device, "float32", [1]);
				const all = qkv.reshape([batch, T, heads + 2 * kv, d]);
				const part = (begin: number, end: number, group: number) =>
					all.slice(begin, end, 2).reshape([batch, T, kv, group, d]).permute([0, 2, 1, 3, 4])
						.reshape([batch * kv, T, group, d]) as Tensor<"float32", 4>;
				const turned = (x: Tensor<"float32", 4>) =>
					table ? rotary(x, table, { axis: 1, first }) : x;
				const composed = [
					turned(part(0, heads, g)),
					turned(part(heads, heads + kv, 1)).reshape([batch * kv, T, d]),
					part(heads + kv, heads + 2 * kv, 1).reshape([batch * kv, T, d]),
				] as Tensor[];
				const split = splitHeadsRotary(qkv, table, heads, kv, { batch, first });
				const fused = [split.q, split.k, split.v] as Tensor[];
				const upstream = composed.map(({ shape, size }) =>
					Tensor.from<"float32", number>(device, "float32", shape, normal(size))
				);
				// Of all three, and where only one of them is used.
				for (const used of [[0, 1, 2], [1]]) {
					const gradient = (parts: Tensor[]) => {
						const terms = used.map((i) => sum((parts[i] as Tensor<"float32">).mul(upstream[i]!)));
						terms.reduce((a, b) => a.add(b)).backward({ retainGraph: true });
						const found = Float32Array.from(qkv.grad!.dataSync() as Float32Array);
						qkv.zeroGrad();
						return found;
					};
					assertClose(gradient(fused), gradient(composed), 1e-6, `gradient of ${used}`);
				}
				fused.forEach((x, i) =>
					assertClose(
						Float32Array.from(x.dataSync() as Float32Array),
						contiguous(composed[i]!).dataSync() as Float32Array,
						1e-6,
						"qkv"[i]!,
					)
				);
			});
		}
	},
);

deviceTest("a split that does not go is refused with its numbers", () => {
	using qkv = Tensor.zeros<"float32", 2>(device, "float32", [6, 24]);
	using table = new RotaryTable(device, 5, 6, 100);
	const split = (heads: number, kv: number, options = {}) => () =>
		splitHeadsRotary(qkv, table, heads, kv, options);
	assertThrows(split(4, 3), RangeError, "4 heads and 3 of keys");
	assertThrows(split(2, 1, { batch: 4 }), RangeError, "Cannot split [6,24] into 4 sequences");
	assertThrows(
		split(2, 1, { batch: 2, first: 3 }),
		RangeError,
		"from position 3 on by 3 pairs at 5",
	);
	assertThrows(split(4, 1), RangeError, "3 pairs");
});
