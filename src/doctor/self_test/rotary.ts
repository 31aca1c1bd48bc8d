// The fused projection split into heads, queries and keys turned by their position's angles.

import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";
import { thenBfloat16 } from "./tolerance.ts";

/** Sequences, tokens of each, heads, heads of keys and values, features of a head, and how many pairs turn. */
export type Sizes = readonly [
	batch: number,
	length: number,
	heads: number,
	kvHeads: number,
	d: number,
	pairs: number,
];

/**
 * Compares heads split from a random projection with the definition of rotary positions, or with `merge` the
 * projection merged from random heads, which turn back.
 */
export function checkHeads(
	bench: Bench,
	[batch, length, heads, kvHeads, d, pairs]: Sizes,
	{ dtype, merge }: { dtype: FloatType; merge: boolean },
): number[] {
	const all = heads + 2 * kvHeads, group = heads / kvHeads, tokens = batch * length;
	const angles = bench.normals(length * pairs, 3);
	const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
	const counts = [heads, kvHeads, kvHeads], width = tokens * d;
	const input = (count: number) => bench.given(dtype, bench.normals(count * width));
	const output = (count: number) => bench.wanted(dtype, count * width);
	const sources = merge ? counts.map(input) : [input(all)];
	const results = merge ? [output(all)] : counts.map(output);
	const memory = merge ? [...sources, ...results] : [...results, ...sources];
	const kernel = `${merge ? "merge" : "split"}_heads_rotary_${dtype}`;
	const sizesOf = [tokens, length, heads, kvHeads, d, pairs];
	bench.overRows(kernel, tokens, ...memory, cosines, sines, ...sizesOf);
	const taken = results.map((result) => result.read());
	return counts.map((count, which) => {
		const expected = new Float64Array(count * width), sizes = expected.slice();
		const actual = expected.slice(), before = [0, heads, heads + kvHeads][which];
		const from = (merge ? sources[which] : sources[0]).numbers, to = taken[merge ? 0 : which];
		for (let h = 0; h < count; h++) {
			for (let token = 0; token < tokens; token++) {
				const b = Math.floor(token / length), t = token % length;
				// Where the head's features lie in its part, and in the projection.
				const kv = which === 0 ? Math.floor(h / group) : h;
				const place = (b * kvHeads + kv) * length + t;
				const inPart = d * (which === 0 ? place * group + h % group : place);
				const inWhole = (token * all + before + h) * d;
				const start = merge ? inPart : inWhole, end = merge ? inWhole : inPart;
				for (let i = 0; i < d; i++) {
					const at = inPart + i, value = from[start + i];
					actual[at] = to[end + i];
					if (which === 2 || i >= 2 * pairs) {
						expected[at] = value;
						sizes[at] = 0;
						continue;
					}
					const pair = from[start + (i + pairs) % (2 * pairs)], angle = t * pairs + i % pairs;
					const sin = (merge ? -1 : 1) * sines[angle];
					expected[at] = value * cosines[angle] + (i < pairs ? -pair : pair) * sin;
					sizes[at] = Math.abs(value) + Math.abs(pair);
				}
			}
		}
		const what = `${"qkv"[which]} of [${batch}, ${length}, ${all}·${d}] as ${dtype}`;
		const tolerance = TOLERANCE.elementwise(3);
		const allowed = dtype === "float32" ? tolerance : thenBfloat16(tolerance);
		return assertClose(actual, expected, allowed, what, sizes);
	});
}

/** Rows as they lie: tokens, heads of each, features, and how many pairs of these turn. */
export type Turned = readonly [
	batch: number,
	tokens: number,
	heads: number,
	d: number,
	pairs: number,
];

/** Compares rows turned by random angles, forth or back, with the definition. */
export function checkRotate(
	bench: Bench,
	[batch, tokens, heads, d, pairs]: Turned,
	{ dtype, adjacent, direction }: { dtype: FloatType; adjacent: boolean; direction: number },
): number {
	const rows = batch * tokens * heads, angles = bench.normals(tokens * pairs, 3);
	const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
	const x = bench.given(dtype, bench.normals(rows * d)), y = bench.wanted(dtype, rows * d);
	const how = [rows, tokens, heads, d, pairs, adjacent, direction];
	bench.overRows(`rotate_${dtype}`, rows, y, x, cosines, sines, ...how);
	const values = x.numbers, expected = values.slice(), sizes = expected.map(Math.abs);
	for (let row = 0; row < rows; row++) {
		for (let i = 0; i < pairs; i++) {
			const at = Math.floor(row / heads) % tokens * pairs + i;
			const [a, b] = (adjacent ? [2 * i, 2 * i + 1] : [i, i + pairs]).map((c) => row * d + c);
			const cos = cosines[at], sin = direction * sines[at];
			expected[a] = values[a] * cos - values[b] * sin;
			expected[b] = values[b] * cos + values[a] * sin;
			sizes[a] = sizes[b] = Math.abs(values[a]) + Math.abs(values[b]);
		}
	}
	const what = `rows of [${batch}, ${tokens}, ${heads}, ${d}]`;
	return assertClose(y, expected, TOLERANCE.elementwise(3), what, sizes);
}

/** Each kernel of rotary.cu. */
export const selfTests = FLOATS.flatMap((dtype) => [
	...[false, true].map((merge) =>
		selfTest(
			[`${merge ? "merge" : "split"}_heads_rotary_${dtype}`],
			(bench) => checkHeads(bench, [2, 33, 9, 3, 64, 30], { dtype, merge }),
		)
	),
	selfTest(
		[`rotate_${dtype}`],
		(bench) =>
			[false, true].map((adjacent) =>
				checkRotate(bench, [2, 33, 3, 65, 31], { dtype, adjacent, direction: -1 })
			),
	),
]);
