// Broadcasting: the shape of a result, and the fewest axes that walk it and its operands.

import type { Tensor } from "./tensor.ts";

/** Axes around a row that a kernel of strided.cuh walks. */
const OUTER = 5;
const LARGEST_EXTENT = 2 ** 31 - 1;

const extentAt = (shape: readonly number[], axis: number, rank: number) =>
	shape[axis + shape.length - rank] ?? 1;

/** The extents that two shapes have together, counted from the last; -1 where they do not fit. */
export function broadcastPair(a: readonly number[], b: readonly number[]): number[] {
	const rank = Math.max(a.length, b.length);
	return Array.from({ length: rank }, (_, axis) => {
		const x = extentAt(a, axis, rank), y = extentAt(b, axis, rank);
		return x === y || y === 1 ? x : x === 1 ? y : -1;
	});
}

/**
 * The shape that tensors of these shapes have together: of each axis, counted from the last, the extents are
 * equal or 1.
 *
 * @param operation for the error, as in `"add"`
 * @throws {RangeError} if they do not fit
 */
export function broadcastShapes(
	operation: string,
	...shapes: readonly (readonly number[])[]
): readonly number[] {
	return shapes.reduce((a, b) => {
		const together = broadcastPair(a, b), axis = together.indexOf(-1), rank = together.length;
		if (axis < 0) return together;
		throw new RangeError(
			`Cannot ${operation} [${a}] and [${b}]: axis ${axis} has extents ` +
				`${extentAt(a, axis, rank)} and ${
					extentAt(b, axis, rank)
				}; they must be equal, or one of them 1`,
		);
	});
}

/** An operand: its extents and strides. */
export type Strided = Pick<Tensor, "shape" | "strides">;

/**
 * How a kernel of strided.cuh walks a result of `shape`, and operands that are broadcast to it: the kernel's
 * arguments from `rows` on. Operands that are null are numbers.
 *
 * @throws {RangeError} if more than six axes are left, or one is longer than an int
 */
export function walkOf(
	operation: string,
	shape: readonly number[],
	operands: readonly (Strided | null)[],
): number[] {
	const axes: { extent: number; strides: number[] }[] = [];
	shape.forEach((extent, axis) => {
		if (extent === 1) return;
		const strides = operands.map((operand) => {
			const own = operand ? axis + operand.shape.length - shape.length : -1;
			return own < 0 || operand!.shape[own] === 1 ? 0 : operand!.strides[own]!;
		});
		const last = axes.at(-1);
		// An axis continues the one around it if, for every operand, that one steps over all of it.
		if (last?.strides.every((stride, k) => stride === strides[k]! * extent)) {
			axes[axes.length - 1] = { extent: last.extent * extent, strides };
		} else axes.push({ extent, strides });
	});
	const row = axes.pop() ?? { extent: 1, strides: operands.map(() => 0) };
	if (axes.length > OUTER || axes.some(({ extent }) => extent > LARGEST_EXTENT)) {
		throw new RangeError(
			`Cannot ${operation} into [${shape}]: the operands' axes cannot be merged to ` +
				`${OUTER + 1} of fewer than 2³¹ entries; make them contiguous`,
		);
	}
	const rows = axes.reduce((product, { extent }) => product * extent, 1);
	while (axes.length < OUTER) axes.unshift({ extent: 1, strides: operands.map(() => 0) });
	return [
		rows,
		row.extent,
		...row.strides,
		...axes.map(({ extent }) => extent),
		...operands.flatMap((_, k) => axes.map(({ strides }) => strides[k]!)),
	];
}
