// Elements and rows by index, as bytes, whatever their type.

import { assertAllSame, type Bench, selfTest } from "./self_test.ts";

/** Extents of what is taken from: [outer, extent, inner], and how many entries are taken of `extent`. */
export type Taken = readonly [outer: number, extent: number, count: number, inner: number];

/** Indices from 0 to `extent` - 1, and now and then one beyond on either side. */
export function indices({ random }: Bench, length: number, extent: number): Int32Array {
	const beyond = () => [-1, extent, -(2 ** 31), 2 ** 31 - 1][random.below(4)];
	const index = (i: number) => i % 7 === 6 || extent === 0 ? beyond() : random.below(extent);
	return Int32Array.from({ length }, (_, i) => index(i));
}

/** Bytes of the entry at `from`, or of `beyond` where `index` is beyond `extent`. */
function entry(
	bytes: Uint8Array,
	from: number,
	width: number,
	index: number,
	extent: number,
	beyond = 0xff,
) {
	if (index < 0 || index >= extent) return new Uint8Array(width).fill(beyond);
	return bytes.subarray(from * width, (from + 1) * width);
}

/** Compares rows of random tables, by indices that all tables share, with the rows themselves. */
export function checkRows(bench: Bench, [outer, extent, count, inner]: Taken, unit: number): void {
	const rows = outer * count, width = inner * unit, ids = indices(bench, count, extent);
	const bytes = bench.random.bytes(outer * extent * width),
		to = bench.wanted("uint8", rows * width);
	bench.overRows(`gather_rows_${unit}`, rows, to, bytes, ids, outer, count, extent, inner);
	const expected = new Uint8Array(rows * width);
	for (let row = 0; row < rows; row++) {
		const id = ids[row % count], from = Math.floor(row / count) * extent + id;
		expected.set(entry(bytes, from, width, id, extent), row * width);
	}
	assertAllSame(to, expected, `${count} of ${outer} · ${extent} rows of ${width} bytes`);
}

/** Compares elements taken along the middle axis, by an index for each, with the elements themselves. */
export function checkTaken(
	bench: Bench,
	[outer, extent, count, inner]: Taken,
	unit: number,
	zeroBeyond = false,
): void {
	const bytes = bench.random.bytes(outer * extent * inner * unit);
	const at = indices(bench, outer * count * inner, extent);
	const to = bench.wanted("uint8", at.length * unit), sizes = [outer, extent, count, inner];
	bench.overElements(`take_along_${unit}`, at.length, to, bytes, at, ...sizes, zeroBeyond);
	const expected = new Uint8Array(at.length * unit);
	at.forEach((index, i) => {
		const place = (Math.floor(i / (count * inner)) * extent + index) * inner + i % inner;
		expected.set(entry(bytes, place, unit, index, extent, zeroBeyond ? 0 : 0xff), i * unit);
	});
	assertAllSame(to, expected, `${at.length} of [${outer}, ${extent}, ${inner}]`);
}

/** Each kernel of gather.cu. */
export const selfTests = [1, 2, 4, 8].flatMap((unit) => [
	selfTest([`gather_rows_${unit}`], (bench) => checkRows(bench, [3, 100, 33, 97], unit)),
	selfTest([`take_along_${unit}`], (bench) => checkTaken(bench, [5, 17, 23, 33], unit)),
]);
