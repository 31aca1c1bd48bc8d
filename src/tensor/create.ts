// New tensors from numbers.

import { Device } from "../cuda/device.ts";
import { toBfloat16 } from "./bfloat16.ts";
import { copyInto } from "./contiguous.ts";
import type { DType } from "./dtype.ts";
import { noGrad } from "./autograd/recording.ts";
import { type Shape, Tensor } from "./tensor.ts";

/** Where a new tensor is made, and whether gradients are wanted for it. */
export interface PlaceOptions {
	/** Where the tensor is made; by default {@linkcode Device.current}. */
	device?: Device;
	/** Whether backward passes compute its gradient, as by {@linkcode Tensor.requireGrad}; by default not. */
	requiresGrad?: boolean;
}

/** Options of functions that make a tensor. */
export interface CreateOptions<D extends DType> extends PlaceOptions {
	/** Element type; by default `float32`. */
	dtype?: D;
}

/** Numbers as {@linkcode tensor} takes them: one, a list, a list of lists, ... */
export type NestedNumbers = number | ArrayLike<number> | readonly NestedNumbers[];

/** The rank of nested numbers: how deep they are. */
export type RankOf<N> = N extends number ? 0
	: N extends ArrayLike<number> ? 1
	: N extends readonly ArrayLike<number>[] ? 2
	: N extends readonly (readonly ArrayLike<number>[])[] ? 3
	: N extends readonly (readonly (readonly ArrayLike<number>[])[])[] ? 4
	: N extends readonly (readonly (readonly (readonly ArrayLike<number>[])[])[])[] ? 5
	: number;

/** Whole numbers that a type holds. */
const RANGES: Partial<Record<DType, readonly [least: number, largest: number]>> = {
	int32: [-(2 ** 31), 2 ** 31 - 1],
	uint32: [0, 2 ** 32 - 1],
	uint8: [0, 255],
};

/** The elements of a type for numbers: rounded as floats, checked as whole numbers. */
function elements(dtype: DType, numbers: ArrayLike<number>): ArrayLike<number> {
	const range = RANGES[dtype];
	if (range) {
		const [least, largest] = range;
		for (let i = 0; i < numbers.length; i++) {
			const value = numbers[i]!;
			if (!(Number.isInteger(value) && value >= least && value <= largest)) {
				throw new RangeError(
					`Cannot store ${value} as ${dtype}: it holds whole numbers from ${least} to ${largest}`,
				);
			}
		}
	}
	return dtype === "bfloat16" ? Array.from(numbers, toBfloat16) : numbers;
}

function finish<D extends DType, R extends number>(
	tensor: Tensor<D, R>,
	{ requiresGrad = false }: PlaceOptions,
): Tensor<D, R> {
	try {
		return requiresGrad ? tensor.requireGrad() : tensor;
	} catch (error) {
		tensor.dispose();
		throw error;
	}
}

function make<D extends DType, R extends number>(
	numbers: ArrayLike<number>,
	shape: readonly number[],
	options: CreateOptions<D>,
): Tensor<D, R> {
	const { dtype = "float32" as D, device = Device.current } = options;
	return finish(
		Tensor.from<D, R>(device, dtype, shape as Shape<R>, elements(dtype, numbers)),
		options,
	);
}

/**
 * A tensor of the given numbers, each rounded to the dtype.
 *
 * @param values a number (rank 0), a list of numbers (rank 1), a list of equally long lists (rank 2), ...
 * @throws {RangeError} if lists differ in length, or an integer dtype cannot hold a number
 *
 * @example A matrix
 * ```ts
 * import { Device, tensor } from "@outlierscope/outlierscope";
 * await Device.open();
 * using x = tensor([[1, 2, 3], [4, 5, 6]]);
 * console.log(x.shape, x.dtype); // [ 2, 3 ] float32
 * ```
 */
export function tensor<const N extends NestedNumbers, D extends DType = "float32">(
	values: N,
	options: CreateOptions<D> = {},
): Tensor<D, RankOf<N>> {
	const shape: number[] = [];
	for (let at: NestedNumbers = values; typeof at !== "number";) {
		shape.push(at.length);
		if (at.length === 0) break;
		at = at[0]!;
	}
	const numbers: number[] = [];
	const visit = (value: NestedNumbers, depth: number, path: string): void => {
		const found = typeof value === "number" ? "a number" : `a list of ${value.length}`;
		const wanted = depth === shape.length ? "a number" : `a list of ${shape[depth]}`;
		if (found !== wanted) {
			throw new RangeError(
				`Cannot make a tensor of lists that differ: values${path} is ${found}, not ${wanted} as the first`,
			);
		}
		if (typeof value === "number") numbers.push(value);
		else for (let i = 0; i < value.length; i++) visit(value[i]!, depth + 1, `${path}[${i}]`);
	};
	visit(values, 0, "");
	return make(numbers, shape, options);
}

/** A tensor of zeros. */
export function zeros<const S extends readonly number[], D extends DType = "float32">(
	shape: S,
	options: CreateOptions<D> = {},
): Tensor<D, S["length"]> {
	const { dtype = "float32" as D, device = Device.current } = options;
	return finish(
		Tensor.zeros<D, S["length"]>(device, dtype, shape as Shape<S["length"]>),
		options,
	);
}

/** A tensor of ones. */
export function ones<const S extends readonly number[], D extends DType = "float32">(
	shape: S,
	options: CreateOptions<D> = {},
): Tensor<D, S["length"]> {
	return full(shape, 1, options);
}

/** A tensor of which each element is `value`. */
export function full<const S extends readonly number[], D extends DType = "float32">(
	shape: S,
	value: number,
	options: CreateOptions<D> = {},
): Tensor<D, S["length"]> {
	const { dtype = "float32" as D, device = Device.current } = options;
	using one = make<D, 0>([value], [], { dtype, device });
	const all = Tensor.empty<D, S["length"]>(device, dtype, shape as Shape<S["length"]>);
	using repeated = noGrad(() => one.expand(shape));
	copyInto(all, repeated);
	return finish(all, options);
}

/** Zeros in the shape, dtype and place of another tensor. */
export function zerosLike<D extends DType, R extends number>(
	x: Tensor<D, R>,
	options: PlaceOptions = {},
): Tensor<D, R> {
	return zeros(x.shape, { dtype: x.dtype, device: x.device, ...options }) as Tensor<D, R>;
}

/** Ones in the shape, dtype and place of another tensor. */
export function onesLike<D extends DType, R extends number>(
	x: Tensor<D, R>,
	options: PlaceOptions = {},
): Tensor<D, R> {
	return fullLike(x, 1, options);
}

/** A tensor of which each element is `value`, in the shape, dtype and place of another one. */
export function fullLike<D extends DType, R extends number>(
	x: Tensor<D, R>,
	value: number,
	options: PlaceOptions = {},
): Tensor<D, R> {
	return full(x.shape, value, { dtype: x.dtype, device: x.device, ...options }) as Tensor<D, R>;
}

/** Options of {@linkcode arange}. */
export interface ArangeOptions<D extends DType> extends CreateOptions<D> {
	/** The distance from a number to the next, positive or negative; by default 1. */
	step?: number;
}

/** The numbers from 0 to `end`, not included. */
export function arange<D extends DType = "float32">(
	end: number,
	options?: ArangeOptions<D>,
): Tensor<D, 1>;
/**
 * The numbers from `start` to `end`, not included: start + i · step.
 *
 * @returns [⌈(end - start) / step⌉], or [0] if the step leads away from the end
 *
 * @example Even numbers as indices
 * ```ts
 * import { arange, Device } from "@outlierscope/outlierscope";
 * await Device.open();
 * using even = arange(0, 10, { step: 2, dtype: "int32" });
 * console.log(await even.data()); // Int32Array [0, 2, 4, 6, 8]
 * ```
 */
export function arange<D extends DType = "float32">(
	start: number,
	end: number,
	options?: ArangeOptions<D>,
): Tensor<D, 1>;
export function arange<D extends DType>(
	first: number,
	second: number | ArangeOptions<D> = {},
	third: ArangeOptions<D> = {},
): Tensor<D, 1> {
	const [start, end, options] = typeof second === "number"
		? [first, second, third]
		: [0, first, second];
	const { step = 1 } = options;
	const length = Math.max(0, Math.ceil((end - start) / step));
	if (!(length < 2 ** 32 && step !== 0)) {
		throw new RangeError(`Cannot count from ${start} to ${end} in steps of ${step}`);
	}
	return make(Array.from({ length }, (_, i) => start + i * step), [length], options);
}

/**
 * `count` numbers at equal distances from `start` to `end`, both included.
 *
 * @returns [count]
 */
export function linspace<D extends DType = "float32">(
	start: number,
	end: number,
	count: number,
	options: CreateOptions<D> = {},
): Tensor<D, 1> {
	if (!Number.isInteger(count) || count < 0) {
		throw new RangeError(`Cannot make ${count} numbers from ${start} to ${end}`);
	}
	const numbers = Array.from({ length: count }, (_, i) => {
		const part = i / Math.max(1, count - 1);
		return part < 0.5 ? start + part * (end - start) : end - (1 - part) * (end - start);
	});
	return make(numbers, [count], options);
}

/**
 * The identity matrix: ones on the diagonal, zeros elsewhere.
 *
 * @returns [rows, columns], by default square
 */
export function eye<D extends DType = "float32">(
	rows: number,
	options?: CreateOptions<D> & { columns?: number },
): Tensor<D, 2> {
	const { columns = rows, ...rest } = options ?? {};
	const matrix = zeros([rows, columns], { ...rest, requiresGrad: false });
	const length = Math.min(rows, columns);
	using diagonal = matrix.asStrided<1>([length], [columns + 1]);
	using ones = full([length], 1, { dtype: matrix.dtype, device: matrix.device });
	copyInto(diagonal, ones);
	return finish(matrix as Tensor<D, 2>, rest);
}
