// Spreads against values worked out by hand, and the coverage of their intervals.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { estimateOf } from "../../../mod.ts";
import { randomNumbers } from "../../../src/outliers/interventions/estimate.ts";

Deno.test("estimateOf() gives mean, deviation and an interval around the mean", () => {
	assertEquals(estimateOf([]), null);
	assertEquals(estimateOf([3]), { mean: 3, deviation: 0, interval: [3, 3], count: 1 });
	const { mean, deviation, interval: [low, high], count } = estimateOf([2, 4, 4, 10])!;
	assertEquals([mean, count], [5, 4]);
	assertAlmostEquals(deviation, Math.sqrt((9 + 1 + 1 + 25) / 3), 1e-12);
	assert(low >= 2 && low < 4 && high > 6 && high <= 10);
	assertEquals(estimateOf([2, 4, 4, 10]), estimateOf([2, 4, 4, 10]));
});

Deno.test("estimateOf()'s interval is that of the normal approximation, for many values", () => {
	const random = randomNumbers(7, "values");
	const values = Array.from({ length: 400 }, () => random());
	const { mean, deviation, interval: [low, high] } = estimateOf(values)!;
	const half = 1.96 * deviation / 20;
	assertAlmostEquals(low, mean - half, 0.15 * half);
	assertAlmostEquals(high, mean + half, 0.15 * half);
});

Deno.test("randomNumbers() differ by seed and words, and are even", () => {
	const firsts = [[1], [2], [1, "a"], [1, "b"], [1, 0, "a"], [1, 1, "a"]].map(([seed, ...words]) =>
		randomNumbers(seed as number, ...words)()
	);
	assertEquals(new Set(firsts).size, firsts.length);
	const random = randomNumbers(3), bins = new Float64Array(8);
	for (let i = 0; i < 8000; i++) bins[Math.floor(random() * 8)]!++;
	for (const count of bins) assert(Math.abs(count - 1000) < 150);
});
