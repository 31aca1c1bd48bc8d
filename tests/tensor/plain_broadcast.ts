// Broadcasting in plain loops, as the reference that operations are compared with.

import type { Plain } from "./gradients.ts";

/** The shape that operands have together; they are known to fit. */
export function together(...shapes: (readonly number[])[]): number[] {
	const rank = Math.max(0, ...shapes.map(({ length }) => length));
	return Array.from({ length: rank }, (_, axis) => {
		const extents = shapes.map((shape) => shape[axis + shape.length - rank] ?? 1);
		return extents.find((extent) => extent !== 1) ?? 1;
	});
}

/** f of the elements of `operands` that stand in each place of the shape they have together. */
export function elementwise(operands: Plain[], f: (...values: number[]) => number): Float64Array {
	const shape = together(...operands.map(({ shape }) => shape));
	const size = shape.reduce((product, extent) => product * extent, 1);
	return Float64Array.from({ length: size }, (_, at) => {
		const index: number[] = [];
		let rest = at;
		for (let axis = shape.length - 1; axis >= 0; axis--) {
			index[axis] = rest % shape[axis];
			rest = Math.floor(rest / shape[axis]);
		}
		return f(...operands.map((operand) => {
			const own = index.slice(shape.length - operand.shape.length);
			return operand.data[
				operand.shape.reduce((sum, extent, axis) => {
					return sum * extent + (extent === 1 ? 0 : own[axis]);
				}, 0)
			];
		}));
	});
}
