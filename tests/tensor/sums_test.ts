// Sums, means, products and cumulative sums against plain sums in float64, and their gradients.

import { assertEquals } from "@std/assert";
import { cumulativeSum, mean, prod, sum, Tensor } from "../../mod.ts";
import { checkOp } from "./gradients.ts";
import { linesAlong, mapAlong } from "./plain.ts";
import { device, deviceTest, normal, random } from "./on_device.ts";

/** Numbers whose sums do not cancel. */
const positive = (count: number) => normal(count).map((v) => 1 + Math.abs(v));
const plus = (line: number[]) => line.reduce((a, b) => a + b, 0);
const AXES: (number | number[] | undefined)[] = [undefined, 0, -1, [0, 2], [0, 1], [1, 2], []];
const list = (axes: number | number[] | undefined) =>
	axes === undefined ? [0, 1, 2] : [axes].flat();

for (const axes of AXES) {
	for (const dtype of ["float32", "bfloat16"] as const) {
		deviceTest(`sum and mean over ${axes ?? "all"} of ${dtype}`, () => {
			const inputs = [{ shape: [3, 5, 7], dtype, data: positive(105) }];
			checkOp({
				name: "sum",
				inputs,
				op: (x) => sum(x, axes),
				reference: (x) => linesAlong(x, list(axes)).map(plus),
			});
			checkOp({
				name: "mean",
				inputs,
				op: (x) => mean(x, axes, { keepDims: true }),
				reference: (x) => linesAlong(x, list(axes)).map((line) => plus(line) / line.length),
			});
		});
	}
}

deviceTest("sum of a view with other strides, and of a long axis", () => {
	checkOp({
		name: "sum",
		inputs: [{ shape: [70, 300], transposed: true, data: positive(21_000) }],
		op: (x) => sum(x, 1),
		reference: (x) => linesAlong(x, [1]).map(plus),
	});
	checkOp({
		name: "mean",
		inputs: [{ shape: [20_000], data: positive(20_000) }],
		op: (x) => mean(x),
		reference: (x) => linesAlong(x, [0]).map((line) => plus(line) / line.length),
	});
});

deviceTest(
	"keepDims leaves axes of extent 1, and of no elements the sum is 0 and the mean NaN",
	() => {
		using x = Tensor.zeros<"float32", 3>(device, "float32", [2, 0, 3]);
		using kept = sum(x, 1, { keepDims: true }), none = mean(x), gone = sum(x, 0);
		assertEquals([...kept.shape], [2, 1, 3]);
		assertEquals([...kept.dataSync()], [0, 0, 0, 0, 0, 0]);
		assertEquals([...none.dataSync()], [NaN]);
		assertEquals([...gone.shape], [0, 3]);
	},
);

deviceTest("sums are the same bits from run to run", () => {
	using x = Tensor.from<"float32", 2>(device, "float32", [500, 300], normal(150_000));
	const run = () => {
		using whole = sum(x), columns = sum(x, 0), rows = sum(x, 1);
		return [whole, columns, rows].map((y) => [...y.dataSync()]);
	};
	const first = run();
	for (let i = 0; i < 5; i++) assertEquals(run(), first);
});

deviceTest("products and their gradients, with one zero in a line and with several", () => {
	for (const axes of [undefined, 0, -1, [0, 2]]) {
		for (const zeros of [0, 0.1, 0.5]) {
			checkOp({
				name: "prod",
				inputs: [{
					shape: [3, 2, 4],
					data: normal(24).map((v) => random() < zeros ? 0 : v + Math.sign(v)),
				}],
				op: (x) => prod(x, axes),
				reference: (x) => linesAlong(x, list(axes)).map((line) => line.reduce((a, b) => a * b, 1)),
			});
		}
	}
});

deviceTest("cumulative sums along each axis", () => {
	const sums = (line: number[]) => {
		let sum = 0;
		return line.map((v) => sum += v);
	};
	for (const axis of [0, 1, 2, -1]) {
		checkOp({
			name: "cumulativeSum",
			inputs: [{ shape: [3, 5, 40], transposed: axis === 1 }],
			op: (x) => cumulativeSum(x, axis),
			reference: (x) => mapAlong(x, axis, sums),
		});
	}
});
