// Conversion of numbers, against one that looks at both neighbours.

import { assert, assertEquals } from "@std/assert";
import { numbersToBfloat16 } from "../../src/doctor/self_test/compare.ts";
import { fromBfloat16, toBfloat16 } from "../../src/tensor/bfloat16.ts";
import { Random } from "../random.ts";

Deno.test("every bfloat16 comes back from its number", () => {
	for (let bits = 0; bits < 65536; bits++) {
		const value = fromBfloat16(bits);
		if (Number.isNaN(value)) assert(Number.isNaN(fromBfloat16(toBfloat16(value))));
		else assertEquals(toBfloat16(value), bits);
	}
});

Deno.test("numbers are rounded to nearest, ties to even, once", () => {
	const random = new Random();
	for (let i = 0; i < 20_000; i++) {
		const bits = random.bits() & 0xff7f; // finite and not the largest
		const low = fromBfloat16(bits), high = fromBfloat16(bits + 1), tie = (low + high) / 2;
		// As float32, the last two are the tie.
		for (
			const value of [
				low,
				tie,
				low + (high - low) * random.uniform(),
				tie * (1 + 2 ** -40),
				tie * (1 - 2 ** -40),
			]
		) {
			assertEquals(toBfloat16(value), numbersToBfloat16([value])[0], `${value}`);
		}
	}
	assertEquals([1e39, -1e39, Infinity].map(toBfloat16).map(fromBfloat16), [
		Infinity,
		-Infinity,
		Infinity,
	]);
});
