// Reductions of plain arrays in float64, which operations are compared with.

import type { Plain } from "./gradients.ts";

/** The elements along some axes, in row-major order, for each place of the others. */
export function linesAlong({ shape, data }: Plain, axes: readonly number[]): number[][] {
	const reduced = new Set(axes.map((axis) => axis < 0 ? axis + shape.length : axis));
	const lines: number[][] = [];
	const places = shape.reduce((size, extent, axis) => reduced.has(axis) ? size : size * extent, 1);
	for (let i = 0; i < places; i++) lines.push([]);
	for (let i = 0; i < data.length; i++) {
		let rest = i, place = 0, stride = 1;
		for (let axis = shape.length - 1; axis >= 0; axis--) {
			const at = rest % shape[axis]!;
			rest = Math.floor(rest / shape[axis]!);
			if (reduced.has(axis)) continue;
			place += at * stride;
			stride *= shape[axis]!;
		}
		lines[place]!.push(data[i]!);
	}
	return lines;
}

/** Applies a function of a line's elements, as many as come back, along one axis. */
export function mapAlong(x: Plain, axis: number, f: (line: number[]) => number[]): Float64Array {
	const { shape } = x, along = axis < 0 ? axis + shape.length : axis;
	const inner = shape.slice(along + 1).reduce((a, b) => a * b, 1), count = shape[along]!;
	const result = new Float64Array(x.data.length);
	linesAlong(x, [along]).forEach((line, place) => {
		const start = Math.floor(place / inner) * count * inner + place % inner;
		f(line).forEach((value, j) => result[start + j * inner] = value);
	});
	return result;
}
