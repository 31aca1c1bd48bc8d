// Functions of one tensor: values and gradients against float64, and the ends against what PyTorch 2.13 gives.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { erf as exactErf } from "../../src/doctor/self_test/functions.ts";
import * as unary from "../../src/tensor/unary.ts";
import { checkOp, numbers } from "./gradients.ts";
import { device, deviceTest, normal } from "./on_device.ts";

/** Each function in float64; those of positive numbers are given |x| + 0.3. */
const functions: Record<string, { exact: (x: number) => number; positive?: boolean }> = {
	neg: { exact: (x) => -x },
	abs: { exact: Math.abs },
	square: { exact: (x) => x * x },
	log: { exact: Math.log, positive: true },
	log1p: { exact: Math.log1p, positive: true },
	erf: { exact: exactErf },
	exp: { exact: Math.exp },
	expm1: { exact: Math.expm1 },
	sqrt: { exact: Math.sqrt, positive: true },
	rsqrt: { exact: (x) => 1 / Math.sqrt(x), positive: true },
	reciprocal: { exact: (x) => 1 / x, positive: true },
	sin: { exact: Math.sin },
	cos: { exact: Math.cos },
	tanh: { exact: Math.tanh },
	sigmoid: { exact: (x) => 1 / (1 + Math.exp(-x)) },
};

for (const [name, { exact, positive }] of Object.entries(functions)) {
	const op = unary[name as "exp"];
	deviceTest(`${name} and its gradient`, () => {
		for (const shape of [[], [0, 3], [1], [7], [3, 65], [2, 3, 129]]) {
			for (const dtype of ["float32", "bfloat16"] as const) {
				const size = shape.reduce((a, b) => a * b, 1);
				// A slope like 1 - y² of a rounded y may be far off where it is small: it is judged among others.
				if (dtype === "bfloat16" && size > 0 && size < 100) continue;
				const data = normal(size, 1.5).map((x) => positive ? Math.abs(x) + 0.3 : x);
				const transposed = shape.length > 1;
				checkOp({
					name: `${name} of ${dtype} [${shape}]`,
					inputs: [{ shape, dtype, data, transposed }],
					op,
					reference: (x) => x.data.map(exact),
				});
			}
		}
	});
}

deviceTest("neg keeps nothing for its gradient", () => {
	using x = Tensor.from<"float32", 1>(device, "float32", [1], [3]).requireGrad();
	using y = unary.square(x);
	const before = device.liveBytes;
	using z = unary.neg(y);
	assertEquals(device.liveBytes, before + z.byteLength);
	y.dispose();
	assertEquals(device.liveBytes, before);
	z.backward();
	assertEquals([...x.grad!.dataSync()], [-6]);
});

deviceTest("sign, floor and round are exact, round to even, and have no gradient", () => {
	const x = [-2.5, -1.5, -0.5, 0, 0.5, 1.5, 2.5, 7.25, -1e10, Infinity, -Infinity, NaN];
	const even = (x: number) => {
		const below = Math.floor(x), rest = x - below;
		return rest === 0.5 ? below + Math.abs(below % 2) : Math.round(x);
	};
	for (const dtype of ["float32", "bfloat16"] as const) {
		for (
			const [op, exact] of [
				[unary.sign, (x: number) => Math.sign(x) || 0],
				[unary.floor, Math.floor],
				[unary.round, even],
			] as const
		) {
			checkOp({
				name: "flat function",
				inputs: [{ shape: [x.length], dtype, data: x, gradient: false }],
				op: op as unary.Unary,
				reference: ({ data }) => data.map(exact),
				tolerance: 0,
			});
		}
	}
	using leaf = Tensor.from<"float32", 1>(device, "float32", [1], [2.5]).requireGrad();
	using y = unary.round(leaf);
	assertEquals(y.requiresGrad, false);
});

deviceTest("clamp and its gradient, which passes within the limits", () => {
	const data = [-3, -1, -0.5, 0, 1, 2, 5, NaN];
	for (const limits of [{ min: -1 }, { max: 2 }, { min: -1, max: 2 }]) {
		const { min = -Infinity, max = Infinity } = limits;
		using x = Tensor.from<"float32", 1>(device, "float32", [8], data).requireGrad();
		using y = unary.clamp(x, limits);
		assertEquals(numbers(y), data.map((x) => x < min ? min : x > max ? max : x));
		using g = Tensor.from<"float32", 1>(device, "float32", [8], data.map(() => 3));
		y.backward({ gradient: g });
		assertEquals(numbers(x.grad!), data.map((x) => x >= min && x <= max ? 3 : 0));
	}
});

/** Values and gradients (of a result's gradient 1) at x, as PyTorch has them. */
function assertEnds(
	op: unary.Unary,
	x: number[],
	values: number[],
	slopes: number[],
): void {
	using leaf = Tensor.from<"float32", 1>(device, "float32", [x.length], x).requireGrad();
	using y = op(leaf);
	using g = Tensor.from<"float32", 1>(device, "float32", [x.length], x.map(() => 1));
	y.backward({ gradient: g });
	// -0 counts as 0: the host's compiler may lose its sign.
	assertEquals(numbers(y).map((value) => value + 0), values);
	assertEquals(numbers(leaf.grad!).map((value) => value + 0), slopes);
}

deviceTest("values and gradients at infinity, 0 and NaN are PyTorch's", () => {
	const x = [NaN, Infinity, -Infinity, 0];
	assertEnds(unary.abs, x, [NaN, Infinity, Infinity, 0], [0, 1, -1, 0]);
	assertEnds(unary.sqrt, x, [NaN, Infinity, NaN, 0], [NaN, 0, NaN, Infinity]);
	assertEnds(unary.log, x, [NaN, Infinity, NaN, -Infinity], [NaN, 0, 0, Infinity]);
	assertEnds(unary.tanh, x, [NaN, 1, -1, 0], [NaN, 0, 0, 1]);
	assertEnds(unary.exp, x, [NaN, Infinity, 0, 1], [NaN, Infinity, 0, 1]);
	assertEnds(unary.sin, x, [NaN, NaN, NaN, 0], [NaN, NaN, NaN, 1]);
	assertEnds(unary.sigmoid, x, [NaN, 1, 0, 0.5], [NaN, 0, 0, 0.25]);
});

deviceTest("sin and cos of large angles are right, among small ones too", () => {
	const x = Float32Array.from(normal(600), (value, i) => i % 300 === 7 ? value * 1e9 : value * 1e4);
	using angles = Tensor.from<"float32", 1>(device, "float32", [600], x);
	for (const [op, exact] of [[unary.sin, Math.sin], [unary.cos, Math.cos]] as const) {
		using y = op(angles);
		numbers(y).forEach((value, i) => {
			if (!(Math.abs(value - exact(x[i])) < 1e-6)) {
				throw new Error(`of ${x[i]}: ${value}, not ${exact(x[i])}`);
			}
		});
	}
});

deviceTest("functions refuse whole numbers by name", () => {
	using ids = Tensor.from<"int32", 1>(device, "int32", [1], [1]);
	assertThrows(
		() => unary.exp(ids as unknown as Tensor<"float32">),
		TypeError,
		"Cannot compute exp of int32: only of float32 and bfloat16; cast it",
	);
});
