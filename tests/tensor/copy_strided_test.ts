// How a copy's axes are merged; the copies themselves are tested in tests/cuda/kernels/copy_test.ts.

import { assertEquals } from "@std/assert";
import { collapseAxes } from "../../src/tensor/copy_strided.ts";

const collapse = (shape: number[], to: number[], from: number[]) =>
	collapseAxes(shape, to, from).map(({ extent, to, from }) => [extent, to, from]);

Deno.test("axes that step as one are merged, and those of one entry dropped", () => {
	assertEquals(collapse([2, 3, 4], [12, 4, 1], [12, 4, 1]), [[24, 1, 1]]);
	assertEquals(collapse([2, 3, 4], [12, 4, 1], [0, 4, 1]), [[2, 12, 0], [12, 1, 1]]);
	assertEquals(collapse([2, 3, 4], [12, 4, 1], [0, 0, 0]), [[24, 1, 0]]);
	assertEquals(collapse([2, 3, 4], [12, 4, 1], [4, 8, 1]), [[2, 12, 4], [3, 4, 8], [4, 1, 1]]);
	assertEquals(collapse([2, 1, 4], [4, 99, 1], [4, 7, 1]), [[8, 1, 1]]);
	assertEquals(collapse([1, 1], [5, 1], [0, 3]), []);
	assertEquals(collapse([], [], []), []);
});

Deno.test("axes come in the order of the target", () => {
	assertEquals(collapse([4, 3], [1, 4], [3, 1]), [[3, 4, 1], [4, 1, 3]]);
	assertEquals(collapse([4, 3], [1, 4], [1, 4]), [[12, 1, 1]]);
});
