// Losses element by element against their formulas, in each reduction, and their gradients.

import { assertEquals, assertThrows } from "@std/assert";
import { binaryCrossEntropyWithLogits, klDivergence, mseLoss, Tensor } from "../../mod.ts";
import { checkOp } from "./gradients.ts";
import { device, deviceTest, normal, random } from "./on_device.ts";

const LOSSES = [
	{ op: mseLoss, of: (x: number, t: number) => (x - t) ** 2, target: () => normal(1)[0]! },
	{
		op: binaryCrossEntropyWithLogits,
		of: (x: number, t: number) => Math.max(x, 0) - x * t + Math.log1p(Math.exp(-Math.abs(x))),
		target: random,
	},
	{
		op: klDivergence,
		of: (x: number, t: number) => t * (Math.log(t) - x),
		target: () => 0.1 + random(),
	},
];

for (const { op, of, target } of LOSSES) {
	for (const reduction of ["mean", "sum", "none"] as const) {
		deviceTest(`${op.name}, ${reduction}`, () => {
			for (const shape of [[3, 5], [9001], []]) {
				const size = shape.reduce((a, b) => a * b, 1);
				checkOp({
					name: op.name,
					inputs: [{ shape, transposed: shape.length === 2 }, {
						shape,
						data: Array.from({ length: size }, target),
					}],
					op: (x, t) => op(x, t, { reduction }),
					reference: (x, t) => {
						const each = Array.from(x.data, (v, i) => of(v, t.data[i]!));
						const sum = each.reduce((a, b) => a + b, 0);
						return reduction === "none" ? each : [reduction === "sum" ? sum : sum / size];
					},
					// A difference of whole sums loses the digits of one term.
					tolerance: size > 1000 && reduction !== "none" ? 1e-4 : 1e-5,
					step: 1e-4,
				});
			}
		});
	}
}

deviceTest("klDivergence by batch divides by the first extent", () => {
	using x = Tensor.from<"float32", 2>(device, "float32", [2, 2], [-1, -1, -1, -1]);
	using t = Tensor.from<"float32", 2>(device, "float32", [2, 2], [0, 1, 1, 0]);
	using loss = klDivergence(x, t, { reduction: "batchMean" });
	assertEquals([...loss.dataSync()], [1]);
});

deviceTest("the mean loss of nothing is NaN, the sum 0", () => {
	using x = Tensor.zeros<"float32", 1>(device, "float32", [0]);
	using mean = mseLoss(x, x), sum = mseLoss(x, x, { reduction: "sum" });
	assertEquals([mean.dataSync()[0], sum.dataSync()[0]], [NaN, 0]);
});

deviceTest("a target of another shape is refused", () => {
	using x = Tensor.zeros<"float32", 1>(device, "float32", [2]);
	using t = Tensor.zeros<"float32", 1>(device, "float32", [3]);
	assertThrows(
		() => mseLoss(x, t),
		RangeError,
		"Cannot compute mseLoss: the target must have shape [2], got [3]",
	);
});
