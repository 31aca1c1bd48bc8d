// The sets that outliers form along the axes of a tensor: the tokens and features of activations, the rows and
// columns of weights, the keys of attention. What positions, consistency and comparisons are made of.

import type { TapContext } from "../nn/probe.ts";
import { abs, clamp, div, keep, mean, noGrad, scope, type Tensor } from "../tensor/mod.ts";
import type { ActivationValue } from "./analysis.ts";
import type { Definition } from "./definitions.ts";
import {
	checkFinite,
	columnMagnitudes,
	magnitudes,
	type Pending,
	rowMagnitudes,
} from "./magnitudes.ts";
import { largestIndices } from "./ranking.ts";

/** How many of the largest values are kept of each tensor. */
export const LARGEST = 10;

/** What stands out of one activation tensor [T, C]. */
export interface ActivationSets {
	/** mean|x| */
	mean: number;
	/** Lower median of |x|. */
	median: number;
	/** The largest values by |x|, descending. */
	largest: ActivationValue[];
	/** Positions of the tokens with an outlier, ascending. */
	tokens: number[];
	/** Features with an outlier, ascending. */
	features: number[];
	/** max|x| of each feature. */
	featureMaxima: Float32Array;
	/** The position of the first token that has it. */
	featureTokens: Int32Array;
}

/** The indices for which `test` holds, ascending. */
function indicesWhere(values: Float32Array, test: (value: number) => boolean): number[] {
	const found: number[] = [];
	values.forEach((value, index) => {
		if (test(value)) found.push(index);
	});
	return found;
}

/**
 * Queues the search for outliers in an activation tensor; reading throws if it holds a value that is no number.
 *
 * @param x [T, C]
 */
export function activationSets(
	x: Tensor<"float32", 2>,
	{ tau, activationRule }: Definition,
	{ name, sequence, positions }: TapContext,
): Pending<ActivationSets> {
	const all = magnitudes(x, tau), rows = rowMagnitudes(x), columns = columnMagnitudes(x);
	const tokenOf = (row: number) => positions?.[row] ?? row;
	return {
		[Symbol.dispose]() {
			for (const part of [all, rows, columns]) part[Symbol.dispose]();
		},
		read() {
			const found = all.read(), ofRows = rows.read(), ofColumns = columns.read();
			checkFinite(found, `${name} of sequence ${sequence}`);
			const { mean, median, largest } = found;
			// As the device does when it counts: in float32.
			const limit = Math.fround(Math.fround(tau) * mean);
			const test = activationRule === "mean"
				? (value: number) => value > limit
				: (value: number) => value > 100 && value >= tau * median;
			return {
				mean,
				median,
				largest: largest.slice(0, LARGEST)
					.map(({ value, row, column }) => ({ value, token: tokenOf(row), feature: column })),
				tokens: indicesWhere(ofRows.maxima, test).map(tokenOf),
				features: indicesWhere(ofColumns.maxima, test),
				featureMaxima: ofColumns.maxima,
				featureTokens: ofColumns.rows.map(tokenOf),
			};
		},
	};
}

/** What stands out of one weight matrix [out, in]. */
export interface WeightSets {
	/** Rows (features of the output) with an outlier, ascending. */
	rows: number[];
	/** Columns (features of the input) with an outlier, ascending. */
	columns: number[];
}

/** Queues max|w| / mean|w| of rows and columns, each entry divided by the mean of its row (axis 1) or column (0). */
function ratios(w: Tensor<"float32", 2>, axis: 0 | 1) {
	using scaled = noGrad(() =>
		scope(() => {
			const means = mean(abs(w), axis, { keepDims: true });
			return keep(div(w, clamp(means, { min: 1e-30 }))); // zeros stay zeros
		})
	);
	return { rows: rowMagnitudes(scaled), columns: columnMagnitudes(scaled) };
}

/** Queues the search for outliers in a weight matrix [out, in]. */
export function weightSets(
	w: Tensor<"float32", 2>,
	{ weightTau, weightAxis, weightTop }: Definition,
	{ name }: TapContext,
): Pending<WeightSets> {
	const axes = { row: [1], column: [0], either: [1, 0] } as const;
	const all = axes[weightAxis].map((axis) => ratios(w, axis));
	return {
		[Symbol.dispose]() {
			for (const { rows, columns } of all) {
				rows[Symbol.dispose]();
				columns[Symbol.dispose]();
			}
		},
		read() {
			const read = all.map(({ rows, columns }) => ({ rows: rows.read(), columns: columns.read() }));
			for (const { rows } of read) {
				const wrong = rows.maxima.findIndex((value) => !Number.isFinite(value));
				if (wrong >= 0) {
					throw new Error(
						`Cannot analyze ${name}: row ${wrong} holds what is no number; the model's file may be damaged`,
					);
				}
			}
			const union = (sets: number[][]) => [...new Set(sets.flat())].sort((a, b) => a - b);
			const over = (value: number) => value > weightTau;
			if (weightTop === null) {
				return {
					rows: union(read.map(({ rows }) => indicesWhere(rows.maxima, over))),
					columns: union(read.map(({ columns }) => indicesWhere(columns.maxima, over))),
				};
			}
			const top = read.map(({ columns }) => ({
				columns: largestIndices(columns.maxima, weightTop),
				rowOf: columns.rows,
			}));
			return {
				rows: union(top.map(({ columns, rowOf }) => columns.map((column) => rowOf[column]!))),
				columns: union(top.map(({ columns }) => columns)),
			};
		},
	};
}

/** What a model's queries see, which the fair share of a key depends on. */
export interface Sight {
	/** Whether queries see only keys before them and themselves. */
	causal: boolean;
	/** How many keys a query sees at most. */
	window?: number | undefined;
}

/** How many of T queries see key j. */
export function queriesOf(key: number, tokens: number, { causal, window }: Sight): number {
	return causal ? Math.min(tokens - key, window ?? Infinity) : tokens;
}

/** What the first key gets, of all attention, if every query attends evenly to what it sees: no key gets more. */
export function uniformShare(tokens: number, { causal, window = Infinity }: Sight): number {
	if (!causal) return 1 / tokens;
	// (1 + 1/2 + … + 1/T) / T; a window hides the key from later queries.
	let sum = 0;
	for (let visible = 1; visible <= tokens && visible <= window; visible++) sum += 1 / visible;
	return sum / tokens;
}

/** The same of the attention of the queries that see it. */
export function uniformVisibleShare(tokens: number, sight: Sight): number {
	return uniformShare(tokens, sight) * tokens / queriesOf(0, tokens, sight);
}

/**
 * What the attention rule can tell of a sequence: `"indistinct"` if it is so short that even attention without any
 * preference makes outliers, `"unreachable"` if it is so short that nothing can make one.
 */
export function judgeLength(
	tokens: number,
	{ attentionRule, attentionShare, visibleShare, tau }: Definition,
	sight: Sight,
): "telling" | "indistinct" | "unreachable" {
	// Of T numbers none exceeds T times their mean.
	if (attentionRule === "tau") return tokens > tau ? "telling" : "unreachable";
	const even = attentionRule === "share"
		? uniformShare(tokens, sight) < attentionShare
		: uniformVisibleShare(tokens, sight) < visibleShare;
	return even ? "telling" : "indistinct";
}

/** The keys of one head, or of the mean over heads, that are outliers, ascending. */
export function outlierKeys(
	cumulative: Float64Array,
	{ attentionRule, attentionShare, visibleShare, tau }: Definition,
	sight: Sight,
): number[] {
	const total = cumulative.reduce((sum, value) => sum + value, 0);
	const tokens = cumulative.length;
	const test = {
		share: (value: number) => value / total >= attentionShare,
		tau: (value: number) => value > tau * total / tokens,
		"visible share": (value: number, key: number) =>
			value / queriesOf(key, tokens, sight) >= visibleShare,
	}[attentionRule];
	const found: number[] = [];
	cumulative.forEach((value, key) => {
		if (test(value, key)) found.push(key);
	});
	return found;
}

/**
 * Cumulative attention as it was read, in float64, and its mean over heads.
 *
 * @param values [n, T]
 * @throws {Error} if it holds a value that is no number
 */
export function cumulativeAttention(
	values: Float32Array,
	tokens: number,
	{ name, sequence }: TapContext,
): { heads: Float64Array[]; mean: Float64Array } {
	const heads = Array.from(
		{ length: values.length / tokens },
		(_, head) => Float64Array.from(values.subarray(head * tokens, (head + 1) * tokens)),
	);
	const mean = new Float64Array(tokens);
	for (const [head, all] of heads.entries()) {
		for (let key = 0; key < tokens; key++) {
			if (!Number.isFinite(all[key])) {
				throw new Error(
					`Cannot analyze ${name} of sequence ${sequence}: it holds ${all[key]} (head ${head}, ` +
						`key ${key}); the model's file may be damaged`,
				);
			}
			mean[key]! += all[key]! / heads.length;
		}
	}
	return { heads, mean };
}
