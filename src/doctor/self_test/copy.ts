// Copies between strided places against a copy element by element, to the byte.

import { copyStrided } from "../../tensor/copy_strided.ts";
import { assertSame, type Bench, selfTest } from "./self_test.ts";

/** A copy over `shape` between places with these strides. */
export interface Copy {
	shape: readonly number[];
	to: readonly number[];
	from: readonly number[];
}

/** Row-major strides, with `gap` elements left out behind each row. */
export function rowMajor(shape: readonly number[], gap = 0): number[] {
	const strides: number[] = [];
	shape.toReversed().reduce((stride, extent, i) => {
		strides.unshift(stride);
		return stride * extent + (i === 0 ? gap : 0);
	}, 1);
	return strides;
}

/** A copy of all elements of an array of this shape with its axes in another order. */
export function permuted(shape: readonly number[], order: readonly number[], gap = 0): Copy {
	const strides = rowMajor(shape, gap), to = order.map((axis) => shape[axis]);
	return { shape: to, to: rowMajor(to, gap), from: order.map((axis) => strides[axis]) };
}

const reach = ({ shape }: Copy, strides: readonly number[]) =>
	shape.includes(0) ? 0 : shape.reduce((sum, extent, i) => sum + (extent - 1) * strides[i], 1);

/** Copies random bytes and compares the target, its gaps too, with what belongs there. */
export function checkCopy(bench: Bench, copy: Copy, bytes: number): void {
	const { shape, to, from } = copy, data = bench.random.bytes(reach(copy, from) * bytes);
	const { pointer } = bench.given("uint8", data);
	const target = bench.wanted("uint8", reach(copy, to) * bytes);
	const place = { pointer: target.pointer, strides: to };
	copyStrided(bench.device, bytes, shape, place, { pointer, strides: from });
	const expected = new Uint8Array(reach(copy, to) * bytes).fill(0xff);
	const visit = (axis: number, at: number, place: number) => {
		if (axis === shape.length) {
			expected.set(data.subarray(place * bytes, (place + 1) * bytes), at * bytes);
			return;
		}
		for (let i = 0; i < shape[axis]; i++) {
			visit(axis + 1, at + i * to[axis], place + i * from[axis]);
		}
	};
	visit(0, 0, 0);
	const taken = target.take(), wrong = taken.findIndex((byte, i) => byte !== expected[i]);
	assertSame(wrong, -1, `${JSON.stringify(copy)}, ${bytes} bytes: the first byte that is wrong`);
}

/** Each kernel of copy.cu. */
export const selfTests = [1, 2, 4, 8].flatMap((bytes) => [
	selfTest(
		[`copy_strided_${bytes}`],
		(bench) => checkCopy(bench, permuted([5, 7, 65], [1, 0, 2], 3), bytes),
	),
	selfTest(
		[`copy_transposed_${bytes}`],
		(bench) => checkCopy(bench, permuted([3, 65, 130], [0, 2, 1], 1), bytes),
	),
]);
