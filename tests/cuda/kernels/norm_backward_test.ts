// norm_backward.cu against the gradients' formulas in float64.

import {
	checkNormBackward,
	type NormBackwardKind,
} from "../../../src/doctor/self_test/norm_backward.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

for (const norm of ["rms", "layer"] as const) {
	for (const dtype of ["float32", "bfloat16"] as const) {
		kernelTest(`gradients of the ${norm} norm from ${dtype}`, (bench) => {
			for (const [rows, parts] of [[1, 1], [2, 2], [31, 4], [70, 33]]) {
				for (const columns of [1, 2, 31, 33, 577]) {
					for (const options of [{}, { base: true }, { frozen: true }]) {
						checkNormBackward(bench, [rows, columns, parts], { norm, dtype, ...options });
					}
				}
			}
			checkNormBackward(bench, [0, 5, 0], { norm, dtype });
			const parts = bench.device.multiprocessors * 8 * 8 + 1; // more than warps
			checkNormBackward(bench, [parts + 1, 3, parts], { norm, dtype });
		});
	}
}

const check = (kind: NormBackwardKind) => (bench: Bench) => {
	checkNormBackward(bench, [7, 33, 2], kind);
};
const RMS: NormBackwardKind = { norm: "rms", dtype: "float32" };
const LAYER: NormBackwardKind = { norm: "layer", dtype: "float32" };
faultsAreFound([
	{
		name: "a row's mean product is not taken away",
		file: "norm_backward.cu",
		from: " - unit * product",
		to: "",
		check: check(RMS),
	},
	{
		name: "a row's mean is not taken away",
		file: "norm_backward.cu",
		from: "gain[c] - sum",
		to: "gain[c]",
		check: check(LAYER),
	},
	{
		name: "the gain's part begins with what was there",
		file: "norm_backward.cu",
		from: "gain_part[c] = 0;",
		to: "",
		check: check(RMS),
	},
	{
		name: "the bias gets what the gain gets",
		file: "norm_backward.cu",
		from: "bias_part[c] += change;",
		to: "bias_part[c] += change * unit;",
		check: check(LAYER),
	},
	{
		name: "the first part is left out of the sum",
		file: "norm_backward.cu",
		from: "int part = 0;",
		to: "int part = 1;",
		check: check(RMS),
	},
	{
		name: "what the gradient begins with is forgotten",
		file: "norm_backward.cu",
		from: "start[c] + ",
		to: "",
		check: check({ ...RMS, base: true }),
	},
]);
