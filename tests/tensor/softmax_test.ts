// Softmax and its logarithm along any axis, scaled and causal, against their formulas, and their gradients.

import { assertEquals, assertThrows } from "@std/assert";
import { logSoftmax, softmax, Tensor } from "../../mod.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { mapAlong } from "./plain.ts";
import { device, deviceTest } from "./on_device.ts";

function logarithms(line: number[]): number[] {
	const top = Math.max(...line);
	const sum = Math.log(line.reduce((sum, v) => sum + Math.exp(v - top), 0));
	return line.map((v) => v - top - sum);
}
const probabilities = (line: number[]) => logarithms(line).map(Math.exp);

for (const dtype of ["float32", "bfloat16"] as const) {
	for (const axis of [0, 1, -1]) {
		deviceTest(`softmax and its logarithm of ${dtype} along axis ${axis}`, () => {
			for (const transposed of [false, true]) {
				const inputs = [{ shape: [3, 5, 40], dtype, transposed }];
				checkOp({
					name: "softmax",
					inputs,
					op: (x) => softmax(x, axis),
					reference: (x) => mapAlong(x, axis, probabilities),
				});
				checkOp({
					name: "logSoftmax",
					inputs,
					op: (x) => logSoftmax(x, axis),
					reference: (x) => mapAlong(x, axis, logarithms),
				});
			}
		});
	}
}

deviceTest("softmax of scaled causal scores", () => {
	for (const [queries, keys] of [[5, 5], [3, 9], [1, 4]] as const) {
		checkOp({
			name: "causal softmax",
			inputs: [{ shape: [2, 3, queries, keys] }],
			op: (x) => softmax(x, -1, { scale: 0.3, causal: true }),
			reference: (x: Plain) => {
				let row = 0;
				return mapAlong(x, -1, (line) => {
					const visible = keys - queries + row++ % queries + 1;
					const seen = probabilities(line.slice(0, visible).map((v) => 0.3 * v));
					return [...seen, ...line.slice(visible).map(() => 0)];
				});
			},
		});
	}
});

deviceTest("softmax of empty tensors is empty, and of a vector one line", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [3, 0]);
	using y = softmax(x), z = logSoftmax(x, 0);
	assertEquals([[...y.shape], [...z.shape]], [[3, 0], [3, 0]]);
	checkOp({
		name: "softmax",
		inputs: [{ shape: [300] }],
		op: (x) => softmax(x),
		reference: (x) => mapAlong(x, 0, probabilities),
	});
});

deviceTest("a scale that is not positive, and a mask that does not fit, are refused", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [3, 2]);
	assertThrows(
		() => softmax(x, -1, { scale: 0 }),
		RangeError,
		"Cannot compute softmax: the scale must be positive, got 0",
	);
	for (const axis of [0, 1]) {
		assertThrows(
			() => softmax(x, axis, { causal: true }),
			RangeError,
			`Cannot compute causal softmax of [3,2] along axis ${axis}: it takes scores ` +
				"[..., queries, keys] along the last axis, with at least as many keys as queries",
		);
	}
	using scalar = Tensor.zeros<"float32", 0>(device, "float32", []);
	assertThrows(
		() => softmax(scalar),
		RangeError,
		"Cannot compute softmax of []: there is no axis -1",
	);
});
