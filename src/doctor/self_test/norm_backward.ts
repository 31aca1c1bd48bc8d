// Gradients of norms of rows against their formulas in float64.

import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** Which norm, what type the gradient of its result has, and what is asked for. */
export interface NormBackwardKind {
	norm: "rms" | "layer";
	dtype: FloatType;
	/** Whether the gradient begins with another. */
	base?: boolean;
	/** Whether gain and bias need none. */
	frozen?: boolean;
}

/** Compares the gradients of a norm of random rows, summed over `parts`, with their formulas. */
export function checkNormBackward(
	bench: Bench,
	[rows, columns, parts]: readonly [rows: number, columns: number, parts: number],
	{ norm, dtype, base: based, frozen }: NormBackwardKind,
): number[] {
	const count = rows * columns, layer = norm === "layer";
	const x = bench.normals(count, 3), gain = bench.normals(columns);
	const means = layer ? bench.normals(rows) : new Float32Array(rows);
	const scales = bench.normals(rows).map(Math.abs);
	const base = based ? bench.normals(count) : undefined;
	const dy = bench.given(dtype, bench.normals(count)), g = dy.numbers;

	const dx = bench.wanted("float32", count), width = (layer ? 2 : 1) * columns;
	const partial = frozen ? undefined : bench.wanted("float32", parts * width);
	const inputs = [dy, base, x, gain, layer ? means : null, scales, rows, columns, parts];
	bench.overRows(`${norm}_norm_backward_${dtype}`, parts, dx, partial, ...inputs);
	const total = bench.wanted("float32", width);
	if (partial) {
		bench.overElements("sum_parts", width, total, partial, parts, width);
		partial.take(); // for its guard zones
	}

	const expected = new Float64Array(count), sizes = expected.slice();
	const totals = new Float64Array(width), totalSizes = totals.slice();
	for (let r = 0; r < rows; r++) {
		const each = Array.from({ length: columns }, (_, c) => {
			const at = r * columns + c, unit = (x[at] - means[r]) * scales[r];
			// The size of x̂ is that of its two terms.
			const size = (Math.abs(x[at]) + Math.abs(means[r])) * scales[r];
			totals[c] += g[at] * unit;
			totalSizes[c] += Math.abs(g[at]) * size;
			if (layer) {
				totals[columns + c] += g[at];
				totalSizes[columns + c] += Math.abs(g[at]);
			}
			return { at, unit, size, h: g[at] * gain[c] };
		});
		const mean = (of: (entry: typeof each[0]) => number) =>
			each.reduce((sum, entry) => sum + of(entry), 0) / columns;
		const h = layer ? mean(({ h }) => h) : 0, hUnit = mean(({ h, unit }) => h * unit);
		const hSize = layer ? mean(({ h }) => Math.abs(h)) : 0;
		const hUnitSize = mean(({ h, size }) => Math.abs(h) * size);
		for (const entry of each) {
			const start = base?.[entry.at] ?? 0;
			expected[entry.at] = start + scales[r] * (entry.h - h - entry.unit * hUnit);
			sizes[entry.at] = Math.abs(start) +
				scales[r] * (Math.abs(entry.h) + hSize + entry.size * hUnitSize);
		}
	}
	const what = `${norm}_norm_backward_${dtype} [${rows}, ${columns}] in ${parts} parts`;
	const ofSums = [total, totals, TOLERANCE.sum(rows), `${what}: gain, bias`, totalSizes] as const;
	return [
		assertClose(dx, expected, TOLERANCE.sum(columns), `${what}: dx`, sizes),
		partial ? assertClose(...ofSums) : 0,
	];
}

/** Each kernel of norm_backward.cu. */
export const selfTests = (["rms", "layer"] as const).flatMap((norm) =>
	FLOATS.map((dtype) =>
		selfTest(
			[`${norm}_norm_backward_${dtype}`, "sum_parts"],
			(bench) => checkNormBackward(bench, [129, 577, 9], { norm, dtype, base: true }),
		)
	)
);
