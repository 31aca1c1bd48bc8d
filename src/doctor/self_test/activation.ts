// Activations of x + bias, gated activations, and their gradients, against formulas in float64: activation.cu
// and gated.cu.

import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";
import { ACTIVATIONS, sigmoid } from "./unary.ts";

const tolerance = TOLERANCE.elementwise(16);

/** Compares f(x + bias), and its gradient, with the formulas. */
export function checkBias(
	bench: Bench,
	name: string,
	dtype: FloatType,
	rows: number,
	columns: number,
): number[] {
	const { value, slope, size, slopeSize } = ACTIVATIONS[name], count = rows * columns;
	const x = bench.given(dtype, bench.normals(count, 2));
	const bias = bench.given(dtype, bench.normals(columns));
	const g = bench.given(dtype, bench.normals(count));
	const y = bench.wanted(dtype, count), dx = bench.wanted(dtype, count);
	bench.overRows(`bias_${name}_${dtype}`, rows, y, x, bias, rows, columns);
	bench.overRows(`bias_${name}_backward_${dtype}`, rows, dx, g, x, bias, rows, columns);
	const sums = x.numbers.map((x, i) => x + bias.numbers[i % columns]);
	// x + bias is rounded, relative to its own size, and so is f where it is steep.
	const sizes = sums.map((sum) => size(sum) + Math.abs(sum));
	const slopeSizes = sums.map((sum, i) =>
		Math.abs(g.numbers[i]) * (slopeSize(sum) + Math.abs(sum))
	);
	const slopes = sums.map((sum, i) => g.numbers[i] * slope(sum));
	const what = `${name} of ${dtype} [${rows}, ${columns}] + bias`;
	return [
		assertClose(y, sums.map(value), tolerance, what, sizes),
		assertClose(dx, slopes, tolerance, `gradient of ${what}`, slopeSizes),
	];
}

/** What the gate of a gated activation goes through, its derivative, and what its error is relative to. */
export const GATES: Record<string, Record<"value" | "slope" | "size", (x: number) => number>> = {
	swiglu: ACTIVATIONS.silu,
	geglu: ACTIVATIONS.gelu,
	geglu_tanh: ACTIVATIONS.gelu_tanh,
	reglu: ACTIVATIONS.relu,
	glu: {
		value: sigmoid,
		slope: (x) => sigmoid(x) * sigmoid(-x),
		size: (x) => sigmoid(x) * (1 + Math.abs(x)),
	},
};

/** The pairs of types that there are kernels for. */
export const PAIRS: (readonly [from: FloatType, to: FloatType])[] = [
	["float32", "float32"],
	["bfloat16", "bfloat16"],
	["float32", "bfloat16"],
	["bfloat16", "float32"],
];

/** The pairs of types of one gated activation. */
export function pairsOf(name: string): typeof PAIRS {
	return name === "swiglu" ? PAIRS : PAIRS.slice(0, 2);
}

/** Compares the activation of [rows, 2·columns], and its gradient, with the formulas. */
export function checkGated(
	bench: Bench,
	name: string,
	[from, to]: readonly [FloatType, FloatType],
	halves: Float32Array,
	gradients: Float32Array,
	rows: number,
): number[] {
	const { value, slope, size } = GATES[name], count = halves.length / 2, columns = count / rows;
	const x = bench.given(from, halves), g = bench.given(to, gradients);
	const y = bench.wanted(to, count), dx = bench.wanted(from, 2 * count);
	bench.overRows(`gated_${name}_${from}_to_${to}`, rows, y, x, rows, columns);
	bench.overRows(`gated_${name}_backward_${from}_to_${to}`, rows, dx, g, x, rows, columns);
	const expected = new Float64Array(count), sizes = expected.slice();
	const dxs = new Float64Array(2 * count), dxSizes = dxs.slice();
	for (let i = 0; i < count; i++) {
		const first = Math.floor(i / columns) * 2 * columns + i % columns, second = first + columns;
		const [gate, up] = name === "glu" ? [second, first] : [first, second];
		const z = x.numbers[gate], u = x.numbers[up], dy = g.numbers[i];
		const gated = value(z);
		expected[i] = gated * u;
		sizes[i] = Math.abs(u) * size(z);
		dxs[gate] = dy * u * slope(z);
		dxs[up] = dy * gated;
		dxSizes[gate] = Math.abs(dy * u) * (1 + Math.abs(z));
		dxSizes[up] = Math.abs(dy) * size(z);
	}
	const what = `${name} from ${from} to ${to} [${rows}, ${columns}]`;
	return [
		assertClose(y, expected, tolerance, what, sizes),
		assertClose(dx, dxs, tolerance, `gradient of ${what}`, dxSizes),
	];
}

/** Each kernel of x + bias in activation.cu, and of gated.cu. */
export const selfTests = [
	...Object.keys(ACTIVATIONS).flatMap((name) =>
		FLOATS.map((dtype) =>
			selfTest(
				[`bias_${name}_${dtype}`, `bias_${name}_backward_${dtype}`],
				(bench) => checkBias(bench, name, dtype, 33, 577),
			)
		)
	),
	...Object.keys(GATES).flatMap((name) =>
		pairsOf(name).map((pair) => {
			const kernels = ["", "backward_"].map((which) =>
				`gated_${name}_${which}${pair.join("_to_")}`
			);
			return selfTest(kernels, (bench) => {
				const x = bench.normals(2 * 33 * 577, 2), g = bench.normals(33 * 577);
				return checkGated(bench, name, pair, x, g, 33);
			});
		})
	),
];
