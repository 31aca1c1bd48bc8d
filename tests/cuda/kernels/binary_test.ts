// binary.cu, compare.cu and select.cu against formulas in float64, through every path of strided.cuh.

import {
	checkOperation,
	dense,
	operandsOf,
	OPERATIONS,
	waysThrough,
} from "../../../src/doctor/self_test/binary.ts";
import { type Bench, type Fault, faultsAreFound, kernelTest } from "./bench.ts";

for (const operation of OPERATIONS) {
	kernelTest(`${operation.kernel} equals its formula however operands lie`, (bench) => {
		for (const dtype of operation.dtypes) {
			for (const [shape, lays] of waysThrough(operandsOf(operation))) {
				checkOperation(bench, operation, dtype, shape, lays);
			}
			// Rows of several pieces, and more pieces than warps.
			const many = [bench.device.multiprocessors * 9, 17], long = [2, 9001];
			for (const shape of [many, long]) {
				const lays = Array.from({ length: operandsOf(operation) }, () => dense(...shape));
				checkOperation(bench, operation, dtype, shape, lays);
				checkOperation(bench, operation, dtype, shape, lays.with(-1, dense(shape[1]!)));
			}
		}
	});
}

const check = (kernel: string): Fault["check"] => (bench: Bench) => {
	const operation = OPERATIONS.find((operation) => operation.kernel === kernel)!;
	const dtype = operation.dtypes[0]!;
	for (const [shape, lays] of waysThrough(operandsOf(operation))) {
		checkOperation(bench, operation, dtype, shape, lays);
	}
};

const fault = (file: string, name: string, from: string, to: string, kernel: string): Fault => ({
	file,
	name,
	from,
	to,
	check: check(kernel),
});

faultsAreFound([
	fault("binary.cu", "subtraction the other way", "a - b", "b - a", "binary_sub"),
	fault("binary.cu", "minimum for maximum", "b != b || a < b", "a > b", "binary_maximum"),
	fault("binary.cu", "the operands' strides change places", "{sc, tc}", "{tc, sc}", "binary_add"),
	fault(
		"binary.cu",
		"the second operand's axes are the first's",
		"{t0, t1",
		"{s0, s1",
		"binary_add",
	),
	fault("binary.cu", "a row is forgotten", "{rows, columns", "{rows - 1, columns", "binary_mul"),
	fault("binary.cu", "a column is forgotten", "{rows, columns", "{rows, columns - 1", "binary_mul"),
	fault(
		"binary.cu",
		"the number is the other operand's",
		"number_a, number_b, over",
		"number_b, number_a, over",
		"binary_sub",
	),
	fault("compare.cu", "less for less or equal", "a <= b", "a < b", "compare_less_equal"),
	fault(
		"select.cu",
		"the choice the other way",
		"condition ? b : c",
		"condition ? c : b",
		"select_where",
	),
	fault("select.cu", "equal ones have the whole gradient", "0.5f * g", "g", "select_maximum"),
	fault(
		"select.cu",
		"the third operand's axes are the second's",
		"{u0, u1",
		"{t0, t1",
		"select_where",
	),
]);
