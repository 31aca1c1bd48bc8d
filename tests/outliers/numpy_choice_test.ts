// The draws of numpy.random.seed(seed); numpy.random.choice(of, count, replace=False), as NumPy 2 gives them.

import { assertEquals } from "@std/assert";
import { numpyChoice } from "../../src/outliers/numpy_choice.ts";

Deno.test("draws are NumPy's, the second after the first", () => {
	assertEquals(numpyChoice(10, 4, 1), [2, 9, 6, 4]);
	assertEquals(numpyChoice(10, 4, 1, 1), [9, 5, 3, 0]);
	// Of as many rows as RedPajama-Data-1T-Sample has.
	assertEquals(numpyChoice(930514, 5, 1), [118526, 373513, 739973, 395957, 629175]);
	assertEquals(numpyChoice(1000, 6, 4294967295), [94, 405, 819, 632, 217, 169]);
});

Deno.test("no number is drawn twice, and all there are can be", () => {
	assertEquals(numpyChoice(777, 777, 5).sort((a, b) => a - b), [...Array(777).keys()]);
	assertEquals(numpyChoice(1, 1, 0), [0]);
});
