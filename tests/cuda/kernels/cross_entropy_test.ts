// cross_entropy.cu against its formulas: rows longer than a block, ignored rows, targets out of range, NaN.

import {
	checkCrossEntropy,
	IGNORED,
	randomTargets,
} from "../../../src/doctor/self_test/cross_entropy.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("cross-entropy and its gradient equal their formulas at odd sizes", (bench) => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		for (const smoothing of [0, 0.125]) {
			for (const columns of [1, 2, 31, 33, 65, 577, 4096, 4097, 8209]) {
				const targets = randomTargets(bench, 5, columns), x = bench.normals(5 * columns, 3);
				targets[0] = columns - 1;
				checkCrossEntropy(bench, x, targets, dtype, smoothing);
			}
			const rows = bench.device.multiprocessors * 8 * 8 + 3;
			const targets = randomTargets(bench, rows, 3);
			checkCrossEntropy(bench, bench.normals(rows * 3), targets, dtype, smoothing);
		}
	}
});

kernelTest(
	"logits that are masked out, or far from 0, leave the loss accurate",
	(bench) => {
		const x = bench.normals(3 * 5000);
		x.fill(-Infinity, 0, 4500); // the whole first block of a row
		for (let c = 5000; c < 10_000; c++) x[c] = 1000 + x[c]!;
		x[14_990] = 1e4; // a maximum in the second block
		checkCrossEntropy(bench, x, Int32Array.of(4900, 17, 14_990 - 10_000), "float32", 0);
	},
);

kernelTest("a target that is no column, and NaN, make NaN of their row alone", (bench) => {
	const x = bench.normals(4 * 5);
	x[12] = NaN;
	checkCrossEntropy(bench, x, Int32Array.of(5, 2, 2, -1), "float32", 0);
});

kernelTest("the mean of nothing is NaN", (bench) => {
	checkCrossEntropy(
		bench,
		bench.normals(6),
		Int32Array.of(IGNORED, IGNORED),
		"float32",
		0,
	);
});

const smoothed = (bench: Bench) => {
	const targets = Int32Array.of(1, IGNORED, 4999, 17);
	checkCrossEntropy(bench, bench.normals(4 * 5000), targets, "float32", 0.125);
};
faultsAreFound([
	{
		name: "the sum of the blocks before is not scaled",
		file: "cross_entropy.cu",
		from: "sum *= exp2_nonpositive((largest - candidate) * LOG2_E);",
		to: "",
		check: (bench) => {
			const x = Float32Array.from({ length: 5000 }, (_value, c) => c / 1000);
			checkCrossEntropy(bench, x, Int32Array.of(3), "float32", 0);
		},
	},
	{
		name: "the target's own logit is another's",
		file: "cross_entropy.cu",
		from: "to_float(from[target]) : ",
		to: "to_float(from[target / 2]) : ",
		check: smoothed,
	},
	{
		name: "smoothing forgets the mean",
		file: "cross_entropy.cu",
		from: "(largest - total / static_cast<float>(columns))",
		to: "largest",
		check: smoothed,
	},
	{
		name: "an ignored row counts in the mean",
		file: "cross_entropy.cu",
		from: "targets[row] != ignored",
		to: "1",
		check: smoothed,
	},
	{
		name: "the gradient of the target forgets the 1",
		file: "cross_entropy.cu",
		from: "(1.0f - smoothing)) * factor",
		to: "0.0f) * factor",
		check: smoothed,
	},
	{
		name: "an ignored row has a gradient",
		file: "cross_entropy.cu",
		from: "if (target == ignored)",
		to: "if (false)",
		check: smoothed,
	},
]);
