// How reductions are collapsed and cut; their values are tested through the operations.

import { assertEquals } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { partsOf, reduceAxes, reduceMiddle } from "../../src/tensor/reduce.ts";
import { assertClose, device, deviceTest, normal } from "./on_device.ts";

Deno.test("few long lines are cut, many or short ones are not", () => {
	assertEquals(partsOf({ outer: 1, reduced: 8191, inner: 1 }), 1);
	assertEquals(partsOf({ outer: 1, reduced: 8192, inner: 1 }), 2);
	assertEquals(partsOf({ outer: 1, reduced: 2 ** 31, inner: 1 }), 2 ** 19);
	assertEquals(partsOf({ outer: 4096, reduced: 50304, inner: 1 }), 1);
	assertEquals(partsOf({ outer: 1, reduced: 4096, inner: 768 }), 64);
	assertEquals(partsOf({ outer: 48, reduced: 127, inner: 64 }), 1);
});

deviceTest("a line that is cut twice has the sum of the whole", async () => {
	const count = 2 * 4096 * 4096 + 5;
	using x = Tensor.empty<"float32", 1>(device, "float32", [count]);
	const block = normal(1000).map(Math.abs);
	x.device.fill(x.pointer, 0, x.byteLength);
	x.device.upload(x.pointer + 4 * (count - 1000), block);
	using y = reduceMiddle("sum", x, { outer: 1, reduced: count, inner: 1 }, null, 2);
	assertClose(await y.data(), [2 * block.reduce((a, b) => a + b)], 1e-5, "the sum");
});

deviceTest("axes are reduced run by run, with the operation that merges its parts", async () => {
	const data = normal(2 * 3 * 5 * 7);
	using x = Tensor.from<"float32", 4>(device, "float32", [2, 3, 5, 7], data);
	using y = reduceAxes("sum_absolute", x, (axis) => axis % 2 === 1, 0.5);
	const expected = new Float64Array(10);
	data.forEach((v, i) =>
		expected[Math.floor(i / 105) * 5 + Math.floor(i / 7) % 5]! += Math.abs(v) / 2
	);
	assertClose(await y.data(), expected, 1e-6, "sums");
});
