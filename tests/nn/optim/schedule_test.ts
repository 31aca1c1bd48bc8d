// Learning rates at the steps where their formulas change.

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { constant, cosine, warmUpStableDecay } from "../../../src/nn/optim/schedule.ts";

Deno.test("a cosine rises, falls to its minimum and stays there", () => {
	const rate = cosine({ peak: 6e-4, warmUp: 2000, steps: 600_000, minimum: 6e-5 });
	assertAlmostEquals(rate(0), 6e-4 / 2001, 1e-12);
	assertAlmostEquals(rate(1999), 6e-4 * 2000 / 2001, 1e-12);
	assertEquals(rate(2000), 6e-4);
	assertAlmostEquals(rate(50_000), 5.9146e-4, 1e-8); // the paper's, at its 50,000th step
	assertAlmostEquals(rate(301_000), (6e-4 + 6e-5) / 2, 1e-12);
	assertEquals([rate(600_000), rate(1e7)], [6e-5, 6e-5]);
});

Deno.test("warm-up, stable, decay", () => {
	for (const shape of ["linear", "root"] as const) {
		const rate = warmUpStableDecay({
			peak: 1,
			warmUp: 9,
			steps: 100,
			decay: 40,
			minimum: 0.2,
			shape,
		});
		assertEquals([rate(0), rate(4), rate(9), rate(60)], [0.1, 0.5, 1, 1]);
		assertAlmostEquals(rate(70), shape === "linear" ? 0.8 : 0.6, 1e-12);
		assertAlmostEquals(rate(100), 0.2, 1e-12);
		assertAlmostEquals(rate(1000), 0.2, 1e-12);
	}
});

Deno.test("no first step has a rate of 0, and a constant is one", () => {
	const options = { peak: 0.5, steps: 10, warmUp: 3 };
	for (const make of [constant, cosine, warmUpStableDecay]) assert(make(options)(0) > 0);
	assertEquals([3, 50, 1000].map(constant(options)), [0.5, 0.5, 0.5]);
});

Deno.test("schedules refuse numbers that make none", () => {
	assertThrows(() => cosine({ peak: NaN, steps: 10 }), RangeError, "minimum is NaN");
	assertThrows(() => constant({ peak: -1 }), RangeError, "peak is -1");
	assertThrows(
		() => warmUpStableDecay({ peak: 1, steps: Infinity }),
		RangeError,
		"steps is Infinity",
	);
});
