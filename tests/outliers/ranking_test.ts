// The largest of a list and its lower median.

import { assertEquals } from "@std/assert";
import { largestIndices, lowerMedian } from "../../src/outliers/ranking.ts";

Deno.test("the largest come first, and of equal ones the first", () => {
	assertEquals(largestIndices([3, 9, 9, 1, 9, 5], 4), [1, 2, 4, 5]);
	assertEquals(largestIndices([1, 1, 1, 1], 2), [0, 1]);
	assertEquals(largestIndices([-1, -3, -2], 2), [0, 2]);
});

Deno.test("fewer than asked for are all there are", () => {
	assertEquals(largestIndices([2, 7], 5), [1, 0]);
	assertEquals(largestIndices([], 5), []);
	assertEquals(largestIndices([2, 7], 0), []);
});

Deno.test("the largest of random lists are those of a stable sort", () => {
	for (let trial = 0; trial < 50; trial++) {
		const values = Float32Array.from({ length: 200 }, () => Math.floor(Math.random() * 30));
		const sorted = [...values.keys()].sort((a, b) => values[b] - values[a] || a - b);
		assertEquals(largestIndices(values, 17), sorted.slice(0, 17));
	}
});

Deno.test("the median is the middle value, or the lower of two, and the list stays as it was", () => {
	assertEquals(lowerMedian(Float64Array.of(5)), 5);
	assertEquals(lowerMedian(Float64Array.of(5, 1)), 1);
	assertEquals(lowerMedian(Float32Array.of(10, 9, 2)), 9); // by value, not as text
	const values = Float64Array.of(4, 1, 3, 2);
	assertEquals([lowerMedian(values), [...values]], [2, [4, 1, 3, 2]]);
});

Deno.test("the median of random lists is the middle of a sorted one", () => {
	for (let trial = 0; trial < 500; trial++) {
		const length = 1 + Math.floor(Math.random() * 60), sizes = 1 + Math.floor(Math.random() * 60);
		const values = Float64Array.from({ length }, () => Math.floor(Math.random() * sizes) - 9);
		const sorted = values.toSorted();
		assertEquals(lowerMedian(values), sorted[Math.floor((length - 1) / 2)], `${values}`);
		assertEquals(lowerMedian(sorted), lowerMedian(values));
	}
});
