// losses.cu against formulas in float64 at odd sizes, far from zero, and with NaN.

import { checkLoss, LOSSES, lossInputs } from "../../../src/doctor/self_test/losses.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

for (const name of Object.keys(LOSSES)) {
	kernelTest(`${name} equals its formula at odd sizes`, (bench) => {
		for (const count of [1, 2, 31, 33, 63, 65, 577, 999, 1001, 20_011]) {
			const { x, t } = lossInputs(bench, name, count);
			checkLoss(bench, name, x, t);
		}
	});
}

kernelTest("losses far from zero are finite, and NaN stays", (bench) => {
	const x = Float32Array.of(0, -0, 100, -100, 1e30, -1e30, NaN, 1, 80);
	const t = Float32Array.of(0, 1, 0, 1, 1, 0, 1, NaN, 0.5);
	checkLoss(bench, "binary_cross_entropy", x, t);
	checkLoss(bench, "squared_error", x.map((v) => v === 0 ? 1 : v % 1000), t);
	checkLoss(
		bench,
		"kl_divergence",
		Float32Array.of(-100, 0, NaN, -1e30, -1),
		Float32Array.of(1e-30, 1, 0.5, 0.25, NaN),
	);
});

faultsAreFound([
	{
		name: "a part ends an element early",
		file: "losses.cu",
		from: "parts - begin);",
		to: "parts - begin - 1);",
		check: (bench) => {
			const { x, t } = lossInputs(bench, "squared_error", 33);
			checkLoss(bench, "squared_error", x, t);
		},
	},
	{
		name: "all have the first one's gradient",
		file: "losses.cu",
		from: "factor * g[i]",
		to: "factor * g[0]",
		check: (bench) => {
			const { x, t } = lossInputs(bench, "squared_error", 33);
			checkLoss(bench, "squared_error", x, t);
		},
	},
	{
		name: "the exponential's sign is forgotten",
		file: "losses.cu",
		from: "(x < 0 ? power : 1.0f)",
		to: "1.0f",
		check: (bench) => {
			const { x, t } = lossInputs(bench, "binary_cross_entropy", 33);
			checkLoss(bench, "binary_cross_entropy", x, t);
		},
	},
	{
		name: "a target of 0 has a loss",
		file: "losses.cu",
		from: "t == 0 ? 0.0f : fast_log(t) + 1.0f - x",
		to: "fast_log(t) + 1.0f - x",
		check: (bench) => {
			const { x, t } = lossInputs(bench, "kl_divergence", 33);
			checkLoss(bench, "kl_divergence", x, t);
		},
	},
]);
