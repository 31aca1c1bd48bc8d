// Comparisons and logic with broadcasting, against plain loops.

import { assertEquals } from "@std/assert";
import { type DType, Tensor } from "../../mod.ts";
import * as comparisons from "../../src/tensor/compare.ts";
import { checkOp, numbers } from "./gradients.ts";
import { device, deviceTest, random } from "./on_device.ts";
import { elementwise } from "./plain_broadcast.ts";

type Operation = (a: Tensor | number, b: Tensor | number) => Tensor;
const operations: Record<string, (a: number, b: number) => boolean> = {
	equal: (a, b) => a === b,
	notEqual: (a, b) => a !== b,
	less: (a, b) => a < b,
	lessEqual: (a, b) => a <= b,
	greater: (a, b) => a > b,
	greaterEqual: (a, b) => a >= b,
};

const few = (size: number, dtype: DType) =>
	Array.from({ length: size }, () => {
		const value = Math.floor(random() * 5);
		return dtype === "uint8" ? value : value === 4 && dtype !== "int32" ? NaN : value - 2;
	});

for (const [name, exact] of Object.entries(operations)) {
	const op = comparisons[name as "less"] as unknown as Operation;
	const types: DType[] = ["float32", "bfloat16", "int32"];
	if (name.toLowerCase().endsWith("equal") && name.length < 9) types.push("uint8");
	deviceTest(`${name} of tensors and numbers`, () => {
		for (const dtype of types) {
			for (
				const [a, b] of [[[], []], [[3, 65], [65]], [[3, 1], [1, 5]], [[2, 9], [2, 9]], [[0], [1]]]
			) {
				const given = (shape: number[], transposed = false) => ({
					shape,
					dtype,
					data: few(shape.reduce((a, b) => a * b, 1), dtype),
					gradient: false,
					transposed,
				});
				for (const transposed of [false, a.length > 1 && b.length > 1]) {
					checkOp({
						name: `${name} of ${dtype} [${a}] and [${b}]`,
						inputs: [given(a, transposed), given(b)],
						op,
						reference: (a, b) => elementwise([a, b], (a, b) => Number(exact(a, b))),
						tolerance: 0,
					});
				}
				checkOp({
					name: `${name} of ${dtype} and numbers`,
					inputs: [given(a)],
					op: (x) => op(x, 1),
					reference: (a) => a.data.map((a) => Number(exact(a, 1))),
					tolerance: 0,
				});
				checkOp({
					name: `${name} of numbers and ${dtype}`,
					inputs: [given(a)],
					op: (x) => op(1, x),
					reference: (a) => a.data.map((a) => Number(exact(1, a))),
					tolerance: 0,
				});
			}
		}
	});
}

deviceTest("logic takes any value but 0 for true", () => {
	using a = Tensor.from<"uint8", 1>(device, "uint8", [5], [0, 1, 2, 0, 255]);
	using b = Tensor.from<"uint8", 1>(device, "uint8", [5], [0, 0, 3, 1, 4]);
	using both = comparisons.logicalAnd(a, b);
	using either = comparisons.logicalOr(a, b);
	using not = comparisons.logicalNot(a);
	assertEquals([...both.dataSync()], [0, 0, 1, 0, 1]);
	assertEquals([...either.dataSync()], [0, 1, 1, 1, 1]);
	assertEquals([...not.dataSync()], [1, 0, 0, 1, 0]);
});

deviceTest("NaN and infinities are found", () => {
	const data = [NaN, Infinity, -Infinity, 0, 3e38, -1];
	using x = Tensor.from<"float32", 1>(device, "float32", [6], data).requireGrad();
	using nan = comparisons.isNaN(x);
	using finite = comparisons.isFinite(x);
	assertEquals(numbers(nan), data.map((x) => Number(Number.isNaN(x))));
	assertEquals(numbers(finite), data.map((x) => Number(Number.isFinite(x))));
	assertEquals(finite.requiresGrad, false);
});
