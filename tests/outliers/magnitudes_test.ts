// Statistics of |x| against float64: mean, lower median, the largest values with their places, counts over
// τ · mean, and maxima and means by row and column. Orders and counts are exact, averages to rounding.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import {
	columnMagnitudes,
	LISTED,
	magnitudes,
	type Pending,
	rowMagnitudes,
} from "../../src/outliers/magnitudes.ts";
import { assertClose, device, deviceTest, normal, random } from "../tensor/on_device.ts";

/** The mean over all is summed in double, those of rows and columns in float32. */
const TOLERANCE = { mean: 2e-7, axis: 2e-6 };

const matrix = (rows: number, columns: number, data: ArrayLike<number>) =>
	Tensor.from<"float32", 2>(device, "float32", [rows, columns], data);

async function read<T>(pending: Pending<T>): Promise<T> {
	await device.synchronize();
	return pending.read();
}

function reference(data: Float32Array, columns: number, tau: number) {
	const size = Float64Array.from(data, Math.abs);
	const mean = size.reduce((sum, x) => sum + x, 0) / size.length;
	const order = [...size.keys()].sort((a, b) => size[b] - size[a] || a - b);
	return {
		mean,
		median: size.slice().sort()[Math.floor((size.length - 1) / 2)],
		// What exceeds the limit for sure, and what does or does not by the rounding of the limit itself.
		over: size.reduce((count, x) => count + (x > tau * mean * (1 + 4e-7) ? 1 : 0), 0),
		close: size.reduce((n, x) => n + (Math.abs(x - tau * mean) <= 4e-7 * tau * mean ? 1 : 0), 0),
		largest: order.slice(0, LISTED).map((i) => ({
			value: data[i],
			row: Math.floor(i / columns),
			column: i % columns,
		})),
	};
}

async function check(rows: number, columns: number, data: Float32Array, tau: number) {
	using x = matrix(rows, columns, data);
	const actual = await read(magnitudes(x, tau));
	const { close, ...expected } = reference(data, columns, tau);
	const known = expected.over <= actual.over && actual.over <= expected.over + close;
	assertEquals(
		known,
		true,
		`${actual.over} over the limit, expected ${expected.over} to + ${close}`,
	);
	assertClose([actual.mean], [expected.mean], TOLERANCE.mean, "mean");
	assertEquals({ ...actual, mean: 0, over: 0 }, { ...expected, mean: 0, over: 0 });
}

const SIZES = [[1, 1], [1, 2], [3, 5], [8, 32], [255, 1], [1, 257], [64, 65], [200, 577]] as const;
for (const [rows, columns] of SIZES) {
	deviceTest(
		`statistics of ${rows} × ${columns} random numbers are float64's, at any τ`,
		async () => {
			for (const tau of [1e-3, 0.5, 1, 2.5, 4, 1000]) {
				await check(rows, columns, normal(rows * columns, 10 ** (6 * random() - 3)), tau);
			}
		},
	);
}

deviceTest("values of very different size are told apart to the last bit", async () => {
	const data = Float32Array.from(
		{ length: 4001 },
		() => (random() - 0.5) * 10 ** (60 * random() - 30),
	);
	await check(4001, 1, data, 10);
	const close = Float32Array.from(
		{ length: 999 },
		() => 1 + Math.floor(random() * 5000) * 2 ** -23,
	);
	await check(9, 111, close, 1);
});

deviceTest("equal values are listed in row-major order", async () => {
	// Three sizes, of which the list of 256 ends within the second: 100 of 4, 400 of 2, the rest of 1.
	const data = Float32Array.from({ length: 3000 }, (_, i) => i < 100 ? 4 : i < 500 ? 2 : 1);
	for (let i = data.length - 1; i > 0; i--) {
		const j = Math.floor(random() * (i + 1));
		[data[i], data[j]] = [data[j], data[i] * (random() < 0.5 ? -1 : 1)];
	}
	await check(30, 100, data, 1.5);
});

deviceTest("a planted outlier is found with its place, sign, ratio and count", async () => {
	const data = new Float32Array(100 * 90).fill(0.125);
	data[57 * 90 + 13] = -4096;
	data[99 * 90 + 89] = 2048;
	using x = matrix(100, 90, data);
	const { largest, over, median, mean } = await read(magnitudes(x, 1000));
	assertEquals(largest.slice(0, 2), [
		{ value: -4096, row: 57, column: 13 },
		{ value: 2048, row: 99, column: 89 },
	]);
	assertEquals([over, median, mean], [2, 0.125, Math.fround((8998 * 0.125 + 6144) / 9000)]);
});

deviceTest("a value of exactly τ · mean is not over it, the next one is", async () => {
	// Mean 2 over 8 entries: τ = 4 asks for more than 8.
	const at = [8, -1, 1, 1, -1, 1, 1, 2];
	using x = matrix(2, 4, at);
	assertEquals((await read(magnitudes(x, 4))).over, 0);
	assertEquals((await read(magnitudes(x, 3.999))).over, 1);
});

deviceTest("zeros have no outlier at any τ", async () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [50, 40]);
	const { mean, median, over, largest } = await read(magnitudes(x, 0.5));
	assertEquals([mean, median, over, largest.length], [0, 0, 0, LISTED]);
	assertEquals(new Set(largest.map(({ row, column }) => row * 40 + column)).size, LISTED);
});

deviceTest("no entries have no statistics", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [0, 40]);
	assertThrows(() => magnitudes(x, 1), RangeError, "Cannot take statistics of 0 entries: need 1");
});

deviceTest("two readings of the same tensor are identical", async () => {
	using x = matrix(300, 333, normal(300 * 333));
	assertEquals(await read(magnitudes(x, 3)), await read(magnitudes(x, 3)));
});

for (
	const [rows, columns] of [[1, 1], [5, 3], [33, 31], [64, 64], [257, 100], [3, 1000]] as const
) {
	deviceTest(`maxima and means of ${rows} rows and ${columns} columns are float64's`, async () => {
		const data = normal(rows * columns);
		using x = matrix(rows, columns, data);
		const at = (row: number, column: number) => Math.abs(data[row * columns + column]);
		const line = (count: number, value: (i: number) => number) =>
			Float64Array.from({ length: count }, (_, i) => value(i));
		const mean = (values: Float64Array) => values.reduce((sum, v) => sum + v, 0) / values.length;

		const byRow = await read(rowMagnitudes(x));
		const lines = Array.from({ length: rows }, (_, r) => line(columns, (c) => at(r, c)));
		assertEquals([...byRow.maxima], lines.map((values) => Math.max(...values)));
		assertClose(byRow.means, lines.map(mean), TOLERANCE.axis, "means of rows");

		const byColumn = await read(columnMagnitudes(x));
		const down = Array.from({ length: columns }, (_, c) => line(rows, (r) => at(r, c)));
		assertEquals([...byColumn.maxima], down.map((values) => Math.max(...values)));
		assertEquals([...byColumn.rows], down.map((values) => values.indexOf(Math.max(...values))));
		assertClose(byColumn.means, down.map(mean), TOLERANCE.axis, "means of columns");
	});
}

deviceTest("the first of equal rows has a column's maximum", async () => {
	using x = matrix(4, 2, [0, 1, -3, -1, 3, 0, 3, 1]);
	const { maxima, rows } = await read(columnMagnitudes(x));
	assertEquals([[...maxima], [...rows]], [[3, 1], [1, 0]]);
});

deviceTest("with means, entries count as multiples of their row's, of 0 as zeros", async () => {
	using x = matrix(3, 4, [1, -2, 3, 2, 7, 0, 0, 0, -8, 0, 0, 0]);
	using means = Tensor.from<"float32", 1>(device, "float32", [3], [2, 0, 2]);
	const { mean, median, over, largest } = await read(magnitudes(x, 5, means));
	assertEquals([mean, median, over], [Math.fround(8 / 12), 0, 1]);
	assertEquals(largest.slice(0, 6).map(({ value }) => value), [-4, 1.5, -1, 1, 0.5, 0]);
	assertEquals(largest.slice(0, 2).map(({ row, column }) => [row, column]), [[2, 0], [0, 2]]);
});

deviceTest("statistics of large matrices, of which a sample is taken, are float64's", async () => {
	await check(700, 577, normal(700 * 577), 3);
	// More zeros, which are the median, than a list holds.
	await check(700, 500, normal(700 * 500).map((value) => Math.max(0, value)), 1.5);
});

deviceTest("results that are never read are freed by hand", () => {
	using x = matrix(3, 4, normal(12));
	for (const pending of [magnitudes(x, 1), rowMagnitudes(x), columnMagnitudes(x)]) {
		pending[Symbol.dispose]();
		pending[Symbol.dispose]();
	}
});
