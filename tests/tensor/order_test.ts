// Sorting, top-k, quantiles and medians against plain sorting, and their gradients.

import { assertEquals, assertThrows } from "@std/assert";
import { median, quantile, sort, type Sorted, Tensor, topK } from "../../mod.ts";
import { sortRows } from "../../src/tensor/order.ts";
import { checkOp, numbers } from "./gradients.ts";
import { linesAlong, mapAlong } from "./plain.ts";
import { device, deviceTest, random } from "./on_device.ts";

/** Numbers of which no two are equal, nor so close that a small step changes their order. */
function apart(count: number): number[] {
	const numbers = Array.from({ length: count }, (_, i) => (i - count / 3) / 8);
	for (let i = count - 1; i > 0; i--) {
		const j = Math.floor(random() * (i + 1));
		[numbers[i], numbers[j]] = [numbers[j]!, numbers[i]!];
	}
	return numbers;
}
const ascending = (line: number[]) => line.toSorted((a, b) => a - b);

const valuesOf = ({ values, indices }: Sorted<"float32", number>) => {
	indices.dispose();
	return values;
};

for (const axis of [0, 1, -1]) {
	deviceTest(`sort and topK along axis ${axis}`, () => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			const inputs = [{ shape: [3, 5, 7], data: apart(105), dtype, transposed: axis === 1 }];
			checkOp({
				name: "sort",
				inputs,
				op: (x) => valuesOf(sort(x, axis)),
				reference: (x) => mapAlong(x, axis, ascending),
			});
			checkOp({
				name: "topK",
				inputs,
				op: (x) => valuesOf(topK(x, 2, axis)),
				reference: (x) => {
					const shape = x.shape.with(axis, 2), size = shape.reduce((a, b) => a * b);
					const lines = linesAlong(x, [axis]);
					let line = 0;
					return mapAlong(
						{ shape, data: new Float64Array(size) },
						axis,
						() => ascending(lines[line++]!).toReversed().slice(0, 2),
					);
				},
			});
		}
	});
}

deviceTest("indices say where sorted elements come from", () => {
	const data = [3, 1, 2, 1, 5, 5, 0, NaN];
	using x = Tensor.from<"float32", 2>(device, "float32", [2, 4], data);
	const up = sort(x),
		down = sort(x, -1, { descending: true }),
		least = topK(x, 2, 1, { smallest: true });
	assertEquals(numbers(up.values), [1, 1, 2, 3, 0, 5, 5, NaN]);
	assertEquals(numbers(up.indices), [1, 3, 2, 0, 2, 0, 1, 3]);
	assertEquals(numbers(down.indices), [0, 2, 1, 3, 3, 0, 1, 2]);
	assertEquals(numbers(least.values), [1, 1, 0, 5]);
	for (const { values, indices } of [up, down, least]) {
		values.dispose();
		indices.dispose();
	}
});

deviceTest("many rows are sorted in several steps", () => {
	const data = Float32Array.from({ length: 7 * 30 }, () => random());
	using x = Tensor.from<"float32", 2>(device, "float32", [7, 30], data);
	for (const most of [1, 60, 100, 1000]) {
		const { values, indices } = sortRows(x, 7, 30, 30, false, most);
		const lines = linesAlong({ shape: [7, 30], data: Float64Array.from(data) }, [1]);
		assertEquals(numbers(values), lines.flatMap(ascending));
		assertEquals(
			numbers(indices).map((i, j) => data[Math.floor(j / 30) * 30 + i]),
			numbers(values),
		);
		values.dispose();
		indices.dispose();
	}
});

for (const axes of [undefined, 0, -1, [0, 2], [1, 2]]) {
	deviceTest(`quantile and median over ${axes ?? "all"}`, () => {
		const inputs = [{ shape: [3, 4, 6], data: apart(72) }],
			list = axes === undefined ? [0, 1, 2] : [axes].flat();
		for (const q of [0, 0.3, 0.5, 1]) {
			checkOp({
				name: "quantile",
				inputs,
				op: (x) => quantile(x, q, axes, { keepDims: true }),
				reference: (x) =>
					linesAlong(x, list).map((line) => {
						const sorted = ascending(line), at = q * (line.length - 1), lower = Math.floor(at);
						return sorted[lower]! + (at - lower) * ((sorted[lower + 1] ?? 0) - sorted[lower]!);
					}),
			});
		}
		checkOp({
			name: "median",
			inputs,
			op: (x) => median(x, axes),
			reference: (x) =>
				linesAlong(x, list).map((line) => ascending(line)[Math.floor((line.length - 1) / 2)]!),
		});
	});
}

deviceTest("what is empty, out of range or NaN", () => {
	using x = Tensor.from<"float32", 1>(device, "float32", [3], [1, NaN, 2]);
	using q = quantile(x, 0.5), m = median(x);
	assertEquals([q.dataSync()[0], m.dataSync()[0]], [NaN, NaN]);
	using empty = Tensor.zeros<"float32", 2>(device, "float32", [2, 0]);
	const { values, indices } = sort(empty), none = topK(x, 0);
	assertEquals([[...values.shape], [...indices.shape], [...none.values.shape]], [[2, 0], [2, 0], [
		0,
	]]);
	for (const one of [values, indices, none.values, none.indices]) one.dispose();
	assertThrows(
		() => median(empty, 1),
		RangeError,
		"Cannot compute median of [2,0]: there are no elements",
	);
	assertThrows(
		() => quantile(x, 1.5),
		RangeError,
		"Cannot compute quantile: q must be from 0 to 1, got 1.5",
	);
	assertThrows(
		() => topK(x, 4),
		RangeError,
		"Cannot compute topK of [3] along axis -1: k must be from 0 to 3, got 4",
	);
});
