// The check of operations finds wrong results and wrong gradients, and takes any slope at a kink.

import { assertThrows } from "@std/assert";
import { defineOp, mul, relu, scope, type Tensor } from "../../mod.ts";
import { checkOp } from "./gradients.ts";
import { deviceTest } from "./on_device.ts";

/** 2x with a gradient of one's own. */
const doubled = (slope: number) =>
	defineOp("doubled", (x: Tensor<"float32", 1>) => ({
		result: mul(x, 2),
		inputs: [x],
		backward: (g) => [mul(g, slope)],
	}));
const check = (slope: number, factor = 2) =>
	scope(() =>
		checkOp({
			name: "doubled",
			inputs: [{ shape: [7] }],
			op: doubled(slope),
			reference: (x) => x.data.map((value) => factor * value),
		})
	);

deviceTest("a right operation passes, a wrong result or gradient does not", () => {
	check(2);
	assertThrows(() => check(2, 2.0001), Error, "doubled: result: value");
	for (const slope of [2.0002, -2, 0, NaN]) {
		assertThrows(() => check(slope), Error, "doubled: gradient of input 0");
	}
});

deviceTest("at a kink, any slope between those of its sides is right", () => {
	checkOp({
		name: "relu",
		inputs: [{ shape: [3], data: [0, -1, 2] }],
		op: relu,
		reference: (x) => x.data.map((value) => Math.max(value, 0)),
	});
});
