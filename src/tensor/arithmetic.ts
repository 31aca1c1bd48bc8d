// Arithmetic of two tensors, or of a tensor and a number, with broadcasting as in NumPy.

import { defineOp } from "./autograd/define_op.ts";
import { refuseRecorded } from "./autograd/recording.ts";
import { contiguous } from "./contiguous.ts";
import type { DType, FloatType } from "./dtype.ts";
import { isTensor, map, type Operand, zip, zip3 } from "./elementwise.ts";
import type { MaxRank } from "./rank.ts";
import { sumTo } from "./sum_to.ts";
import type { Tensor } from "./tensor.ts";

/** The element types that arithmetic is done in; of int32, results wrap around. */
export type NumberType = FloatType | "int32";

/** An operation of two operands, one of which may be a number. */
interface BinaryGradients {
	/** Which of a and b the gradients that are wanted of them need. */
	needs: (ofA: boolean, ofB: boolean) => [a: boolean, b: boolean];
	/** The gradient of a, before broadcasting is undone. */
	ofA: (g: Tensor, a: Operand, b: Operand) => Tensor;
	/** The gradient of b, before broadcasting is undone. */
	ofB: (g: Tensor, a: Operand, b: Operand) => Tensor;
}

/**
 * @param operation for errors: "Cannot ... a and b"
 * @param name of the kernel
 */
function binaryOp(
	operation: string,
	name: string,
	{ needs, ofA, ofB }: BinaryGradients,
): (a: Operand, b: Operand) => Tensor {
	return defineOp(name, (a: Operand, b: Operand) => {
		const wants = (operand: Operand) => isTensor(operand) && operand.requiresGrad;
		const [keepsA, keepsB] = needs(wants(a), wants(b));
		const savedA = isTensor(a) && keepsA ? [a] : [], savedB = isTensor(b) && keepsB ? [b] : [];
		const shapes = [a, b].map((operand) => isTensor(operand) ? operand.shape : null);
		const numbers = [a, b].map((operand) => isTensor(operand) ? 0 : operand);
		return {
			result: zip(operation, name, a, b),
			inputs: [a, b].filter(isTensor),
			saved: [...savedA, ...savedB] as readonly Tensor[],
			backward: (g, saved, wanted) => {
				const x = savedA.length > 0 ? saved[0]! : numbers[0]!;
				const y = savedB.length > 0 ? saved.at(-1)! : numbers[1]!;
				const makers = [ofA, ofB].filter((_, i) => shapes[i]);
				const to = shapes.filter((shape) => shape !== null);
				return makers.map((make, i) =>
					wanted[i] ? sumTo(make(g, x, y) as Tensor<FloatType>, to[i]!) : null
				);
			},
		};
	});
}

const both = (): [boolean, boolean] => [true, true];
const neither = (): [boolean, boolean] => [false, false];
const gradient = (name: string) => (g: Tensor, a: Operand, b: Operand) =>
	zip3(name, name, g.dtype, g, a, b);

const addOp = binaryOp("add", "add", { needs: neither, ofA: (g) => g, ofB: (g) => g });
const subOp = binaryOp("subtract", "sub", {
	needs: neither,
	ofA: (g) => g,
	ofB: (g) => map("unary_neg", g),
});
const mulOp = binaryOp("multiply", "mul", {
	needs: (ofA, ofB) => [ofB, ofA],
	ofA: (g, _, b) => zip("multiply", "mul", g, b),
	ofB: (g, a) => zip("multiply", "mul", g, a),
});
const divOp = binaryOp("divide", "div", {
	needs: (_, ofB) => [ofB, true],
	ofA: (g, _, b) => zip("divide", "div", g, b),
	ofB: gradient("div_denominator"),
});
const powOp = binaryOp("raise", "pow", {
	needs: both,
	ofA: gradient("pow_base"),
	ofB: gradient("pow_exponent"),
});
const maximumOp = binaryOp("take the maximum of", "maximum", {
	needs: both,
	ofA: gradient("maximum"),
	ofB: (g, a, b) => gradient("maximum")(g, b, a),
});
const minimumOp = binaryOp("take the minimum of", "minimum", {
	needs: both,
	ofA: gradient("minimum"),
	ofB: (g, a, b) => gradient("minimum")(g, b, a),
});

/** The type of an operation of two tensors, or of a tensor and a number. */
export interface Binary<T extends DType> {
	/** Of two tensors of one dtype, broadcast together. */
	<D extends T, R extends number, S extends number>(
		a: Tensor<D, R>,
		b: Tensor<NoInfer<D>, S>,
	): Tensor<D, MaxRank[R][S]>;
	/** Of a tensor and a number. */
	<D extends T, R extends number>(a: Tensor<D, R>, b: number): Tensor<D, R>;
	/** Of a number and a tensor. */
	<D extends T, R extends number>(a: number, b: Tensor<D, R>): Tensor<D, R>;
}

/**
 * a + b, of tensors that are broadcast together, or of a tensor and a number.
 *
 * @throws {RangeError} if the shapes do not fit
 * @example Each row of a matrix plus a vector
 * ```ts
 * import { add, Device, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using matrix = Tensor.from<"float32", 2>(device, "float32", [2, 2], [1, 2, 3, 4]);
 * using vector = Tensor.from<"float32", 1>(device, "float32", [2], [10, 20]);
 * using sum = add(matrix, vector);
 * console.log(sum.dataSync()); // Float32Array [11, 22, 13, 24]
 * ```
 */
export const add = addOp as Binary<NumberType>;

/** a - b, as {@linkcode add} does a + b. */
export const sub = subOp as Binary<NumberType>;

/** a · b, element by element, as {@linkcode add} does a + b. */
export const mul = mulOp as Binary<NumberType>;

/** a / b, element by element, as {@linkcode add} does a + b. */
export const div = divOp as Binary<FloatType>;

/** The larger of a and b, element by element; NaN if one is. Of equal ones each has half of the gradient. */
export const maximum = maximumOp as Binary<NumberType>;

/** The smaller of a and b, element by element; NaN if one is. Of equal ones each has half of the gradient. */
export const minimum = minimumOp as Binary<NumberType>;

/** aᵇ, element by element: of a negative a NaN, unless b is whole; of a⁰ 1, even for NaN. */
export const pow = powOp as Binary<FloatType>;

function dense(operation: string, y: Tensor): void {
	refuseRecorded(operation, y);
	if (!y.isContiguous) {
		throw new RangeError(
			`Cannot compute ${operation}: the target [${y.shape}] has strides [${y.strides}], ` +
				"which only a contiguous tensor may not have",
		);
	}
}

/**
 * y += x, in place; x is broadcast to y's shape.
 *
 * @param y contiguous
 * @throws {RangeError} if `y` takes part in a recorded computation: use {@linkcode noGrad} for parameters
 */
export function addInPlace<D extends FloatType>(y: Tensor<D>, x: Tensor<NoInfer<D>>): void {
	dense("addInPlace", y);
	using own = x.detach(), spread = own.expand(y.shape);
	const from = contiguous(spread);
	if (y.size > 0) {
		y.device.kernel(`in_place_add_${y.dtype}`)
			.overElements(y.size, y.pointer, from.pointer, y.size);
	}
	if (from !== spread) from.dispose();
	y.changed();
}

/**
 * y *= factor, in place.
 *
 * @param y contiguous
 * @throws {RangeError} if `y` takes part in a recorded computation: use {@linkcode noGrad} for parameters
 */
export function mulInPlace(y: Tensor<FloatType>, factor: number): void {
	dense("mulInPlace", y);
	if (y.size > 0) {
		y.device.kernel(`in_place_mul_${y.dtype}`).overElements(y.size, y.pointer, factor, y.size);
	}
	y.changed();
}
