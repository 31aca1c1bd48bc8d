// unary.cu against Math in float64.

import {
	checkClamp,
	checkSlope,
	checkValue,
	FUNCTIONS,
	inputsOf,
} from "../../../src/doctor/self_test/unary.ts";
import { type Bench, type Fault, faultsAreFound, kernelTest } from "./bench.ts";

const COUNTS = [1, 2, 31, 33, 255, 257, 577];

for (const name of Object.keys(FUNCTIONS)) {
	kernelTest(`${name} and its gradient equal their formulas at odd sizes`, (bench) => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const count of [...COUNTS, bench.device.multiprocessors * 8 * 257 + 3]) {
				const x = inputsOf(bench, name, count);
				checkValue(bench, name, dtype, x);
				checkSlope(bench, name, dtype, bench.normals(count), x);
			}
		}
	});
}

kernelTest("clamp and its gradient equal their formulas at odd sizes", (bench) => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		for (const count of COUNTS) checkClamp(bench, dtype, bench.normals(count));
		checkClamp(bench, dtype, [NaN, Infinity, -Infinity, -0.75, 1.25]);
	}
});

kernelTest(
	"sin and cos of large angles leave the others of their piece right",
	(bench) => {
		const angles = bench.normals(700, 1e3);
		angles.set([1e8, -3e20, 65537, Infinity, NaN], 290);
		for (const name of ["sin", "cos"]) {
			checkValue(bench, name, "float32", angles);
			checkSlope(bench, name, "float32", bench.normals(700), angles);
		}
	},
);

const value = (name: string) => (bench: Bench) =>
	checkValue(bench, name, "float32", inputsOf(bench, name, 577));
const slope = (name: string) => (bench: Bench) =>
	checkSlope(bench, name, "float32", bench.normals(577), inputsOf(bench, name, 577));
const fault = (
	name: string,
	from: string | RegExp,
	to: string,
	check: Fault["check"],
): Fault => ({
	name,
	file: "unary.cu",
	from,
	to,
	check,
});

faultsAreFound([
	fault(
		"the last element is left out",
		"i < span_end(count)",
		"i < span_end(count - 1)",
		value("exp"),
	),
	fault("one element too many", "i < span_end(count)", "i < span_end(count + 1)", slope("exp")),
	fault(
		"x for the gradient",
		"F::backward(to_float(g[i])",
		"F::backward(to_float(saved[i])",
		slope("log"),
	),
	fault("the sign of cos' gradient", "value : -value", "value : value", slope("cos")),
	fault("sin for cos", "1 - QUARTERS", "QUARTERS", slope("sin")),
	fault("the last angle of a piece is left out", "k < length", "k < length - 1", value("sin")),
	fault(
		"large angles by the quick way",
		"QUARTERS == 0 ? sinf(angle[i]) : cosf(angle[i])",
		"sin_of_quarters(angle[i], QUARTERS)",
		(bench) => checkValue(bench, "sin", "float32", Float32Array.of(1, 1e8, 2, 3e20)),
	),
	fault("round as floor", "rintf(x)", "floorf(x)", value("round")),
	fault(
		"clamp takes the lower limit for both",
		"value > high ? high",
		"value > high ? low",
		(bench) => checkClamp(bench, "float32", bench.normals(99)),
	),
	fault(
		"clamp's gradient passes everywhere",
		"(value >= low) & (value <= high)",
		"value <= high",
		(bench) => checkClamp(bench, "float32", bench.normals(99)),
	),
]);
