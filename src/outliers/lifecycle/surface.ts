// Parts of matrices that figures draw: some rows and columns of them.

import type { Rows } from "./kept_taps.ts";

/** Some entries of a matrix, as the paper's surfaces (Fig. 1, 7 to 9, 13 to 22) draw them. */
export interface Surface {
	/** What it is of, such as `mlp.down.input`. */
	name: string;
	/** Indices of the rows: tokens, or outputs of a weight. */
	rows: number[];
	/** Indices of the columns: features, neurons, or inputs of a weight. */
	columns: number[];
	/** The signed values, row by row. */
	values: number[][];
}

/** The chosen ones of `count` indices, their neighbors, and others evenly spread, ascending: `most` or a few more. */
export function sample(count: number, chosen: readonly number[], most: number): number[] {
	const picked = new Set(chosen);
	for (const index of chosen) {
		if (index > 0) picked.add(index - 1);
		if (index + 1 < count) picked.add(index + 1);
	}
	const others = Math.min(count, Math.max(2, most - picked.size));
	for (let i = 0; i < others; i++) {
		picked.add(Math.round(i * (count - 1) / Math.max(1, others - 1)));
	}
	return [...picked].sort((a, b) => a - b);
}

/** The first tokens, the traced ones, and some others. */
export function sampleTokens(count: number, traced: readonly number[]): number[] {
	const first = Array.from({ length: Math.min(8, count) }, (_, i) => i);
	return sample(count, [...new Set([...first, ...traced])], 24);
}

/** Some columns of rows. */
export function surfaceOf(
	name: string,
	{ ids, values }: Rows,
	columns: readonly number[],
): Surface {
	return {
		name,
		rows: [...ids],
		columns: [...columns],
		values: values.map((row) => columns.map((column) => row[column]!)),
	};
}
