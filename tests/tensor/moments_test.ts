// Variance, standard deviation, norms and log-sum-exp against their formulas, and their gradients.

import { assertEquals, assertThrows } from "@std/assert";
import { logSumExp, norm, std, Tensor, variance } from "../../mod.ts";
import { checkOp } from "./gradients.ts";
import { linesAlong } from "./plain.ts";
import { device, deviceTest, normal } from "./on_device.ts";

const AXES: (number | number[] | undefined)[] = [undefined, 0, 1, -1, [0, 2], [1, 2]];
const list = (axes: number | number[] | undefined) =>
	axes === undefined ? [0, 1, 2] : [axes].flat();
const plus = (line: number[]) => line.reduce((a, b) => a + b, 0);

function varianceOf(line: number[], correction: number): number {
	const mean = plus(line) / line.length;
	return plus(line.map((v) => (v - mean) ** 2)) / (line.length - correction);
}

for (const axes of AXES) {
	deviceTest(`variance, std, norms and logSumExp over ${axes ?? "all"}`, () => {
		const inputs = [{ shape: [3, 5, 7], transposed: axes === 0 }];
		const along =
			(f: (line: number[]) => number) => (x: { shape: readonly number[]; data: Float64Array }) =>
				linesAlong(x, list(axes)).map(f);
		checkOp({
			name: "variance",
			inputs,
			op: (x) => variance(x, axes),
			reference: along((line) => varianceOf(line, 1)),
		});
		checkOp({
			name: "std",
			inputs,
			op: (x) => std(x, axes, { correction: 0, keepDims: true }),
			reference: along((line) => Math.sqrt(varianceOf(line, 0))),
		});
		for (const p of [1, 2, Infinity] as const) {
			checkOp({
				name: `norm ${p}`,
				inputs,
				op: (x) => norm(x, axes, { p }),
				reference: along((line) =>
					p === Infinity
						? Math.max(...line.map(Math.abs))
						: p === 1
						? plus(line.map(Math.abs))
						: Math.hypot(...line)
				),
			});
		}
		checkOp({
			name: "logSumExp",
			inputs,
			op: (x) => logSumExp(x, axes),
			reference: along((line) => Math.log(plus(line.map(Math.exp)))),
		});
	});
}

deviceTest("a variance far from zero keeps its digits", () => {
	checkOp({
		name: "variance",
		inputs: [{ shape: [10_000], data: normal(10_000).map((v) => 1000 + v) }],
		op: (x) => variance(x),
		reference: (x) => [varianceOf([...x.data], 1)],
		step: 1e-4,
		tolerance: 1e-4, // of a mean that is rounded to 1000 · 2⁻²⁴, beside deviations of 1
	});
});

const of = (data: number[]) => Tensor.from<"float32", 1>(device, "float32", [data.length], data);

deviceTest("what is at the edge is as in PyTorch", () => {
	const value = (op: (x: Tensor<"float32", 1>) => Tensor<"float32", 0>, data: number[]) => {
		using x = of(data).requireGrad();
		using y = op(x);
		y.backward();
		return [y.dataSync()[0], [...x.grad!.dataSync()]];
	};
	assertEquals(value((x) => variance(x), [1]), [NaN, [NaN]]);
	assertEquals(value((x) => std(x), [1, 1]), [0, [0, 0]]);
	assertEquals(value((x) => norm(x), [0, 0]), [0, [0, 0]]);
	assertEquals(value((x) => norm(x, undefined, { p: Infinity }), [2, -2, 0]), [2, [0.5, -0.5, 0]]);
	assertEquals(value((x) => norm(x, undefined, { p: Infinity }), [0, 0]), [0, [0, 0]]);
	assertEquals(value((x) => norm(x, undefined, { p: 1 }), [0, -3]), [3, [0, -1]]);
	assertEquals(value((x) => logSumExp(x), [-Infinity, -Infinity])[0], -Infinity);
	assertEquals(value((x) => logSumExp(x), [Infinity, 1]), [Infinity, [NaN, 0]]);
	assertEquals(value((x) => logSumExp(x), [1000, -1000]), [1000, [1, 0]]);
	assertEquals(value((x) => logSumExp(x), [NaN, 1]), [NaN, [NaN, NaN]]);
	using empty = of([]);
	using none = logSumExp(empty);
	assertEquals(none.dataSync()[0], -Infinity);
});

deviceTest("a norm of another p is refused", () => {
	using x = of([1, 2]);
	assertThrows(
		() => norm(x, 0, { p: 3 }),
		RangeError,
		"Cannot compute norm: p must be 1, 2 or Infinity, got 3",
	);
});
