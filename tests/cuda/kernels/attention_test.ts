// attention.cu: causal softmax over rows of scores, and the sums over queries of its probabilities.

import { assert, assertEquals } from "@std/assert";
import {
	checkDeltas,
	checkSoftmax,
	checkSums,
	checkWeights,
	KINDS,
	type Scores,
	softmax,
	VISIBILITIES,
} from "../../../src/doctor/self_test/attention.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

type Kind = keyof typeof KINDS;
const ALL_KINDS = Object.keys(KINDS) as Kind[];

for (const dtype of ["float32", "bfloat16"] as const) {
	kernelTest(`causal softmax equals its formula as ${dtype}`, (bench) => {
		for (const keys of [1, 2, 31, 33, 63, 65, 127, 577]) {
			checkSoftmax(
				bench,
				{ heads: 2, queries: 3, first: keys - 1, keys, stride: keys },
				dtype,
			);
			checkSoftmax(
				bench,
				{ heads: 3, queries: keys, first: 0, keys, stride: keys + 3 },
				dtype,
			);
		}
		// A block of queries in the middle; the last of them see all keys.
		checkSoftmax(bench, { heads: 2, queries: 31, first: 17, keys: 40, stride: 48 }, dtype);
		checkSoftmax(bench, { heads: 700, queries: 2, first: 0, keys: 2, stride: 2 }, dtype);
	});
}

kernelTest("softmax may overwrite its scores as float32", (bench) => {
	const shape = { heads: 2, queries: 33, first: 0, keys: 33, stride: 33 };
	const scores = bench.normals(2 * 33 * 33);
	const expected = softmax(bench, scores, shape, "float32", 1).take();
	const memory = bench.given("float32", scores), sizes = [66, 2, 33, 0, 33, 33];
	const kernel = "attention_softmax_float32";
	bench.overRows(kernel, 66, memory, memory, null, null, ...sizes, 1, 0, 1);
	assertEquals(memory.take(), expected);
});

kernelTest("softmax gives a key at -∞ nothing, and one visible key everything", (bench) => {
	const row = { heads: 1, queries: 1, first: 2, keys: 3, stride: 3 };
	const of = (
		...scores: number[]
	) => [...softmax(bench, Float32Array.from(scores), row, "float32", 1).take()];
	assertEquals(of(-Infinity, 5, -Infinity), [0, 1, 0]);
	assertEquals(of(3e38, 3e38, -3e38), [0.5, 0.5, 0]);
	assertEquals(of(-3e38, -3e38, -3e38).map((p) => Math.abs(p - 1 / 3) < 1e-7), [true, true, true]);
	const single = { ...row, first: 0 };
	assertEquals([...softmax(bench, Float32Array.of(-1e30, NaN, 1), single, "float32", 1).take()], [
		1,
		0,
		0,
	]);
});

kernelTest("softmax has no answer where it sees NaN, +∞, or -∞ alone", (bench) => {
	const row = { heads: 1, queries: 1, first: 2, keys: 3, stride: 3 };
	const of = (
		...words: number[]
	) => [...softmax(bench, Float32Array.from(words), row, "float32", 1).take()];
	assertEquals(of(1, NaN, 2), [NaN, NaN, NaN]);
	assertEquals(of(-Infinity, -Infinity, -Infinity), [NaN, NaN, NaN]);
	assert(of(1, Infinity, 2).some(Number.isNaN));
	const negative = new Float32Array(Uint32Array.of(0, 0xffc00000, 0).buffer);
	assertEquals([...softmax(bench, negative, row, "float32", 1).take()], [NaN, NaN, NaN]);
});

for (const dtype of ["float32", "bfloat16"] as const) {
	kernelTest(
		`sums over queries are added to what was there, from ${dtype}`,
		(bench) => {
			for (const keys of [1, 31, 33, 63, 64, 65, 127, 128, 577]) {
				for (const queries of [1, 2, 33]) {
					checkSums(bench, { heads: 3, queries, first: 0, keys, stride: keys + 1 }, dtype);
				}
			}
			checkSums(bench, { heads: 300, queries: 2, first: 0, keys: 65, stride: 65 }, dtype);
		},
	);
}

for (const dtype of ["float32", "bfloat16"] as const) {
	for (const kind of ALL_KINDS) {
		kernelTest(
			`${kind} weights and their gradients equal their formulas as ${dtype}`,
			(bench) => {
				for (const visibility of VISIBILITIES) {
					for (const keys of [1, 2, 31, 33, 64, 131]) {
						const all = { heads: 3, queries: keys, first: 0, keys, stride: keys + 2 };
						checkWeights(bench, all, { visibility, kind, dtype });
						const some = { heads: 2, queries: 1, first: keys - 1, keys, stride: keys };
						checkWeights(bench, some, { visibility, kind, dtype });
					}
				}
			},
		);
	}
}

for (const dtype of ["float32", "bfloat16"] as const) {
	kernelTest(
		`several key-value heads in one launch are as one after the other, ${dtype}`,
		(bench) => {
			for (
				const [batch, heads, queries, first] of [[2, 1, 1, 0], [5, 1, 33, 0], [
					3,
					4,
					7,
					20,
				]] as const
			) {
				const shape = {
					batch,
					heads,
					queries,
					first,
					keys: first + queries,
					stride: first + queries,
				};
				checkSoftmax(bench, shape, dtype);
				for (const visibility of VISIBILITIES.filter(({ sloped }) => !sloped)) {
					for (const kind of ALL_KINDS) {
						checkWeights(bench, shape, { visibility, kind, dtype });
					}
				}
			}
		},
	);

	kernelTest(
		`gradients of contexts are moved and summed head by head, ${dtype}`,
		(bench) => {
			for (
				const [batch, tokens, heads, group, d] of [[1, 1, 1, 1, 1], [3, 2, 1, 5, 31], [
					2,
					7,
					3,
					2,
					65,
				]] as const
			) {
				for (const summed of [false, true]) {
					checkDeltas(bench, { batch, tokens, heads, group, d }, { dtype, summed });
				}
			}
		},
	);
}

const shape: Scores = { heads: 2, queries: 5, first: 0, keys: 5, stride: 7 };
const small = (bench: Bench) => checkSoftmax(bench, shape, "float32");
const sums = (bench: Bench) => checkSums(bench, shape, "float32");
const [, windowed] = VISIBILITIES;
const general = (kind: Kind) => (bench: Bench) =>
	checkWeights(bench, { heads: 2, queries: 9, first: 2, keys: 11, stride: 12 }, {
		visibility: windowed!,
		kind,
		dtype: "float32",
	});
const several: Scores = { batch: 3, heads: 2, queries: 5, first: 0, keys: 5, stride: 5 };
const deltas = (bench: Bench) =>
	checkDeltas(bench, { batch: 2, tokens: 3, heads: 2, group: 2, d: 5 }, {
		dtype: "float32",
		summed: true,
	});
faultsAreFound([
	{
		name: "the second key-value head goes on where the first ends",
		file: "attention.cu",
		from: "row / group % queries",
		to: "row / group",
		check: (bench) => checkSoftmax(bench, several, "float32"),
	},
	{
		name: "gradients are read as if sequences had one head",
		file: "attention.cu",
		from: "(head / heads * tokens + token) * heads + head % heads",
		to: "head * tokens + token",
		check: deltas,
	},
	{
		name: "the gradient of log Σ exp is added",
		file: "attention.cu",
		from: "sum - (d_log_sums",
		to: "sum + (d_log_sums",
		check: deltas,
	},
	{
		name: "a window is one key too long",
		file: "attention.cu",
		from: "position + 1 - window : 0",
		to: "position - window : 0",
		check: general("softmax"),
	},
	{
		name: "slopes are scaled as scores are",
		file: "attention.cu",
		from: "slopes[row % all.group] / all.scale",
		to: "slopes[row % all.group]",
		check: general("softmax"),
	},
	{
		name: "the sums leave out the largest score",
		file: "attention.cu",
		from: "largest * all.scale + logf(sum)",
		to: "logf(sum)",
		check: general("softmax"),
	},
	{
		name: "gradients leave out the rows' means",
		file: "attention.cu",
		from: "(weigh.slope(p) * gradient[j] - delta)",
		to: "weigh.slope(p) * gradient[j]",
		check: general("softmax"),
	},
	{
		name: "gradients of sigmoids are those of exponentials",
		file: "attention.cu",
		from: "weight * (1.0f - weight) * gradient[j]",
		to: "weight * gradient[j]",
		check: general("sigmoid"),
	},
	{
		name: "what is clipped away still has a gradient",
		file: "attention.cu",
		from: "stretched <= 1.0f ? stretch : 0.0f",
		to: "stretched <= 1.0f ? stretch : stretch",
		check: general("clipped"),
	},
	{
		name: "gradients of clipped weights leave out what the whole row's say",
		file: "attention.cu",
		from: "delta += seen.visible(j) ? product : 0.0f",
		to: "delta += 0.0f",
		check: general("clipped"),
	},
	{
		name: "clipped weights fall below 0",
		file: "attention.cu",
		from: "stretched < 0.0f ? 0.0f : stretched",
		to: "stretched",
		check: general("clipped"),
	},
	{
		name: "softpick's divisor has the terms' signs",
		file: "attention.cu",
		from: "sum += absolute(from[j])",
		to: "sum += from[j]",
		check: general("softpick"),
	},
	{
		name: "softpick's divisor has no epsilon",
		file: "attention.cu",
		from: "+ one * epsilon",
		to: "+ 0.0f * epsilon",
		check: general("softpick"),
	},
	{
		name: "logits below 0 do not move softpick's divisor",
		file: "attention.cu",
		from: "? above : delta",
		to: "? above : 0.0f",
		check: general("softpick"),
	},
	{
		name: "a query does not see itself",
		file: "attention.cu",
		from: "position < keys ? position + 1 : keys",
		to: "position < keys ? position : keys",
		check: small,
	},
	{
		name: "a hidden key among the last 16 counts",
		file: "attention.cu",
		from: "seen.visible(j) ? power : 0.0f",
		to: "power",
		check: small,
	},
	{
		name: "hidden keys are not cleared",
		file: "attention.cu",
		from: "seen.clear_others(to, all.keys);\n    if (log_sums",
		to: "if (log_sums",
		check: (bench) =>
			checkSoftmax(
				bench,
				{ ...shape, queries: 33, keys: 33, stride: 34 },
				"float32",
			),
	},
	{
		name: "sums replace what was there",
		file: "attention.cu",
		from: "to[t * WARP + lane()] += partial[t]",
		to: "to[t * WARP + lane()] = partial[t]",
		check: sums,
	},
]);
