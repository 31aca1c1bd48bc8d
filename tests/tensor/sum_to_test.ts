// sumTo against broadcasting: every way in which a shape can be broadcast.

import { assertEquals, assertThrows } from "@std/assert";
import { type Shape, Tensor } from "../../mod.ts";
import { sumTo } from "../../src/tensor/sum_to.ts";
import { bfloat16Bits, device, deviceTest, fromBfloat16, normal, random } from "./on_device.ts";
import { assertClose } from "./on_device.ts";

/** Sums in float64 of the elements that each place of `shape` is broadcast to. */
function reference(data: ArrayLike<number>, from: readonly number[], shape: readonly number[]) {
	const size = shape.reduce((a, b) => a * b, 1), result = new Float64Array(size);
	for (let i = 0; i < data.length; i++) {
		let rest = i, at = 0, stride = 1;
		for (let axis = from.length - 1; axis >= 0; axis--) {
			const place = rest % from[axis]!, extent = shape[axis - from.length + shape.length] ?? 1;
			rest = Math.floor(rest / from[axis]!);
			if (extent !== 1) at += place * stride;
			stride *= extent;
		}
		result[at]! += data[i]!;
	}
	return result;
}

/** Numbers whose sums do not cancel. */
const positive = (count: number) => normal(count).map((v) => 1 + Math.abs(v));

const CASES: [from: number[], to: number[]][] = [
	[[7], []],
	[[5, 7], [7]],
	[[5, 7], [5, 1]],
	[[5, 7], [1, 1]],
	[[2, 3, 5], [3, 1]],
	[[2, 3, 5], [2, 1, 5]],
	[[3, 2, 5, 4], [1, 2, 1, 4]],
	[[3, 2, 5, 4], [3, 1, 5, 1]],
	[[4, 300, 70], [70]],
	[[300, 70], [300, 1]],
	[[1, 20_011], [1]],
	[[3, 1, 2], [3, 1, 2]],
	[[1, 3], [3]],
	[[0, 3], [3]],
	[[3, 0], [3, 1]],
	[[3, 0], [0]],
	[[], []],
];

for (const [from, to] of CASES) {
	deviceTest(`sumTo takes [${from}] to [${to}]`, async () => {
		const data = positive(from.reduce((a, b) => a * b, 1));
		using x = Tensor.from(device, "float32", from as Shape<number>, data);
		using y = sumTo(x, to as Shape<number>);
		assertEquals([...y.shape], to);
		assertClose(await y.data(), reference(data, from, to), 1e-6, `[${from}] to [${to}]`);
	});
}

deviceTest("sumTo of random shapes equals the sum over what was broadcast", async () => {
	for (let i = 0; i < 50; i++) {
		const from = Array.from(
			{ length: 1 + Math.floor(random() * 5) },
			() => Math.floor(1 + random() * 6),
		);
		const to = from.slice(Math.floor(random() * from.length)).map((n) => random() < 0.5 ? 1 : n);
		const data = positive(from.reduce((a, b) => a * b, 1));
		using x = Tensor.from(device, "float32", from as Shape<number>, data);
		using y = sumTo(x, to as Shape<number>);
		assertClose(await y.data(), reference(data, from, to), 1e-6, `[${from}] to [${to}]`);
	}
});

deviceTest("sumTo of bfloat16 sums in float32 and rounds once", async () => {
	const bits = Uint16Array.from(positive(3000), bfloat16Bits);
	using x = Tensor.from<"bfloat16", 2>(device, "bfloat16", [1000, 3], bits);
	using y = sumTo(x, [3]);
	const expected = reference(Array.from(bits, fromBfloat16), [1000, 3], [3]);
	assertClose(Array.from(await y.data(), fromBfloat16), expected, 2 ** -8, "sums");
});

deviceTest("what is not broadcast is a view", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	using y = sumTo(x, [2, 3]);
	assertEquals(y.pointer, x.pointer);
});

deviceTest("a shape that does not broadcast is refused", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	for (const shape of [[2], [3, 3], [1, 2, 3]]) {
		assertThrows(
			() => sumTo(x, shape as Shape<number>),
			RangeError,
			`Cannot sum [2,3] to [${shape}]: that shape does not broadcast to it`,
		);
	}
});
