// Cumulative sums against sums in float64.

import { assertClose, type Bench, selfTest, TOLERANCE } from "./self_test.ts";

/** Compares cumulative sums of random numbers with their definition. */
export function checkScan(
	bench: Bench,
	[outer, count, inner]: readonly [number, number, number],
	reverse: boolean,
	by: "rows" | "columns" = inner === 1 ? "rows" : "columns",
): number {
	const x = bench.normals(outer * count * inner), y = bench.wanted("float32", x.length);
	const expected = new Float64Array(x.length), sizes = expected.slice();
	for (let line = 0; line < outer * inner; line++) {
		let sum = 0, size = 0;
		for (let j = 0; j < count; j++) {
			const row = Math.floor(line / inner) * count + (reverse ? count - 1 - j : j);
			const at = row * inner + line % inner;
			expected[at] = sum += x[at];
			sizes[at] = size += Math.abs(x[at]);
		}
	}
	const extents = by === "rows" ? [outer, count] : [outer, count, inner];
	bench.overRows(`scan_${by}`, outer * inner, y, x, ...extents, reverse);
	const what = `scan [${outer}, ${count}, ${inner}]`;
	// Only the lanes of one warp add in float32.
	return assertClose(y, expected, TOLERANCE.sum(32), what, sizes);
}

/** Each kernel of scan.cu. */
export const selfTests = (["rows", "columns"] as const).map((by) =>
	selfTest([`scan_${by}`], (bench) => {
		const shape = [7, 301, by === "rows" ? 1 : 67] as const;
		return [false, true].map((reverse) => checkScan(bench, shape, reverse, by));
	})
);
