// in_place.cu against y + x and y · factor in float64.

import { checkInPlace } from "../../../src/doctor/self_test/in_place.ts";
import { type Fault, faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("sums and products in place equal their formulas at odd sizes", (bench) => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		for (const count of [1, 2, 31, 33, 577, bench.device.multiprocessors * 8 * 257 + 3]) {
			checkInPlace(bench, dtype, count);
		}
	}
});

const check: Fault["check"] = (bench) => checkInPlace(bench, "float32", 577);
const fault = (name: string, from: string, to: string): Fault => ({
	name,
	file: "in_place.cu",
	from,
	to,
	check,
});
faultsAreFound([
	fault("x takes y's place", "to_float(y[i]) + to_float(x[i])", "to_float(x[i])"),
	fault("the factor is added", "to_float(y[i]) * factor", "to_float(y[i]) + factor"),
	fault("the last element is left out", "i < span_end(count)", "i < span_end(count - 1)"),
]);
