// Operations made in plain TypeScript, so that the tests of autograd rest on nothing but autograd.

import { assertEquals } from "@std/assert";
import { defineOp, Tensor } from "../../../mod.ts";
import { device } from "../on_device.ts";

/** A tensor of any rank. */
export type Values = Tensor<"float32">;

/** A vector. */
export function vector(...data: number[]): Tensor<"float32", 1> {
	return Tensor.from<"float32", 1>(device, "float32", [data.length], data);
}

/** A leaf. */
export function leaf(...data: number[]): Tensor<"float32", 1> {
	return vector(...data).requireGrad();
}

/** One number. */
export function scalar(value: number): Tensor<"float32", 0> {
	return Tensor.from<"float32", 0>(device, "float32", [], [value]);
}

function combine(a: Values, b: Values, f: (a: number, b: number) => number): Values {
	assertEquals([...a.shape], [...b.shape]);
	const [x, y] = [a.dataSync(), b.dataSync()];
	return Tensor.from<"float32", number>(device, "float32", a.shape, x.map((v, i) => f(v, y[i]!)));
}

/** a · b */
export const times = defineOp("times", (a: Values, b: Values) => ({
	result: combine(a, b, (a, b) => a * b),
	inputs: [a, b],
	saved: [a, b],
	backward: (gradient, [a, b], needs) => [
		needs[0] ? times(gradient, b) : null,
		needs[1] ? times(gradient, a) : null,
	],
})) as (a: Values, b: Values) => Values;

/** a + b, whose gradient is one tensor for both. */
export const plus = defineOp("plus", (a: Values, b: Values) => ({
	result: combine(a, b, (a, b) => a + b),
	inputs: [a, b],
	backward: (gradient) => [gradient, gradient],
}));

/** Σ x */
export const total = defineOp("total", (x: Values) => {
	const { shape } = x;
	return {
		result: scalar(x.dataSync().reduce((a, b) => a + b, 0)),
		inputs: [x],
		backward: (gradient) => [gradient.expand(shape)],
	};
}) as (x: Values) => Tensor<"float32", 0>;

/** The elements of a gradient. */
export function values(x: Tensor | null): number[] | null {
	return x && Array.from(x.dataSync());
}
