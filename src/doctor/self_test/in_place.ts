// Changes in place against the same sum and product in float64.

import { BYTES_PER_ELEMENT } from "../../tensor/dtype.ts";
import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** Compares y += x, and y *= factor, with the formulas. */
export function checkInPlace(
	bench: Bench,
	dtype: FloatType,
	count: number,
): number[] {
	const [x, before] = [0, 1].map(() => bench.given(dtype, bench.normals(count)));
	return ["add", "mul"].map((name) => {
		const y = bench.wanted(dtype, count), isSum = name === "add";
		bench.device.copy(y.pointer, before.pointer, count * BYTES_PER_ELEMENT[dtype]);
		bench.overElements(`in_place_${name}_${dtype}`, count, y, isSum ? x : -1.25, count);
		const expected = before.numbers.map((y, i) => isSum ? y + x.numbers[i] : y * -1.25);
		return assertClose(y, expected, TOLERANCE.elementwise(1), `${name} in place`);
	});
}

/** Each kernel of in_place.cu. */
export const selfTests = FLOATS.map((dtype) =>
	selfTest(
		[`in_place_add_${dtype}`, `in_place_mul_${dtype}`],
		(bench) => checkInPlace(bench, dtype, 5003),
	)
);
