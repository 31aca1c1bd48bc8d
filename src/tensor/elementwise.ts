// Launches of the kernels that compute element by element. No gradient flows through them: they are what
// operations are made of, forward and backward.

import { broadcastShapes, walkOf } from "./broadcast.ts";
import { contiguous } from "./contiguous.ts";
import type { DType, FloatType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";

/** A tensor, or the same number everywhere. */
export type Operand = Tensor | number;

/** Whether an operand is a tensor. */
export const isTensor = (operand: Operand): operand is Tensor => typeof operand !== "number";

/** Queues y = f(x) by `kernel_dtype`; of x's dtype. */
export function map<D extends DType>(kernel: string, x: Tensor<D>): Tensor<D> {
	return mapTo(kernel, x, x.dtype);
}

/** The same with a result of another dtype. */
export function mapTo<D extends DType>(
	kernel: string,
	x: Tensor,
	dtype: D,
	...numbers: number[]
): Tensor<D> {
	const dense = contiguous(x), y = Tensor.empty<D, number>(x.device, dtype, x.shape);
	if (y.size > 0) {
		x.device.kernel(`${kernel}_${x.dtype}`)
			.overElements(y.size, y.pointer, dense.pointer, ...numbers, y.size);
	}
	if (dense !== x) dense.dispose();
	return y;
}

/** Queues dx = g · f'(x), given x or f(x) as `saved`. */
export function mapBackward(
	kernel: string,
	gradient: Tensor,
	saved: Tensor,
	...numbers: number[]
): Tensor {
	const g = contiguous(gradient), from = contiguous(saved);
	const dx = Tensor.empty<DType, number>(g.device, g.dtype, g.shape);
	if (dx.size > 0) {
		g.device.kernel(`${kernel}_backward_${g.dtype}`)
			.overElements(dx.size, dx.pointer, g.pointer, from.pointer, ...numbers, dx.size);
	}
	if (g !== gradient) g.dispose();
	if (from !== saved) from.dispose();
	return dx;
}

/** The dtype that operands have together; throws if they differ, or if a number does not fit it. */
export function commonType(operation: string, operands: readonly Operand[]): DType {
	const tensors = operands.filter(isTensor), [first] = tensors;
	if (!first) {
		throw new TypeError(`Cannot ${operation} numbers alone: one operand must be a tensor`);
	}
	const other = tensors.find(({ dtype }) => dtype !== first.dtype);
	if (other) {
		throw new TypeError(
			`Cannot ${operation} ${first.dtype} and ${other.dtype}: cast one of them to the other's type`,
		);
	}
	const wrong = operands.find((operand) => !isTensor(operand) && !Number.isInteger(operand));
	if (wrong !== undefined && (first.dtype === "int32" || first.dtype === "uint8")) {
		throw new TypeError(
			`Cannot ${operation} ${first.dtype} and ${wrong}: it must be a whole number, or the tensor float32`,
		);
	}
	return first.dtype;
}

function launch<D extends DType>(
	operation: string,
	kernel: string,
	dtype: D,
	operands: readonly Operand[],
	firstNumber: number,
): Tensor<D> {
	const tensors = operands.map((operand) => isTensor(operand) ? operand : null);
	const { device } = tensors.find((tensor) => tensor !== null)!;
	const shapes = tensors.flatMap((tensor) => tensor ? [tensor.shape] : []);
	const shape = broadcastShapes(operation, ...shapes);
	const y = Tensor.empty<D, number>(device, dtype, shape);
	if (y.size > 0) {
		device.kernel(kernel).overElements(
			y.size,
			y.pointer,
			...tensors.map((tensor) => tensor?.start ?? 0),
			...operands.slice(firstNumber).map((operand) => isTensor(operand) ? 0 : operand),
			...walkOf(operation, shape, tensors),
		);
	}
	return y;
}

/** Queues y = a ∘ b, broadcast together. */
export function zip(operation: string, name: string, a: Operand, b: Operand): Tensor {
	const dtype = commonType(operation, [a, b]);
	return launch(operation, `binary_${name}_${dtype}`, dtype, [a, b], 0);
}

/** Queues a comparison of a and b, broadcast together. */
export function compare(
	operation: string,
	name: string,
	a: Operand,
	b: Operand,
): Tensor<"uint8"> {
	const dtype = commonType(operation, [a, b]);
	return launch(operation, `compare_${name}_${dtype}`, "uint8", [a, b], 0);
}

/** Queues y = f(a, b, c), broadcast together, where a is a tensor. */
export function zip3<D extends DType>(
	operation: string,
	name: string,
	dtype: D,
	a: Tensor,
	b: Operand,
	c: Operand,
): Tensor<D> {
	return launch(operation, `select_${name}_${dtype}`, dtype, [a, b, c], 1);
}

/** Float types, as a check of what an operation takes. */
export function checkFloat(operation: string, x: Tensor): asserts x is Tensor<FloatType> {
	if (!x.isDifferentiable) {
		throw new TypeError(
			`Cannot compute ${operation} of ${x.dtype}: only of float32 and bfloat16; cast it`,
		);
	}
}
