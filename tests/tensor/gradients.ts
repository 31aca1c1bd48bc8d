// The check that every differentiable operation is held to: its result against a plain reference in float64,
// and its gradients against central differences of that reference, on fresh random inputs.

import { assert, assertEquals } from "@std/assert";
import { type FloatType, isFloat } from "../../src/tensor/dtype.ts";
import { type DType, Tensor } from "../../mod.ts";
import { bfloat16Bits, device, fromBfloat16, normal, random, seed } from "./on_device.ts";

/** An input as the reference sees it: extents, and elements in row-major order. */
export interface Plain {
	shape: readonly number[];
	data: Float64Array;
}

/** An input of the operation. */
export interface Given {
	shape: readonly number[];
	/** @default {"float32"} */
	dtype?: DType;
	/** @default normally distributed */
	data?: ArrayLike<number>;
	/** Whether to check its gradient. @default for floats */
	gradient?: boolean;
	/** Gives the operation a view with other strides than those of a new tensor. */
	transposed?: boolean;
}

/** What is checked. */
export interface Check {
	name: string;
	inputs: readonly Given[];
	// deno-lint-ignore no-explicit-any -- operations take tensors of their own dtypes and ranks
	op: (...inputs: any[]) => Tensor;
	/** The same in float64: the elements of the result in row-major order. */
	reference: (...inputs: Plain[]) => ArrayLike<number>;
	/**
	 * Error allowed, relative to the largest absolute value of what is compared (and to 0.01 at least; of bfloat16
	 * to 0.25).
	 * @default 1e-5, and for a bfloat16 result or input 2^-6
	 */
	tolerance?: number;
	/** Values are compared as if the largest were at least this: the size of terms that cancel. */
	leastSize?: number;
	/** Relative step of the differences. @default {1e-6} */
	step?: number;
}

/** Numbers as `dtype` holds them, and its elements. */
function rounded(dtype: DType, data: ArrayLike<number>) {
	const elements = Array.from(data, dtype === "bfloat16" ? bfloat16Bits : Number);
	const numbers = dtype === "bfloat16"
		? elements.map(fromBfloat16)
		: dtype === "float32"
		? elements.map(Math.fround)
		: elements;
	return { elements, plain: Float64Array.from(numbers) };
}

/** The elements of a tensor as numbers. */
export function numbers(x: Tensor): number[] {
	const data = Array.from(x.dataSync());
	return x.dtype === "bfloat16" ? data.map(fromBfloat16) : data;
}

function make(
	dtype: DType,
	shape: readonly number[],
	data: ArrayLike<number>,
	transposed: boolean,
) {
	if (!transposed) return Tensor.from<DType, number>(device, dtype, shape, data);
	const [a, b] = [shape.at(-2)!, shape.at(-1)!];
	const swapped = Array.from(data, (_, i) => {
		const matrix = Math.floor(i / (a * b)), row = Math.floor(i % (a * b) / a), column = i % a;
		return data[matrix * a * b + column * b + row]!;
	});
	using dense = Tensor.from<DType, number>(device, dtype, [...shape.slice(0, -2), b, a], swapped);
	return dense.transpose();
}

function assertNear(
	actual: ArrayLike<number>,
	expected: ArrayLike<number>,
	tolerance: number,
	what: string,
	leastSize: number,
): void {
	assertEquals(actual.length, expected.length, `${what}: number of values`);
	const size = Array.from(expected).reduce(
		(most, value) => Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most,
		leastSize,
	);
	for (let i = 0; i < expected.length; i++) {
		const a = actual[i]!, e = expected[i]!;
		if (Object.is(a, e) || a === e) continue;
		assert(
			Math.abs(a - e) <= tolerance * size + 1e-37,
			`${what}: value ${i} is ${a}, expected ${e} within ${tolerance} · ${size} (seed ${seed})`,
		);
	}
}

/** Elements whose gradients are checked: all of a few, else some of them. */
function chosen(size: number): number[] {
	const MOST = 40;
	if (size <= MOST) return Array.from({ length: size }, (_, i) => i);
	return Array.from({ length: MOST }, () => Math.floor(random() * size));
}

/** The slope of a sum from the terms on two sides, or of `of` the terms' differences. */
function slope(
	above: number[],
	below: number[],
	distance: number,
	of = (difference: number) => difference,
): number {
	return above.reduce((sum, term, i) => sum + of(term - below[i]!), 0) / distance;
}

/** Checks an operation; see above. Frees all that it makes. */
export function checkOp({ name, inputs, op, reference, ...options }: Check): void {
	const given = inputs.map((input) => {
		const dtype = input.dtype ?? "float32";
		const size = input.shape.reduce((product, extent) => product * extent, 1);
		const { elements, plain } = rounded(dtype, input.data ?? normal(size));
		using made = make(dtype, input.shape, elements, input.transposed ?? false);
		const tensor = made.detach();
		if (input.gradient ?? isFloat(dtype)) tensor.requireGrad();
		return { tensor, plain: { shape: input.shape, data: plain } };
	});
	const plains = given.map(({ plain }) => plain);
	try {
		using result = op(...given.map(({ tensor }) => tensor));
		const dtypes = [result.dtype, ...given.map(({ tensor }) => tensor.dtype)];
		const coarse = dtypes.includes("bfloat16");
		const tolerance = options.tolerance ?? (coarse ? 2 ** -6 : 1e-5);
		// What cancels leaves the rounding errors of its terms, which are about 1.
		const leastSize = options.leastSize ?? (coarse ? 0.25 : 0.01);
		assertNear(numbers(result), reference(...plains), tolerance, `${name}: result`, leastSize);
		const differentiable = given.filter(({ tensor }) => tensor.requiresGrad);
		if (differentiable.length === 0) return;
		assert(result.requiresGrad, `${name}: the result requires no gradient`);
		const { elements, plain: weights } = rounded(result.dtype, normal(result.size));
		using gradient = Tensor.from<FloatType, number>(
			device,
			result.dtype as FloatType,
			result.shape,
			elements,
		);
		result.backward({ gradient });
		// What the loss is a sum of.
		const terms = () => {
			const values = reference(...plains);
			return Array.from(weights, (weight, i) => weight * values[i]!);
		};
		const here = terms();
		given.forEach(({ tensor, plain }, input) => {
			if (!tensor.requiresGrad) return;
			const at = chosen(tensor.size), { grad } = tensor;
			assert(grad, `${name}: input ${input} got no gradient`);
			const slopes = at.map((i) => {
				const x = plain.data[i]!, step = (options.step ?? 1e-6) * Math.max(1, Math.abs(x));
				plain.data[i] = x + step;
				const above = terms();
				plain.data[i] = x - step;
				const below = terms();
				plain.data[i] = x;
				const sides = [slope(above, here, step), slope(here, below, step)];
				const size = slope(above, below, 2 * step, Math.abs);
				return { least: Math.min(...sides), most: Math.max(...sides), size };
			});
			// At a kink, as of a maximum of equal numbers, any slope between those of its sides is right.
			const all = numbers(grad), actual = at.map((i) => all[i]!);
			const expected = actual.map((a, i) => {
				const { least, most } = slopes[i]!;
				return a < least ? least : a <= most ? a : most; // of NaN, most
			});
			const what = `${name}: gradient of input ${input}, elements ${at.slice(0, 8)}…`;
			// A gradient is a sum over results, of which as much as its terms are rounded may be left.
			const sizes = slopes.map(({ size }) => size).filter(Number.isFinite);
			assertNear(actual, expected, 2 * tolerance, what, Math.max(leastSize, ...sizes));
			assertEquals([...grad.shape], [...tensor.shape], what);
		});
	} finally {
		for (const { tensor } of given) tensor.dispose();
	}
}
