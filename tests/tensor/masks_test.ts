// Masks and biases of attention as users make them; the kernels are tested in tests/cuda/kernels/.

import { assertEquals, assertThrows } from "@std/assert";
import { alibiBias, alibiSlopes, causalMask } from "../../src/tensor/masks.ts";
import { deviceTest } from "./on_device.ts";

deviceTest("a query sees the keys up to itself, or the nearest of them", () => {
	using all = causalMask(3);
	assertEquals([all.dtype, [...all.shape]], ["uint8", [3, 3]]);
	assertEquals([...all.dataSync()], [1, 0, 0, 1, 1, 0, 1, 1, 1]);
	using late = causalMask(2, 4);
	assertEquals([...late.dataSync()], [1, 1, 1, 0, 1, 1, 1, 1]);
	using early = causalMask(2, 4, { first: 0 });
	assertEquals([...early.dataSync()], [1, 0, 0, 0, 1, 1, 0, 0]);
	using near = causalMask(3, 3, { window: 2, dtype: "float32" });
	const no = -Infinity;
	assertEquals([...near.dataSync()], [0, no, no, 0, 0, no, no, 0, 0]);
});

deviceTest("a window that is none is refused", () => {
	for (const window of [0, -1, 1.5, NaN]) {
		assertThrows(
			() => causalMask(2, 2, { window }),
			RangeError,
			`Cannot make a mask with a window of ${window} keys`,
		);
	}
});

Deno.test("slopes are powers of two, and those between for other numbers of heads", () => {
	assertEquals(alibiSlopes(8), [1, 2, 3, 4, 5, 6, 7, 8].map((n) => 2 ** -n));
	assertEquals(alibiSlopes(1), [2 ** -8]);
	assertEquals(alibiSlopes(2), [2 ** -4, 2 ** -8]);
	// The 12 of the authors' code: 8 as above, then 2^-0.5, 2^-1.5, ...
	assertEquals(alibiSlopes(12).slice(8), [0.5, 1.5, 2.5, 3.5].map((n) => 2 ** -n));
	assertThrows(() => alibiSlopes(0), RangeError, "Cannot make slopes of 0 heads");
});

deviceTest("biases are slopes times distances", () => {
	using bias = alibiBias([0.5, 2], 2, 3);
	assertEquals([...bias.shape], [2, 2, 3]);
	assertEquals([...bias.dataSync()].map((x) => x + 0), [
		...[-0.5, 0, -0.5, -1, -0.5, 0],
		...[-2, 0, -2, -4, -2, 0],
	]);
});
