// The shared definitions, by numbers worked out by hand. Attention to a key is tested in detectors_test.ts.

import { assertEquals } from "@std/assert";
import { FIRST, maxOverMean, shareOfSinks, valueRatios } from "../../src/outliers/measures.ts";

Deno.test("the largest magnitude over the mean, of zeros 0", () => {
	const largest = [{ value: -12, row: 0, column: 0 }, { value: 3, row: 1, column: 0 }];
	assertEquals(maxOverMean({ largest, mean: 1.5 }), 8);
	assertEquals(maxOverMean({ largest: [{ value: 0, row: 0, column: 0 }], mean: 0 }), 0);
});

Deno.test("a head is a sink above the threshold, not at it", () => {
	assertEquals(shareOfSinks([0.3, 0.31, 0.9, 0]), 0.5);
	assertEquals(shareOfSinks([0.3, 0.31, 0.9, 0], 0.5), 0.25);
});

Deno.test("values of chosen tokens are compared with those of the others, head by head", () => {
	const norms = Float32Array.of(1, 4, 6, 5, 3, 3, 2, 1);
	assertEquals(valueRatios(norms, 4, FIRST), [1 / 5, 3 / 2]);
	assertEquals(valueRatios(norms, 4, new Set([0, 2])), [3.5 / 4.5, 2.5 / 2]);
	assertEquals(valueRatios(norms, 1, FIRST).every(Number.isNaN), true);
	assertEquals(valueRatios(norms, 4, new Set()).every(Number.isNaN), true);
	assertEquals(valueRatios(Float32Array.of(2, 0, 0), 3, FIRST), [Infinity]);
});
