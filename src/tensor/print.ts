// Tensors as text, and their elements as numbers: a readable excerpt, of which only what is shown is read.

import { fromBfloat16 } from "./bfloat16.ts";
import { copyInto } from "./contiguous.ts";
import type { DType } from "./dtype.ts";
import { keep } from "./scope.ts";
import { rowMajor } from "./strides.ts";
import { Tensor } from "./tensor.ts";

/** A number a tensor of rank 0, a list of numbers for rank 1, a list of such lists for rank 2, ... */
export type NestedArray<R extends number> = R extends 0 ? number
	: R extends 1 ? number[]
	: R extends 2 ? number[][]
	: R extends 3 ? number[][][]
	: R extends 4 ? number[][][][]
	: NestedNumberArray;

/** The same of any rank. */
export type NestedNumberArray = number | NestedNumberArray[];

/** Entries shown at either end of a long axis: of the last two, and of those before. */
const EDGE = 3, OUTER_EDGE = 1;
/** Tensors of more elements are shown in part. */
const MOST = 1000;
/** Columns of a line. */
const WIDTH = 100;
const DIGITS = 4;

/** Elements as numbers: bfloat16 comes as its bits. */
export function asNumbers(dtype: DType, data: ArrayLike<number>): number[] {
	return Array.from(data, dtype === "bfloat16" ? fromBfloat16 : Number);
}

/** Elements in row-major order as nested lists. */
export function nest(numbers: readonly number[], shape: readonly number[]): NestedNumberArray {
	const strides = rowMajor(shape);
	const build = (axis: number, begin: number): NestedNumberArray =>
		axis === shape.length
			? numbers[begin]!
			: Array.from({ length: shape[axis]! }, (_, i) => build(axis + 1, begin + i * strides[axis]!));
	return build(0, 0);
}

/** What is shown of a tensor's elements. */
export interface Excerpt {
	/** Entries shown at either end of each axis, 0 where all are. */
	ends: readonly number[];
	/** Extents of what is shown. */
	shape: readonly number[];
	/** The elements shown, in row-major order. */
	numbers: readonly number[];
	/** The same as they are written. */
	texts: readonly string[];
}

/** Entries shown at either end of each axis, 0 where all are. */
function edges({ size, shape }: Tensor, most: number): number[] {
	return shape.map((extent, axis) => {
		const edge = axis < shape.length - 2 ? OUTER_EDGE : EDGE;
		return size > most && extent > 2 * edge ? edge : 0;
	});
}

/** The elements to show, with the ends of axes that are shown in part put together to `shape`. */
function read(x: Tensor, shape: readonly number[], ends: readonly number[]): number[] {
	using shown = keep(Tensor.empty<DType, number>(x.device, x.dtype, shape));
	const copyEnds = (axis: number, extents: number[], from: number, to: number): void => {
		if (axis === shape.length) {
			using source = keep(x.asStrided<number>(extents, x.strides, from));
			using target = keep(shown.asStrided<number>(extents, shown.strides, to));
			copyInto(target, source);
		} else if (ends[axis]! > 0) {
			const edge = ends[axis]!, behind = (x.shape[axis]! - edge) * x.strides[axis]!;
			copyEnds(axis + 1, [...extents, edge], from, to);
			copyEnds(axis + 1, [...extents, edge], from + behind, to + edge * shown.strides[axis]!);
		} else copyEnds(axis + 1, [...extents, shape[axis]!], from, to);
	};
	copyEnds(0, [], 0, 0);
	return asNumbers(x.dtype, shown.dataSync());
}

/** How numbers are written: whole ones with a bare point, others with as few of four digits as tell them apart. */
function formatter(numbers: readonly number[], isFloat: boolean): (x: number) => string {
	if (!isFloat) return String;
	const finite = numbers.filter((x) => Number.isFinite(x) && x !== 0).map(Math.abs);
	const largest = finite.reduce((a, b) => Math.max(a, b), 0);
	const smallest = finite.reduce((a, b) => Math.min(a, b), Infinity);
	const whole = finite.every(Number.isInteger);
	const scientific = largest >= 1e8 || (!whole && (smallest < 1e-4 || largest >= 1e5));
	const written = finite.map((x) =>
		scientific ? x.toExponential(DIGITS).replace(/e.*/, "") : x.toFixed(DIGITS)
	);
	const digits = whole && !scientific ? 0 : Math.max(
		1,
		...written.map((text) => text.replace(/0+$/, "").replace(/.*\./, "").length),
	);
	return (x) => {
		if (!Number.isFinite(x)) return String(x);
		if (scientific) return x.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");
		return x.toFixed(digits) + (digits === 0 ? "." : "");
	};
}

/** Nested lists as text, with columns aligned, and "..." in the middle of long axes. */
function formatElements({ ends, shape, texts }: Excerpt): string {
	const width = Math.max(0, ...texts.map((text) => text.length));
	const strides = rowMajor(shape), last = shape.length - 1;
	const build = (axis: number, begin: number): string => {
		if (axis > last) return texts[begin]!.padStart(width);
		const parts = Array.from(
			{ length: shape[axis]! },
			(_, i) => build(axis + 1, begin + i * strides[axis]!),
		);
		if (ends[axis]! > 0) parts.splice(ends[axis]!, 0, "...");
		const indent = " ".repeat(axis + 1);
		if (axis < last) return `[${parts.join(`,${"\n".repeat(last - axis)}${indent}`)}]`;
		const perLine = Math.max(1, Math.floor((WIDTH - axis - 2) / (width + 2)));
		const lines = Array.from(
			{ length: Math.ceil(parts.length / perLine) },
			(_, i) => parts.slice(i * perLine, (i + 1) * perLine).join(", "),
		);
		return `[${lines.join(`,\n${indent}`)}]`;
	};
	return build(0, 0);
}

/** The elements to show, all if they are at most `most`, or in words why there are none. Does not throw. */
export function excerpt(x: Tensor, most: number): Excerpt | string {
	if (x.disposed) return "freed";
	// Copies would become part of the graph.
	if (x.device.isCapturing) return "not computed yet: its work is being captured";
	if (x.size === 0) return "empty";
	try {
		const ends = edges(x, most), shape = x.shape.map((extent, axis) => 2 * ends[axis]! || extent);
		const numbers = read(x, shape, ends);
		const format = formatter(numbers, x.dtype === "float64" || x.isDifferentiable);
		return { ends, shape, numbers, texts: numbers.map(format) };
	} catch (error) {
		return `cannot be read: ${error instanceof Error ? error.message : error}`;
	}
}

/** Dtype, shape and device of a tensor. */
export function head(x: Tensor): string {
	return `Tensor ${x.dtype} [${x.shape.join(", ")}] on ${x.device.kind}` +
		(x.requiresGrad ? ", requires grad" : "");
}

/** Dtype, shape, device and an excerpt of a tensor, or why its elements cannot be shown. Does not throw. */
export function print(x: Tensor): string {
	const shown = excerpt(x, MOST);
	return typeof shown === "string"
		? `${head(x)}, ${shown}`
		: `${head(x)}\n${formatElements(shown)}`;
}
