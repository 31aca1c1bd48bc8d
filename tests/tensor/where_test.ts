// A choice between tensors, broadcast together, with gradients, against plain loops.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { where } from "../../src/tensor/where.ts";
import { checkOp, numbers } from "./gradients.ts";
import { device, deviceTest, random } from "./on_device.ts";
import { elementwise } from "./plain_broadcast.ts";

const mask = (shape: number[], transposed = false) => ({
	shape,
	dtype: "uint8" as const,
	data: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => Math.floor(random() * 3)),
	gradient: false,
	transposed,
});

deviceTest("where chooses between tensors of any strides, and so go the gradients", () => {
	const shapes = [
		[[3, 65], [3, 65], [3, 65]],
		[[65], [3, 65], [3, 1]],
		[[3, 1], [65], [1]],
		[
			[2, 3, 5],
			[3, 5],
			[],
		],
		[[], [4], [4]],
		[[0], [0], [1]],
	];
	for (const [condition, a, b] of shapes) {
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const transposed of [false, true]) {
				const turned = (shape: number[]) => transposed && shape.length > 1;
				checkOp({
					name: `where [${condition}] chooses between ${dtype} [${a}] and [${b}]`,
					inputs: [
						mask(condition, turned(condition)),
						{ shape: a, dtype, transposed: turned(a) },
						{ shape: b, dtype },
					],
					op: (condition, a, b) => where(condition, a, b),
					reference: (...all) => elementwise(all, (condition, a, b) => condition ? a : b),
				});
			}
		}
	}
});

deviceTest("where takes numbers", () => {
	checkOp({
		name: "where(condition, x, -2)",
		inputs: [mask([3, 65]), { shape: [3, 65] }],
		op: (condition, x) => where(condition, x, -2),
		reference: (...all) => elementwise(all, (condition, x) => condition ? x : -2),
	});
	checkOp({
		name: "where(condition, 0.5, x)",
		inputs: [mask([65]), { shape: [3, 65], dtype: "bfloat16" }],
		op: (condition, x) => where(condition, 0.5, x),
		reference: (...all) => elementwise(all, (condition, x) => condition ? 0.5 : x),
	});
});

deviceTest("where chooses whole numbers, and NaN that is not chosen leaves no trace", () => {
	using condition = Tensor.from<"uint8", 1>(device, "uint8", [3], [1, 0, 7]);
	using a = Tensor.from<"int32", 1>(device, "int32", [3], [2 ** 30 + 1, 2, 3]);
	using chosen = where(condition, a, -5);
	assertEquals([...chosen.dataSync()], [2 ** 30 + 1, -5, 3]);
	using x = Tensor.from<"float32", 1>(device, "float32", [3], [1, NaN, 3]).requireGrad();
	using y = Tensor.from<"float32", 1>(device, "float32", [3], [NaN, 5, NaN]).requireGrad();
	using z = where(condition, x, y);
	using g = Tensor.from<"float32", 1>(device, "float32", [3], [1, 2, 3]);
	z.backward({ gradient: g });
	assertEquals(numbers(z), [1, 5, 3]);
	assertEquals([numbers(x.grad!), numbers(y.grad!)], [[1, 0, 3], [0, 2, 0]]);
});

deviceTest("where wants a mask", () => {
	using x = Tensor.zeros<"float32", 1>(device, "float32", [2]);
	assertThrows(
		() => where(x as unknown as Tensor<"uint8", 1>, x, x),
		TypeError,
		"Cannot choose by a condition of float32: it must be uint8",
	);
});
