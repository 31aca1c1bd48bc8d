// The first place of a value along the middle axis of [outer, reduced, inner] against a search.

import { lines, type Reduced } from "./reduce.ts";
import { assertAllSame, type Bench, FLOATS, type FloatType, selfTest } from "./self_test.ts";

/** What `index` holds before: larger than any index, and a repeated byte. */
const NOWHERE = 0x7f7f7f7f;

/** Compares the first place of `value(line)` in each line of x with a search. */
export function checkFind(
	bench: Bench,
	dtype: FloatType,
	x: ArrayLike<number>,
	shape: Reduced,
	value: (line: number[]) => number,
	by: "rows" | "columns" = shape.inner === 1 ? "rows" : "columns",
): void {
	const { outer, reduced, inner, parts } = shape, from = bench.given(dtype, x);
	const each = lines(from.numbers, shape), targets = Float32Array.from(each, value);
	const expected = each.map((line, i) => {
		const at = line.findIndex((v) => v === targets[i] || (v !== v && targets[i] !== targets[i]));
		return at < 0 ? NOWHERE : at;
	});
	const index = bench.given("int32", expected.map(() => NOWHERE));
	const rows = outer * parts * inner, extents = by === "rows" ? [] : [inner];
	const kernel = `find_${by}_${dtype}`;
	bench.overRows(kernel, rows, index, from, targets, outer, reduced, ...extents, parts);
	assertAllSame(index, expected, `find in ${by} [${outer}, ${reduced}, ${inner}]`);
}

/** Each kernel of find.cu. */
export const selfTests = (["rows", "columns"] as const).flatMap((by) =>
	FLOATS.map((dtype) =>
		selfTest([`find_${by}_${dtype}`], (bench) => {
			const [outer, inner] = by === "rows" ? [33, 1] : [2, 67];
			const shape = { outer, reduced: 301, inner, parts: 3 };
			const x = bench.normals(outer * 301 * inner);
			return checkFind(bench, dtype, x, shape, (line) => Math.max(...line), by);
		})
	)
);
