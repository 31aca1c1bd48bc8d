// sort.cu against stable sorting in TypeScript: odd sizes, equal elements, NaN, infinities and zeros.

import { checkQuantile, checkSort, checkUnsort } from "../../../src/doctor/self_test/sort.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

const TYPES = ["float32", "bfloat16"] as const;

kernelTest("rows are sorted at odd sizes, in either direction", (bench) => {
	for (const dtype of TYPES) {
		for (const columns of [1, 2, 31, 33, 63, 65, 577, 5003]) {
			for (const descending of [false, true]) {
				checkSort(bench, bench.normals(3 * columns, 100), columns, columns, descending, dtype);
			}
		}
		const rows = bench.device.multiprocessors * 8 * 8 + 3;
		checkSort(bench, bench.normals(rows * 2), 2, 2, false, dtype);
	}
});

kernelTest("the first of sorted rows are the first, however many", (bench) => {
	for (const columns of [1, 33, 65, 577, 5003]) {
		for (const top of [1, 2, 7, 32, 64, columns - 1].filter((top) => top > 0 && top <= columns)) {
			for (const descending of [false, true]) {
				checkSort(bench, bench.normals(2 * columns), columns, top, descending);
			}
		}
	}
	checkSort(bench, bench.normals(5), 5, 0, true);
});

kernelTest(
	"equal elements keep their order; NaN is the largest, and -0 equals 0",
	(bench) => {
		const special = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 2 ** -149, -(2 ** -149), 3e38, -3e38];
		for (const columns of [11, 100, 700]) {
			const x = Float32Array.from({ length: 2 * columns }, () => special[bench.random.below(11)]!);
			for (const top of [columns, 5, 11]) {
				for (const descending of [false, true]) checkSort(bench, x, columns, top, descending);
			}
		}
	},
);

kernelTest("gradients of sorted rows go where the elements came from", (bench) => {
	for (const dtype of TYPES) {
		for (const [columns, top] of [[1, 1], [33, 33], [577, 64]] as const) {
			checkUnsort(bench, 3, columns, top, dtype);
		}
	}
});

kernelTest("quantiles lie between their neighbours", (bench) => {
	for (const [columns, position] of [[1, 0], [2, 0.5], [33, 31.75], [33, 0], [33, 32]] as const) {
		checkQuantile(bench, 300, columns, position);
	}
});

const sorted = (bench: Bench) => {
	checkSort(bench, bench.normals(4 * 700), 700, 700, false, "float32");
};
faultsAreFound([
	{
		name: "the last digit's first bits are forgotten",
		file: "sort.cu",
		from: "shift < 32",
		to: "shift < 20",
		check: sorted,
	},
	{
		name: "equal elements change places",
		file: "sort.cu",
		from: "{key, i}",
		to: "{key, columns - 1 - i}",
		check: (bench) => {
			checkSort(bench, new Float32Array(70), 70, 70, false, "float32");
		},
	},
	{
		name: "too few elements are kept",
		file: "sort.cu",
		from: "if (key <= last)",
		to: "if (key < last)",
		check: (bench) => {
			checkSort(bench, new Float32Array(700).fill(1), 700, 5, true, "float32");
		},
	},
	{
		name: "negative numbers are sorted by their size",
		file: "sort.cu",
		from: "? ~bits :",
		to: "? bits ^ 0x80000000u :",
		check: sorted,
	},
	{
		name: "a quantile is not NaN where the row has one",
		file: "sort.cu",
		from: "most != most ? most : value",
		to: "value",
		check: (bench) => checkQuantile(bench, 5, 33, 7.5),
	},
]);
