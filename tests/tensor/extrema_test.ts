// Extrema, where they are, and any and all, against plain loops; NaN and ties as in PyTorch.

import { assertEquals, assertThrows } from "@std/assert";
import { all, any, argmax, argmin, max, median, min, Tensor } from "../../mod.ts";
import { checkOp } from "./gradients.ts";
import { linesAlong } from "./plain.ts";
import { device, deviceTest, normal, random } from "./on_device.ts";

const AXES: (number | number[] | undefined)[] = [undefined, 0, 1, -1, [0, 2], [1, 2]];
const list = (axes: number | number[] | undefined) =>
	axes === undefined ? [0, 1, 2] : [axes].flat();

for (const axes of AXES) {
	deviceTest(`max and min over ${axes ?? "all"}`, () => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const [op, of] of [[max, Math.max], [min, Math.min]] as const) {
				checkOp({
					name: op.name,
					inputs: [{ shape: [3, 5, 70], dtype }],
					op: (x) => op(x, axes),
					reference: (x) => linesAlong(x, list(axes)).map((line) => of(...line)),
					step: dtype === "float32" ? 1e-7 : 1e-6,
				});
			}
		}
	});
}

deviceTest("equal extrema share the gradient", () => {
	using x = Tensor.from<"float32", 2>(device, "float32", [2, 3], [1, 1, 0, 2, 3, 3]).requireGrad();
	using rows = max(x, 1);
	using g = Tensor.from<"float32", 1>(device, "float32", [2], [1, 4]);
	rows.backward({ gradient: g });
	assertEquals([...x.grad!.dataSync()], [0.5, 0.5, 0, 0, 2, 2]);
});

deviceTest("argmax and argmin give the first of equal elements, along each axis", () => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		const data = Array.from({ length: 3 * 5 * 70 }, () => Math.floor(random() * 4));
		const bits = dtype === "float32" ? data : data.map((v) => [0, 0x3f80, 0x4000, 0x4040][v]!);
		using x = Tensor.from<typeof dtype, 3>(device, dtype, [3, 5, 70], bits);
		const plain = { shape: [3, 5, 70], data: Float64Array.from(data) };
		for (const axis of [undefined, 0, 1, 2, -1]) {
			const lines = linesAlong(plain, list(axis));
			using largest = argmax(x, axis), smallest = argmin(x, axis, { keepDims: true });
			assertEquals([...largest.dataSync()], lines.map((line) => line.indexOf(Math.max(...line))));
			assertEquals([...smallest.dataSync()], lines.map((line) => line.indexOf(Math.min(...line))));
		}
	}
});

deviceTest("the maximum of a long line is found, and NaN is the extremum", () => {
	const data = normal(100_000);
	data[77_777] = 100;
	using x = Tensor.from<"float32", 1>(device, "float32", [100_000], data);
	using where = argmax(x);
	assertEquals([...where.dataSync()], [77_777]);
	using y = Tensor.from<"float32", 1>(device, "float32", [4], [1, NaN, 7, NaN]);
	using most = max(y), least = min(y), first = argmax(y), last = argmin(y);
	assertEquals([most, least, first, last].map((v) => v.dataSync()[0]), [NaN, NaN, 1, 1]);
	using infinite = Tensor.from<"float32", 1>(device, "float32", [2], [-Infinity, -Infinity]);
	using none = max(infinite), at = argmax(infinite);
	assertEquals([none.dataSync()[0], at.dataSync()[0]], [-Infinity, 0]);
});

deviceTest("the extremum of nothing is refused, unless there are no results", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [0, 3]);
	assertThrows(
		() => max(x, 0),
		RangeError,
		"Cannot compute max of [0,3]: there are no elements to choose from",
	);
	assertThrows(() => argmin(x), RangeError, "Cannot compute argmin of [0,3]");
	using nothing = Tensor.zeros<"float32", 2>(device, "float32", [0, 0]);
	const choices = [() => max(nothing, 1), () => argmin(nothing, 1), () => median(nothing, 1)];
	for (const choose of choices) assertThrows(choose, RangeError, "of [0,0]: there are no elements");
	using none = max(x, 1);
	assertEquals([...none.shape], [0]);
});

deviceTest("any and all over axes, and of nothing", () => {
	const data = Array.from({ length: 3 * 5 * 7 }, () => random() < 0.5 ? 0 : 255);
	using x = Tensor.from<"uint8", 3>(device, "uint8", [3, 5, 7], data);
	const plain = { shape: [3, 5, 7], data: Float64Array.from(data) };
	for (const axes of AXES) {
		const lines = linesAlong(plain, list(axes));
		using some = any(x, axes), each = all(x, axes);
		assertEquals([...some.dataSync()], lines.map((line) => line.some(Boolean) ? 1 : 0));
		assertEquals([...each.dataSync()], lines.map((line) => line.every(Boolean) ? 1 : 0));
	}
	using empty = Tensor.zeros<"uint8", 1>(device, "uint8", [0]);
	using none = any(empty), every = all(empty);
	assertEquals([none.dataSync()[0], every.dataSync()[0]], [0, 1]);
});
