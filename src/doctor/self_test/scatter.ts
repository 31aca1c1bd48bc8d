// Sums by index against sums in float64.

import { indices, type Taken } from "./gather.ts";
import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** Compares sums of random rows by indices that all tables share, from zero or from what is there. */
export function checkAddRows(
	bench: Bench,
	[outer, extent, count, inner]: Taken,
	dtype: FloatType,
	fresh: boolean,
): number {
	const ids = indices(bench, count, extent), start = bench.normals(outer * extent * inner);
	const rows = bench.given(dtype, bench.normals(outer * count * inner));
	const to = fresh ? bench.wanted("float32", start.length) : bench.given("float32", start);
	const sizesOf = [outer, count, extent, inner];
	bench.overRows(`add_rows_${dtype}`, outer * extent, to, rows, ids, ...sizesOf, fresh);
	const expected = Float64Array.from(start, (value) => fresh ? 0 : value);
	const sizes = expected.map(Math.abs);
	rows.numbers.forEach((value, i) => {
		const row = Math.floor(i / inner), id = ids[row % count];
		if (id < 0 || id >= extent) return;
		const at = (Math.floor(row / count) * extent + id) * inner + i % inner;
		expected[at] += value;
		sizes[at] += Math.abs(value);
	});
	const what = `add_rows_${dtype} [${outer}, ${count}, ${inner}] to ${extent} rows`;
	return assertClose(to, expected, TOLERANCE.sum(count), what, sizes);
}

/** Compares sums of random elements by an index for each along the middle axis. */
export function checkAddAlong(
	bench: Bench,
	[outer, extent, count, inner]: Taken,
	dtype: FloatType,
): number {
	const at = indices(bench, outer * count * inner, extent);
	const from = bench.given(dtype, bench.normals(at.length));
	const to = bench.given("float32", bench.normals(outer * extent * inner));
	const sizesOf = [outer, extent, count, inner];
	bench.overElements(`add_along_${dtype}`, outer * inner, to, from, at, ...sizesOf);
	const expected = to.numbers.slice(), sizes = expected.map(Math.abs);
	at.forEach((index, i) => {
		if (index < 0 || index >= extent) return;
		const place = (Math.floor(i / (count * inner)) * extent + index) * inner + i % inner;
		expected[place] += from.numbers[i];
		sizes[place] += Math.abs(from.numbers[i]);
	});
	const what = `add_along_${dtype} [${outer}, ${count} → ${extent}, ${inner}]`;
	return assertClose(to, expected, TOLERANCE.sum(count), what, sizes);
}

/** Each kernel of scatter.cu. */
export const selfTests = FLOATS.flatMap((dtype) => [
	selfTest(
		[`add_rows_${dtype}`],
		(bench) => [false, true].map((fresh) => checkAddRows(bench, [3, 100, 333, 97], dtype, fresh)),
	),
	selfTest([`add_along_${dtype}`], (bench) => checkAddAlong(bench, [5, 17, 23, 33], dtype)),
]);
