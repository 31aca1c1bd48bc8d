// Copies between strided places of device memory: what views with strides are made contiguous by, and
// written through.

import type { Device } from "../cuda/device.ts";

/** Where elements lie: the first one's device pointer, and strides in elements. */
export interface StridedPlace {
	/** Device pointer of the first element. */
	pointer: number;
	/** Elements from one entry of each axis to the next; 0 repeats one along the axis. */
	strides: readonly number[];
}

/** One axis of a copy. */
export interface CopyAxis {
	/** Number of entries. */
	extent: number;
	/** Stride of the target. */
	to: number;
	/** Stride of the source. */
	from: number;
}

/** Axes that one launch takes around a row, and around a matrix. */
const OUTER = 5, OUTER_OF_MATRIX = 4;
/** Rows shorter than this are not worth a walk of their own. */
const SHORT = 8;
const LARGEST_EXTENT = 2 ** 31 - 1;

/**
 * The fewest axes that visit the same pairs of elements, in the order in which the target lies: axes of one
 * entry are dropped, and axes that together step as one are merged.
 */
export function collapseAxes(
	shape: readonly number[],
	to: readonly number[],
	from: readonly number[],
): CopyAxis[] {
	const axes = shape
		.map((extent, i): CopyAxis => ({ extent, to: to[i]!, from: from[i]! }))
		.filter(({ extent }) => extent !== 1)
		.sort((a, b) => b.to - a.to);
	const merged: CopyAxis[] = [];
	for (const axis of axes) {
		const last = merged.at(-1), whole = axis.extent;
		if (last && last.to === axis.to * whole && last.from === axis.from * whole) {
			merged[merged.length - 1] = { ...axis, extent: last.extent * whole };
		} else merged.push(axis);
	}
	return merged;
}

/**
 * Queues to[i, j, ...] = from[i, j, ...] over `shape`. The two must not overlap, and no two elements of the
 * target may be one.
 *
 * @param bytes of an element: 1, 2, 4 or 8
 */
export function copyStrided(
	device: Pick<Device, "kernel">,
	bytes: number,
	shape: readonly number[],
	to: StridedPlace,
	from: StridedPlace,
): void {
	if (shape.includes(0)) return;
	launch(device, bytes, collapseAxes(shape, to.strides, from.strides), to.pointer, from.pointer);
}

function launch(
	device: Pick<Device, "kernel">,
	bytes: number,
	axes: CopyAxis[],
	to: number,
	from: number,
): void {
	const widest = axes.findIndex(({ extent }) => extent > LARGEST_EXTENT);
	if (widest >= 0) {
		const axis = axes[widest]!, half = Math.floor(axis.extent / 2);
		const parts = [half, axis.extent - half];
		parts.forEach((extent, i) => {
			const begin = i * half * bytes;
			const part = axes.with(widest, { ...axis, extent });
			launch(device, bytes, part, to + begin * axis.to, from + begin * axis.from);
		});
		return;
	}
	const row = rowAxis(axes);
	const column = axes[row] ?? { extent: 1, to: 1, from: 1 };
	const outer = axes.toSpliced(row, 1);
	const lines = outer.findIndex((axis) => axis.from === 1 && axis.extent >= SHORT);
	const transposed = lines >= 0 && column.to === 1 && column.from > 1 && column.extent >= SHORT;
	const { extent: rows, to: rowStride } = outer[lines] ?? { extent: 1, to: 0 };
	if (transposed) outer.splice(lines, 1);
	const most = transposed ? OUTER_OF_MATRIX : OUTER;
	if (outer.length > most) { // rare: one launch an entry of the outermost axis
		const [first, ...rest] = axes as [CopyAxis, ...CopyAxis[]];
		for (let i = 0; i < first.extent; i++) {
			launch(device, bytes, rest, to + i * first.to * bytes, from + i * first.from * bytes);
		}
		return;
	}
	const count = outer.reduce((product, { extent }) => product * extent, 1);
	while (outer.length < most) outer.unshift({ extent: 1, to: 0, from: 0 });
	const around = [
		...outer.map(({ extent }) => extent),
		...outer.map((axis) => axis.to),
		...outer.map((axis) => axis.from),
	];
	if (transposed) {
		const tiles = count * Math.ceil(rows / 32) * Math.ceil(column.extent / 32);
		device.kernel(`copy_transposed_${bytes}`).overBlocks(
			tiles,
			to,
			from,
			count,
			rows,
			column.extent,
			rowStride,
			column.from,
			...around,
		);
	} else {
		device.kernel(`copy_strided_${bytes}`).overRows(
			count * Math.ceil(column.extent / 4096),
			to,
			from,
			count,
			column.extent,
			column.to,
			column.from,
			...around,
		);
	}
}

/** The axis to walk as a row: the innermost, unless it is too short; then the longest. */
function rowAxis(axes: CopyAxis[]): number {
	const last = axes.length - 1;
	if (last < 0 || axes[last]!.extent >= SHORT) return last;
	return axes.reduce((best, { extent }, i) => extent > axes[best]!.extent ? i : best, last);
}
