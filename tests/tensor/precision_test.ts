// What is taken to float32 and back: itself where nothing is to be done, else converted, and always contiguous.

import { assert, assertEquals } from "@std/assert";
import { scope, Tensor } from "../../mod.ts";
import { inType, toFloat32 } from "../../src/tensor/precision.ts";
import { bfloat16Bits, device, deviceTest } from "./on_device.ts";

deviceTest("float32 that is contiguous stays itself", () => {
	using x = Tensor.from<"float32", 1>(device, "float32", [2], [1, 2]);
	assert(toFloat32(x) === x && inType(x, "float32") === x);
});

deviceTest("bfloat16, and other strides, become contiguous float32", () => {
	scope(() => {
		const matrix = [[1, 2, 3], [4, 5, 6]];
		const x = Tensor.from<"float32", 2>(device, "float32", [2, 3], matrix.flat());
		const half = Tensor.from<"bfloat16", 2>(
			device,
			"bfloat16",
			[2, 3],
			matrix.flat().map(bfloat16Bits),
		);
		for (const from of [x, half]) {
			const to = toFloat32(from.transpose());
			assert(to.isContiguous);
			assertEquals([...to.shape], [3, 2]);
			assertEquals([...to.dataSync()], [1, 4, 2, 5, 3, 6]);
		}
	});
});

deviceTest("a result is rounded to bfloat16 once", () => {
	using x = Tensor.from<"float32", 1>(device, "float32", [2], [1 + 2 ** -9, -3.14159]);
	using y = inType(x, "bfloat16");
	assertEquals([...y.dataSync()], [1 + 2 ** -9, -3.14159].map(bfloat16Bits));
});
