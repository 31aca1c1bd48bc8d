// optimizer.cu against the formulas of each optimizer in float64.

import { checkNorm, checkStep } from "../../../src/doctor/self_test/optimizer.ts";
import { type Fault, faultsAreFound, kernelTest } from "./bench.ts";

const STEPS = ["adamw_step", "sgd_step", "muon_momentum", "muon_apply"];
const SIZES = [[1], [33, 2], [577, 31, 1000], [16383, 16384, 5, 16385, 7]];

kernelTest("steps of optimizers equal their formulas at odd sizes", (bench) => {
	for (const kernel of STEPS) {
		for (const sizes of SIZES) checkStep(bench, kernel, sizes);
		checkStep(bench, kernel, [97], { clip: 1 });
	}
});

kernelTest("after a gradient that is not finite a step changes nothing", (bench) => {
	for (const kernel of STEPS) checkStep(bench, kernel, [97, 1001], { halted: true });
});

kernelTest("the norm of gradients equals the formula at odd sizes", (bench) => {
	for (const sizes of SIZES) {
		for (const maximum of [0.5, 1e6, Infinity]) checkNorm(bench, sizes, { maximum });
	}
});

kernelTest(
	"what is not finite is found, in gradients and loss, and not forgotten",
	(bench) => {
		for (const spoil of [NaN, Infinity, -Infinity]) {
			checkNorm(bench, [40, 16500], { spoil });
			checkNorm(bench, [97], { loss: spoil });
		}
		checkNorm(bench, [97], { loss: 2.5 });
		checkNorm(bench, [97], { loss: 2.5, before: 1 });
	},
);

const fault = (name: string, from: string, to: string, check: Fault["check"]): Fault => ({
	name,
	file: "optimizer.cu",
	from,
	to,
	check,
});
const step = (kernel: string, halted = false): Fault["check"] => (bench) => {
	checkStep(bench, kernel, [97, 1001], { halted });
};
const norm = (options = {}): Fault["check"] => (bench) => {
	checkNorm(bench, [97, 1001], { ...options });
};
faultsAreFound([
	fault(
		"AdamW forgets to clip",
		"clip * g[i];\n    float mean",
		"g[i];\n    float mean",
		step("adamw_step"),
	),
	fault(
		"AdamW's decay is part of the gradient",
		"keep * p[i] - rate * mean",
		"p[i] - rate * mean",
		step("adamw_step"),
	),
	fault(
		"the second mean is not corrected",
		"sqrtf(square) * root2",
		"sqrtf(square)",
		step("adamw_step"),
	),
	fault("SGD loses its decay", "+ decay * p[i]", "", step("sgd_step")),
	fault(
		"Nesterov's momentum is left out",
		"ahead * velocity + now * gradient",
		"velocity",
		step("sgd_step"),
	),
	fault(
		"Muon's mean is a sum",
		"momentum * m[i] + new1 * gradient;\n    m[i]",
		"momentum * m[i] + gradient;\n    m[i]",
		step("muon_momentum"),
	),
	fault("Muon's scale is left out", "learning_rate * t.scale", "learning_rate", step("muon_apply")),
	fault(
		"a step goes on after a halt",
		"verdict && verdict[2] != 0.0f",
		"false",
		step("adamw_step", true),
	),
	fault(
		"the last chunk is left out",
		"chunk < end; chunk++",
		"chunk + 1 < end; chunk++",
		step("sgd_step"),
	),
	fault("the norm is not a root", "sqrt(total)", "total", norm()),
	fault(
		"clipping makes small gradients larger",
		"factor < 1.0f ? factor : 1.0f",
		"factor",
		norm({ maximum: 1e6 }),
	),
	fault("the loss is not looked at", "loss && !finite(*loss)", "false", norm({ loss: NaN })),
	fault("an infinite norm passes", "!finite(norm)", "norm != norm", norm({ spoil: Infinity })),
]);
