// softmax.cu against its formulas: odd sizes, causal rows, rows of NaN and infinities.

import { assertEquals } from "@std/assert";
import {
	checkLogSoftmax,
	checkSoftmax,
	checkSoftmaxBackward,
} from "../../../src/doctor/self_test/softmax.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

const COLUMNS = [1, 2, 31, 33, 63, 64, 65, 127, 577];
const TYPES = ["float32", "bfloat16"] as const;

/** Numbers that are large, but no farther from each other than others. */
const above = (bench: Bench, least: number, count: number) =>
	bench.normals(count, 3).map((x) => x + least);

kernelTest("softmax and its logarithm equal their formulas at odd sizes", (bench) => {
	for (const dtype of TYPES) {
		for (const columns of COLUMNS) {
			const x = bench.normals(5 * columns, 6);
			checkSoftmax(bench, x, columns, dtype);
			checkSoftmax(bench, x, columns, dtype, 0.125);
			checkLogSoftmax(bench, x, columns, dtype);
		}
		checkLogSoftmax(bench, above(bench, 1000, 5 * 33), 33, dtype);
		const rows = bench.device.multiprocessors * 8 * 8 + 3;
		checkSoftmax(bench, bench.normals(rows * 3), 3, dtype);
		checkLogSoftmax(bench, bench.normals(rows * 3), 3, dtype);
		checkSoftmax(bench, [], 0, dtype);
	}
});

kernelTest("causal rows see the keys up to their own", (bench) => {
	for (const dtype of TYPES) {
		for (const [queries, keys] of [[1, 1], [1, 5], [3, 3], [33, 65], [65, 65], [5, 3]] as const) {
			checkSoftmax(bench, bench.normals(2 * queries * keys, 6), keys, dtype, 0.5, queries);
		}
	}
});

kernelTest("gradients equal their formulas at odd sizes", (bench) => {
	for (const dtype of TYPES) {
		for (const kind of ["softmax", "log_softmax"] as const) {
			for (const columns of COLUMNS) {
				checkSoftmaxBackward(bench, kind, 5, columns, dtype, 0.75);
			}
			checkSoftmaxBackward(bench, kind, bench.device.multiprocessors * 8 * 8 + 3, 3, dtype);
		}
	}
});

kernelTest("NaN and infinities make the same of a row as in PyTorch", (bench) => {
	const x = [
		1,
		NaN,
		2,
		-Infinity,
		0,
		0,
		-Infinity,
		-Infinity,
		-Infinity,
		1,
		Infinity,
		1,
		3e38,
		-3e38,
		0,
	];
	const from = bench.given("float32", x);
	const run = (name: string, ...rest: number[]) => {
		const y = bench.wanted("float32", x.length);
		bench.device.kernel(name).overRows(5, y.pointer, from.pointer, 5, 3, ...rest);
		return Array.from(y.take());
	};
	const none = [NaN, NaN, NaN];
	assertEquals(run("softmax_float32", 0, 1), [...none, 0, 0.5, 0.5, ...none, ...none, 1, 0, 0]);
	const half = Math.fround(-Math.LN2);
	assertEquals(
		run("log_softmax_float32"),
		[...none, -Infinity, half, half, ...none, ...none, 0, -Infinity, Math.fround(-3e38)],
	);
});

const softmax = (bench: Bench) =>
	checkSoftmax(bench, bench.normals(6 * 33, 3), 33, "float32", 0.5, 3);
const inBfloat16 = (bench: Bench) =>
	checkSoftmax(bench, bench.normals(6 * 33, 3), 33, "bfloat16", 0.5, 3);
faultsAreFound([
	{
		name: "a query sees one key more",
		file: "softmax.cu",
		from: "columns - queries + row % queries + 1",
		to: "columns - queries + row % queries + 2",
		check: softmax,
	},
	{
		name: "the maximum is not subtracted",
		file: "softmax.cu",
		from: "row_max(from, visible)",
		to: "0.0f",
		check: (bench) => checkSoftmax(bench, [200, 1, 2], 3, "float32", 1, 0),
	},
	{
		name: "the scale is forgotten",
		file: "softmax.cu",
		from: "scale * LOG2_E",
		to: "LOG2_E",
		check: inBfloat16,
	},
	{
		name: "the sum of the gradient is forgotten",
		file: "softmax.cu",
		from: "to_float(gradient[c]) - sum",
		to: "to_float(gradient[c])",
		check: (bench) => checkSoftmaxBackward(bench, "softmax", 3, 33, "float32", 1),
	},
	{
		name: "the logarithm's gradient forgets a column",
		file: "softmax.cu",
		from: "c < columns; c += WARP) sum += to_float(gradient[c]);",
		to: "c < columns - 1; c += WARP) sum += to_float(gradient[c]);",
		check: (bench) => checkSoftmaxBackward(bench, "log_softmax", 3, 33, "float32", 1),
	},
	{
		name: "the logarithm's maximum is not put back",
		file: "softmax.cu",
		from: "-1.0f, largest,",
		to: "0.0f, largest,",
		check: (bench) => checkLogSoftmax(bench, bench.normals(99, 3), 33, "float32"),
	},
	{
		name: "the logarithm is added to a maximum that is much larger",
		file: "softmax.cu",
		from: "fmaf(-1.0f, largest, to_float(from[c])) - log_sum",
		to: "to_float(from[c]) - (largest + log_sum)",
		check: (bench) => checkLogSoftmax(bench, above(bench, 1000, 99), 33, "float32"),
	},
]);
