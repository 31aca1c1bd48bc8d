// Sorted rows, the first of them, quantiles of them, and gradients, against sorting in TypeScript.

import {
	assertAllSame,
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** Compares the first `top` elements of each sorted row, and where they come from, with stable sorting. */
export function checkSort(
	bench: Bench,
	x: ArrayLike<number>,
	columns: number,
	top: number,
	descending: boolean,
	dtype: FloatType = "float32",
): void {
	const rows = x.length / columns, from = bench.given(dtype, x), { numbers } = from;
	const values = bench.wanted(dtype, rows * top), indices = bench.wanted("int32", rows * top);
	const scratch = bench.wanted("uint32", rows * columns * 4);
	const how = [rows, columns, top, descending];
	bench.overRows(`sort_${dtype}`, rows, values, indices, from, scratch, ...how);
	// NaN as the largest.
	const compare = (a: number, b: number) =>
		a !== a ? (b !== b ? 0 : 1) : b !== b ? -1 : a < b ? -1 : a > b ? 1 : 0;
	const expected = Array.from({ length: rows }, (_, row) => {
		const places = Array.from({ length: columns }, (_, i) => i), first = row * columns;
		const order = (i: number, j: number) => compare(numbers[first + i], numbers[first + j]);
		return places.sort((i, j) => (descending ? -1 : 1) * order(i, j) || i - j).slice(0, top);
	});
	const what = `sort of [${rows}, ${columns}], first ${top}`;
	assertAllSame(indices, expected.flat(), `${what}: indices`);
	const sorted = expected.flatMap((line, row) => line.map((i) => numbers[row * columns + i]));
	assertAllSame(values.read(), sorted, `${what}: values`);
	scratch.take(); // for its guard zones
}

/** Compares the gradient of sorted elements with where it belongs. */
export function checkUnsort(
	bench: Bench,
	rows: number,
	columns: number,
	top: number,
	dtype: FloatType,
): void {
	const indices = Array.from({ length: rows }, () => {
		const keys = Array.from(bench.normals(columns));
		return keys.map((_, i) => i).sort((i, j) => keys[i] - keys[j]).slice(0, top);
	});
	const dy = bench.given(dtype, bench.normals(rows * top));
	const dx = bench.given(dtype, new Float32Array(rows * columns)), expected = dx.numbers.slice();
	indices.forEach((line, row) =>
		line.forEach((i, j) => expected[row * columns + i] = dy.numbers[row * top + j])
	);
	const places = Int32Array.from(indices.flat());
	bench.overRows(`unsort_${dtype}`, rows, dx, dy, places, rows, columns, top);
	assertAllSame(dx, expected, `unsort to [${rows}, ${columns}] of ${top}`);
}

/** Compares quantiles of sorted rows, and their gradients, with interpolation in float64. */
export function checkQuantile(
	bench: Bench,
	rows: number,
	columns: number,
	position: number,
): number[] {
	const lower = Math.floor(position), weight = Math.fround(position - lower);
	const x = bench.normals(rows * columns), g = bench.normals(rows);
	for (let first = 0; first < x.length; first += columns) x.subarray(first, first + columns).sort();
	x[columns - 1] = NaN; // the last of the first row
	const indices = Int32Array.from(x, (_, i) => columns - 1 - i % columns);
	const y = bench.wanted("float32", rows), how = [rows, columns, lower, weight];
	const dx = bench.given("float32", new Float32Array(x.length));
	bench.overElements("quantile", rows, y, x, ...how);
	bench.overElements("quantile_backward", rows, dx, g, indices, ...how);
	const expected: number[] = [], sizes: number[] = [], gradient = new Float64Array(x.length);
	for (let row = 0; row < rows; row++) {
		const at = row * columns + lower, last = (row + 1) * columns - 1 - lower;
		const below = x[at], above = weight > 0 ? x[at + 1] : below;
		expected.push(row === 0 ? NaN : below + weight * (above - below));
		sizes.push(Math.abs(below) + Math.abs(above));
		gradient[last] = (1 - weight) * g[row];
		if (weight > 0) gradient[last - 1] = weight * g[row];
	}
	const tolerance = TOLERANCE.elementwise(4);
	return [
		assertClose(y, expected, tolerance, `quantile at ${position}`, sizes),
		assertClose(dx, gradient, tolerance, `gradient of the quantile at ${position}`),
	];
}

/** Each kernel of sort.cu. */
export const selfTests = [
	...FLOATS.flatMap((dtype) => [
		selfTest([`sort_${dtype}`], (bench) => {
			const x = bench.normals(5 * 3001);
			checkSort(bench, x, 3001, 3001, false, dtype);
			checkSort(bench, x, 3001, 20, true, dtype);
		}),
		selfTest([`unsort_${dtype}`], (bench) => checkUnsort(bench, 5, 301, 67, dtype)),
	]),
	selfTest(
		["quantile", "quantile_backward"],
		(bench) => [7.25, 32].flatMap((position) => checkQuantile(bench, 67, 33, position)),
	),
];
