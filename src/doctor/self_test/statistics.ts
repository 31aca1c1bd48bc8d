// Statistics of |x| against sorting: mean, lower median, k-th largest, the list of the largest, counts over a
// limit, and maxima and means by row and column. NaN counts as larger than infinity, whatever its sign.

import { Kernel } from "../../cuda/kernel.ts";
import {
	assertAllSame,
	assertClose,
	assertSame,
	type Bench,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

const TOP = 16, CAPACITY = 64, BINS = 8192, ROUNDS = 3;

/** Bits of |x|, which order as the values do. */
function magnitudes(x: Float32Array<ArrayBuffer>): Uint32Array {
	return new Uint32Array(x.buffer.slice(0)).map((bits) => bits & 0x7fffffff);
}

/** How the passes over x are run. */
export interface SelectionOptions {
	/** Columns of x. @default {as many as there are values, up to 577 that divide them} */
	columns?: number;
	/** One in how many units of 64 is sampled. @default {1} */
	every?: number;
	/** Places in the lists of what may be the median, and of what may be among the largest. */
	room?: [middle: number, largest: number];
	/** Means of the rows, of which entries count as multiples. */
	means?: Float32Array<ArrayBuffer>;
}

/** The largest width of a matrix of `count` values that is 577 at most. */
function widest(count: number): number {
	let columns = Math.min(count, 577);
	while (count % columns !== 0) columns--;
	return columns;
}

/** Runs the passes over x, and returns what they leave. */
function select(
	bench: Bench,
	x: Float32Array<ArrayBuffer>,
	tau: number,
	{ columns = widest(x.length), every = 1, room = [x.length, x.length], means }: SelectionOptions,
) {
	const kernel = (name: string) => bench.device.kernel(`magnitude_${name}`);
	const count = x.length, rows = count / columns, warps = Kernel.warpsForRows(bench.device, rows);
	const bins = bench.given("uint32", new Uint32Array(BINS)), sums = bench.wanted("float64", warps);
	const [selection, largest, middle, list] = [20, 2 * CAPACITY, room[0], 2 * room[1]]
		.map((length) => bench.wanted("uint32", length));
	const lists = [middle.pointer, list.pointer] as const;
	const [from, factors] = [x, means].map((data) => data ? bench.given("float32", data).pointer : 0);
	const data = [from, factors, rows, columns] as const;
	kernel("sample").perMultiprocessor(bins.pointer, ...data, every);
	kernel("bounds").once(selection.pointer, bins.pointer, count, TOP);
	kernel("scan").overRows(rows, selection.pointer, sums.pointer, ...lists, ...data, ...room);
	kernel("begin").once(selection.pointer, sums.pointer, warps, count, TOP, tau, ...room);
	for (let round = 0; round < ROUNDS; round++) {
		kernel("refine").perMultiprocessor(bins.pointer, selection.pointer, ...lists, ...data);
		kernel("narrow").once(selection.pointer, bins.pointer);
	}
	const ends = [...data, TOP, CAPACITY];
	bench.overElements("magnitude_collect", count, selection, largest, list, ...ends);
	const [low, low1, , , , , listed, listed1, , , offset, offset1, , , , greater, ties, over] =
		selection.take();
	const [limit, mean] = new Float32Array(selection.take().buffer).subarray(18);
	for (const memory of [sums, middle, list]) memory.take(); // for their guard zones
	assertSame(bins.take().findIndex((bin) => bin !== 0), -1, "the first bin that is not empty");
	return {
		median: low + offset,
		kth: low1 + offset1,
		listed: [listed === 1, listed1 === 1] as const,
		...{ greater, ties, over, limit, mean },
		list: largest.take(),
	};
}

/** x, or what its entries are multiplied to with the means of its rows. */
function scaled(
	x: Float32Array<ArrayBuffer>,
	{ means, columns = widest(x.length) }: SelectionOptions,
): Float32Array<ArrayBuffer> {
	if (!means) return x;
	return x.map((value, i) => {
		const mean = means[Math.floor(i / columns)];
		return mean > 0 ? value * Math.fround(1 / mean) : 0 * value;
	});
}

/**
 * Compares statistics over all values of x with sorting.
 *
 * @returns the largest error, and whether the median and the k-th largest were found in their lists
 */
export function checkSelection(
	bench: Bench,
	x: Float32Array<ArrayBuffer>,
	tau: number,
	what: string,
	options: SelectionOptions = {},
): { error: number; listed: readonly [median: boolean, kth: boolean] } {
	const all = scaled(x, options);
	const bits = magnitudes(all), sorted = bits.slice().sort();
	const result = select(bench, x, tau, options);
	const expect = (name: string, actual: number, expected: number) =>
		assertSame(actual, expected, `${what} (${x.length} values): ${name}`);
	const kth = sorted[Math.max(0, x.length - TOP)];
	expect("lower median", result.median, sorted[Math.floor((x.length - 1) / 2)]);
	expect("k-th largest", result.kth, kth);
	const greater = bits.filter((b) => b > kth).length, ties = bits.filter((b) => b === kth).length;
	expect("values that exceed the k-th largest", result.greater, greater);
	expect("values that equal it", result.ties, ties);

	const floats = new Float32Array(bits.buffer);
	const mean = floats.reduce((sum, value) => sum + value, 0) / x.length;
	const tolerance = TOLERANCE.chunkedMean(x.length);
	const error = assertClose([result.mean], [Math.fround(mean)], tolerance, `${what}: mean`);
	expect("limit, which is τ times the mean", result.limit, Math.fround(tau * result.mean));
	const limit = magnitudes(Float32Array.of(result.limit))[0];
	expect("values over the limit", result.over, bits.filter((b) => b > limit).length);

	// Every value above the k-th largest is listed once, and as many of its equals as fit.
	const slots = [
		...Array.from({ length: greater }, (_, i) => i),
		...Array.from({ length: Math.min(ties, CAPACITY - TOP) }, (_, i) => TOP + i),
	];
	const signed = new Uint32Array(all.buffer);
	const seen = new Set<number>();
	for (const slot of slots) {
		const index = result.list[2 * slot], value = result.list[2 * slot + 1];
		if (index >= x.length || seen.has(index)) throw new Error(`${what}: index ${index} at ${slot}`);
		seen.add(index);
		expect(`bits of entry ${index}`, value, signed[index]);
		const right = slot < TOP ? bits[index] > kth : bits[index] === kth;
		if (!right) throw new Error(`${what}: entry ${index} stands in place ${slot}`);
	}
	return { error, listed: result.listed };
}

/** Compares maxima and means by row and by column of x [rows, columns] with plain ones. */
export function checkAxes(
	bench: Bench,
	x: Float32Array<ArrayBuffer>,
	rows: number,
	columns: number,
): number[] {
	const [rowMaxima, rowMeans, maxima, means] = [rows, rows, columns, columns]
		.map((length) => bench.wanted("float32", length));
	const rowsOf = bench.wanted("int32", columns), outputs = [maxima, rowsOf, means];
	bench.overRows("row_magnitudes", rows, rowMaxima, rowMeans, x, rows, columns);
	const strips = Math.ceil(columns / 32);
	bench.overRows("column_magnitudes", strips, ...outputs, x, rows, columns);
	const bits = magnitudes(x), values = new Float32Array(bits.buffer);
	const largest = (indices: number[]) =>
		indices.reduce((best, index) => bits[index] > bits[best] ? index : best);
	const mean = (indices: number[]) =>
		indices.reduce((sum, index) => sum + values[index], 0) / indices.length;
	const each = <T>(count: number, of: (i: number) => T) =>
		Array.from({ length: count }, (_, i) => of(i));
	const inRows = each(rows, (r) => each(columns, (c) => r * columns + c));
	const inColumns = each(columns, (c) => each(rows, (r) => r * columns + c));
	const what = `[${rows}, ${columns}]`, { exact, sum } = TOLERANCE;
	const firsts = inColumns.map(largest), tops = inRows.map((row) => values[largest(row)]);
	const first = firsts.map((i) => Math.floor(i / columns));
	assertAllSame(rowsOf, first, `${what} first rows`);
	return [
		assertClose(rowMaxima, tops, exact, `${what} rows`),
		assertClose(rowMeans, inRows.map(mean), sum(columns), `${what} row means`),
		assertClose(maxima, firsts.map((i) => values[i]), exact, `${what} columns`),
		assertClose(means, inColumns.map(mean), sum(rows), `${what} means`),
	];
}

/** Compares statistics of multiples of rows' means with sorting; one mean is 0. */
export function checkMultiples(bench: Bench, rows: number, columns: number): number {
	const means = bench.normals(rows).map(Math.abs);
	means[0] = 0;
	const x = bench.normals(rows * columns);
	return checkSelection(bench, x, 2, "multiples", { columns, means }).error;
}

const PASSES = ["sample", "bounds", "scan", "begin", "refine", "narrow", "collect"];

/** Each kernel of statistics.cu. */
export const selfTests = [
	selfTest(PASSES.map((name) => `magnitude_${name}`), (bench) => {
		const sampled: SelectionOptions = { columns: 569, every: 9, room: [20_000, 400] };
		const x = bench.normals(211 * 569), equal = new Float32Array(4099).fill(-2.5);
		const { error, listed } = checkSelection(bench, x, 1.5, "normal values", sampled);
		if (!listed[0] || !listed[1]) throw new Error("The sample of normal values misled");
		return [
			error,
			checkSelection(bench, equal, 0.5, "equal values").error,
			checkMultiples(bench, 129, 577),
		];
	}),
	selfTest(
		["row_magnitudes", "column_magnitudes"],
		(bench) => checkAxes(bench, bench.normals(129 * 577), 129, 577),
	),
];
