// gated.cu against f(gate) · up and its derivatives in float64.

import { checkGated, GATES, PAIRS, pairsOf } from "../../../src/doctor/self_test/activation.ts";
import { type Fault, faultsAreFound, kernelTest } from "./bench.ts";

for (const name of Object.keys(GATES)) {
	kernelTest(`${name} and its gradient equal their formulas at odd sizes`, (bench) => {
		for (const types of pairsOf(name)) {
			const many = bench.device.multiprocessors * 8 * 8 + 3; // more rows than warps of a full grid
			for (const [rows, columns] of [[1, 1], [2, 31], [33, 33], [2, 65], [33, 577], [many, 3]]) {
				const [halves, gradients] = [2, 1].map((k) => bench.normals(k * rows * columns, 2));
				checkGated(bench, name, types, halves, gradients, rows);
			}
		}
	});
}

kernelTest("swiglu goes to 0 and to the identity far out, and keeps NaN", (bench) => {
	const gate = [-0, 0, 100, 1e30, -80, NaN, 1, 2 ** -140, Infinity];
	const up = [1, 1, 2, 1e-3, 1, 1, NaN, 1, 1], g = Float32Array.from(gate, () => 0.5);
	const halves = Float32Array.of(...gate, ...up);
	halves[8] = halves[3]; // the slope at infinity is NaN, as PyTorch has it
	checkGated(bench, "swiglu", PAIRS[0], halves, g, 1);
});

const simple: Fault["check"] = (bench) =>
	checkGated(bench, "swiglu", PAIRS[0], bench.normals(330, 3), bench.normals(165), 5);
const fault = (name: string, from: string, to: string): Fault => ({
	name,
	file: "gated.cu",
	from,
	to,
	check: simple,
});
faultsAreFound([
	fault("the last column is left out", "c < columns", "c < columns - 1"),
	fault("one column too many is written", "c < columns", "c <= columns"),
	fault("gate and up change places", "GATE = 0", "GATE = 1"),
	fault("gate's gradient goes without up", "gradient * to_float(x[up + c])", "gradient"),
	fault("up's gradient is the gate's", "gradient * F::value(z)", "F::backward(gradient, z)"),
]);
