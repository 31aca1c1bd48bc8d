// activation.cu against formulas in float64; its functions of one tensor are in unary_test.ts.

import { checkBias } from "../../../src/doctor/self_test/activation.ts";
import { ACTIVATIONS, checkSlope, checkValue } from "../../../src/doctor/self_test/unary.ts";
import { type Fault, faultsAreFound, kernelTest } from "./bench.ts";

for (const name of Object.keys(ACTIVATIONS)) {
	kernelTest(`${name} of x + bias and its gradient equal their formulas`, (bench) => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const rows of [1, 2, 33]) {
				for (const columns of [1, 31, 33, 65, 577]) {
					checkBias(bench, name, dtype, rows, columns);
				}
			}
			checkBias(bench, name, dtype, bench.device.multiprocessors * 8 * 8 + 3, 3);
		}
	});
}

const bias: Fault["check"] = (bench) => checkBias(bench, "silu", "float32", 3, 33);
const fault = (name: string, from: string, to: string, check = bias): Fault => ({
	name,
	file: "activation.cu",
	from,
	to,
	check,
});
faultsAreFound([
	fault("the bias is of the row", "to_float(bias[c])", "to_float(bias[row])"),
	fault("the last column is left out", "c < columns", "c < columns - 1"),
	fault("one column too many is written", "c < columns", "c <= columns"),
	fault(
		"the gradient goes by x alone",
		"F::backward(to_float(g[at + c]), input)",
		"F::backward(to_float(g[at + c]), to_float(x[at + c]))",
	),
	fault(
		"the last element is left out",
		"i < span_end(count)",
		"i < span_end(count - 1)",
		(bench) => checkValue(bench, "silu", "float32", bench.normals(99)),
	),
	fault(
		"the gradient goes by itself",
		"to_float(g[i]), to_float(x[i])",
		"to_float(x[i]), to_float(x[i])",
		(bench) => checkSlope(bench, "silu", "float32", bench.normals(99), bench.normals(99)),
	),
]);
