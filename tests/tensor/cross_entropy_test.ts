// Cross-entropy against its formula, in each reduction, with ignored classes and smoothing, and its gradient.

import { assertEquals, assertThrows } from "@std/assert";
import { crossEntropy, Tensor } from "../../mod.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { device, deviceTest, random } from "./on_device.ts";

const IGNORED = 3;

function losses(logits: Plain, targets: ArrayLike<number>, smoothing: number): number[] {
	const columns = logits.shape.at(-1)!;
	return Array.from({ length: targets.length }, (_, row) => {
		const x = [...logits.data.subarray(row * columns, (row + 1) * columns)];
		if (targets[row] === IGNORED) return 0;
		const logSum = Math.log(x.reduce((sum, v) => sum + Math.exp(v), 0));
		const mean = x.reduce((a, b) => a + b) / columns;
		return logSum - (1 - smoothing) * x[targets[row]!]! - smoothing * mean;
	});
}

for (const dtype of ["float32", "bfloat16"] as const) {
	for (const reduction of ["mean", "sum", "none"] as const) {
		deviceTest(`cross-entropy of ${dtype}, ${reduction}`, () => {
			for (const labelSmoothing of [0, 0.2]) {
				for (const shape of [[6, 11], [2, 3, 50], [1, 5000]]) {
					const rows = shape.slice(0, -1).reduce((a, b) => a * b);
					const ids = Array.from({ length: rows }, () => Math.floor(random() * shape.at(-1)!));
					ids[0] = 1;
					checkOp({
						name: "crossEntropy",
						inputs: [{ shape, dtype, transposed: shape.length === 3 }, {
							shape: shape.slice(0, -1),
							dtype: "int32",
							data: ids,
						}],
						op: (x, targets) =>
							crossEntropy(x, targets, { reduction, labelSmoothing, ignoreIndex: IGNORED }),
						reference: (x) => {
							const each = losses(x, ids, labelSmoothing);
							const sum = each.reduce((a, b) => a + b);
							const count = ids.filter((id) => id !== IGNORED).length;
							return reduction === "none" ? each : [reduction === "sum" ? sum : sum / count];
						},
					});
				}
			}
		});
	}
}

deviceTest("the mean of nothing is NaN, the sum 0", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [0, 5]).requireGrad();
	using targets = Tensor.zeros<"int32", 1>(device, "int32", [0]);
	using mean = crossEntropy(x, targets), sum = crossEntropy(x, targets, { reduction: "sum" });
	using none = crossEntropy(x, targets, { reduction: "none" });
	assertEquals([mean.dataSync()[0], sum.dataSync()[0], [...none.shape]], [NaN, 0, [0]]);
	mean.backward();
	assertEquals([...x.grad!.shape], [0, 5]);
});

deviceTest("targets of another shape, and smoothing out of range, are refused", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
	using targets = Tensor.zeros<"int32", 1>(device, "int32", [3]);
	assertThrows(
		() => crossEntropy(x, targets),
		RangeError,
		"Cannot compute crossEntropy: the targets must have shape [2], got [3]",
	);
	using two = Tensor.zeros<"int32", 1>(device, "int32", [2]);
	assertThrows(
		() => crossEntropy(x, two, { labelSmoothing: 2 }),
		RangeError,
		"Cannot compute crossEntropy: labelSmoothing must be from 0 to 1, got 2",
	);
});
