// find.cu against a search: the first of equal values, NaN, and values that are not there.

import { checkFind } from "../../../src/doctor/self_test/find.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

const max = (line: number[]) => Math.max(...line); // NaN if there is one

/** Whole numbers, of which many are equal. */
const whole = ({ random }: Bench, count: number) =>
	Float32Array.from({ length: count }, () => random.below(5));

kernelTest("find gives the first of equal values at odd sizes", (bench) => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		for (const reduced of [1, 2, 31, 33, 63, 64, 65, 127, 577]) {
			for (const inner of [1, 2, 65, 513]) {
				for (const parts of [1, 3]) {
					const shape = { outer: 2, reduced, inner, parts };
					const x = whole(bench, 2 * reduced * inner);
					checkFind(bench, dtype, x, shape, max);
				}
			}
		}
		const rows = bench.device.multiprocessors * 8 * 8 + 3;
		checkFind(bench, dtype, whole(bench, rows * 2), {
			outer: rows,
			reduced: 2,
			inner: 1,
			parts: 1,
		}, max);
	}
});

kernelTest(
	"NaN is found where it first stands, and what is not there nowhere",
	(bench) => {
		for (let at = 0; at < 130; at += 1 + bench.random.below(9)) {
			const x = bench.normals(130);
			x[at] = x[at + bench.random.below(130 - at)] = NaN;
			const shape = { outer: 1, reduced: 130, inner: 1, parts: 1 + at % 3 };
			for (const by of ["rows", "columns"] as const) {
				checkFind(bench, "float32", x, shape, max, by);
				checkFind(bench, "float32", x, shape, () => 1000, by);
			}
		}
	},
);

const small = (inner: number) => (bench: Bench) => {
	const x = whole(bench, 2 * 97 * inner);
	const shape = { outer: 2, reduced: 97, inner, parts: 2 };
	checkFind(bench, "float32", x, shape, max, undefined);
};
faultsAreFound([
	{
		name: "rows give the last of equal values",
		file: "find.cu",
		from: "index + row, j",
		to: "index + row, end - 1",
		check: small(1),
	},
	{
		name: "columns give the last of equal values",
		file: "find.cu",
		from: "int r = end - 1; r >= begin; r--",
		to: "int r = begin; r < end; r++",
		check: small(3),
	},
	{
		name: "NaN is not found",
		file: "find.cu",
		from: "same(to_float(from[j]), wanted)",
		to: "(to_float(from[j]) == wanted)",
		check: (bench) => {
			const shape = { outer: 1, reduced: 3, inner: 1, parts: 1 };
			checkFind(bench, "float32", [1, NaN, 2], shape, max, "rows");
		},
	},
]);
