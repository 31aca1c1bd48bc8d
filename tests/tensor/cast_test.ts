// Rounding to bfloat16 (nearest, ties to even) and back, bit for bit.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { cast } from "../../src/tensor/cast.ts";
import { checkOp } from "./gradients.ts";
import { bfloat16Bits, device, deviceTest, fromBfloat16, normal } from "./on_device.ts";

for (const count of [1, 31, 1000]) {
	deviceTest(`${count} numbers are cast to bfloat16 and back`, async () => {
		const data = normal(count, 1e3);
		using x = Tensor.from<"float32", 3>(device, "float32", [1, count, 1], data);
		using half = cast(x, "bfloat16");
		assertEquals([half.dtype, [...half.shape]], ["bfloat16", [1, count, 1]]);
		assertEquals([...await half.data()], [...data].map(bfloat16Bits));
		using back = cast(half, "float32");
		assertEquals([...await back.data()], [...data].map((x) => fromBfloat16(bfloat16Bits(x))));
	});
}

deviceTest("ties go to even, and zero, infinity and not-a-number stay what they are", async () => {
	const cases: [number, number][] = [
		[1 + 2 ** -8, 0x3f80], // halfway to 1 + 2⁻⁷: down to the even 1
		[1 + 3 * 2 ** -8, 0x3f82], // halfway: up to the even 1 + 2⁻⁶
		[1 + 2 ** -8 + 2 ** -20, 0x3f81], // above halfway
		[-(1 + 2 ** -8), 0xbf80],
		[0, 0],
		[-0, 0x8000],
		[Infinity, 0x7f80],
		[-Infinity, 0xff80],
		[3.4e38, 0x7f80], // rounds beyond the largest
	];
	const input = [...cases.map(([x]) => x), NaN];
	using x = Tensor.from<"float32", 1>(device, "float32", [input.length], input);
	using half = cast(x, "bfloat16");
	const bits = [...await half.data()];
	assertEquals(bits.slice(0, -1), cases.map(([, expected]) => expected));
	assertEquals(fromBfloat16(bits.at(-1)!), NaN);
});

deviceTest("a cast to the same type is refused", () => {
	using x = Tensor.zeros<"float32", 1>(device, "float32", [2]);
	// @ts-expect-error: a float32 tensor is float32 already
	assertThrows(() => cast(x, "float32"), TypeError, "Cannot cast: the tensor is float32 already");
});

deviceTest("gradients are cast back", () => {
	for (const [from, to] of [["float32", "bfloat16"], ["bfloat16", "float32"]] as const) {
		checkOp({
			name: `cast from ${from} to ${to}`,
			inputs: [{ shape: [3, 65], dtype: from, transposed: true }],
			op: (x) => cast(x as Tensor<"float32">, to as "bfloat16"),
			reference: (x) => x.data,
		});
	}
});

deviceTest("whole numbers and masks become floats, and floats whole numbers, cut towards 0", () => {
	using ids = Tensor.from<"int32", 1>(device, "int32", [4], [0, -7, 2 ** 24 + 1, -(2 ** 31)]);
	using floats = cast(ids, "float32");
	assertEquals([...floats.dataSync()], [0, -7, 2 ** 24, -(2 ** 31)]);
	using mask = Tensor.from<"uint8", 1>(device, "uint8", [3], [0, 1, 255]);
	using weights = cast(mask, "float32");
	assertEquals([...weights.dataSync()], [0, 1, 255]);
	const data = [1.9, -1.9, 0.5, 3e9, -3e9, 2 ** 31 - 128, Infinity, -Infinity, NaN];
	using x = Tensor.from<"float32", 1>(device, "float32", [9], data).requireGrad();
	using whole = cast(x, "int32");
	const [most, least] = [2 ** 31 - 1, -(2 ** 31)];
	assertEquals([...whole.dataSync()], [1, -1, 0, most, least, 2 ** 31 - 128, most, least, 0]);
	assertEquals(whole.requiresGrad, false);
});
