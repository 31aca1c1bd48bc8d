// Shapes that are broadcast together, and the walks over them, against plain loops.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { broadcastPair, broadcastShapes, walkOf } from "../../src/tensor/broadcast.ts";
import { Random } from "../random.ts";
import { together } from "./plain_broadcast.ts";

/** Row-major strides. */
function rowMajor(shape: readonly number[]): number[] {
	return shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
}

/** The offsets of an operand in the order in which the kernels walk them. */
function offsets(walk: number[], operand: number, operands: number): number[] {
	const [rows, columns] = walk;
	const column = walk[2 + operand], extents = walk.slice(2 + operands, 7 + operands);
	const strides = walk.slice(7 + operands + 5 * operand, 12 + operands + 5 * operand);
	return Array.from({ length: rows * columns }, (_, at) => {
		let rest = Math.floor(at / columns), offset = at % columns * column;
		for (let axis = 4; axis >= 0; axis--) {
			offset += rest % extents[axis] * strides[axis];
			rest = Math.floor(rest / extents[axis]);
		}
		return offset;
	});
}

Deno.test("two shapes broadcast from the last axis", () => {
	assertEquals(broadcastPair([], []), []);
	assertEquals(broadcastPair([2, 3], []), [2, 3]);
	assertEquals(broadcastPair([3], [2, 1]), [2, 3]);
	assertEquals(broadcastPair([1, 3], [2, 3]), [2, 3]);
	assertEquals(broadcastPair([0], [1]), [0]);
	assertEquals(broadcastPair([2], [3]), [-1]);
	assertEquals(broadcastPair([4, 0], [1, 2]), [4, -1]);
});

Deno.test("a walk visits each operand's elements as plain loops do", () => {
	const random = new Random();
	for (let trial = 0; trial < 300; trial++) {
		const rank = random.below(7);
		const extents = Array.from({ length: rank }, () => 1 + random.below(4));
		const operands = Array.from({ length: 1 + random.below(3) }, () => {
			const shape = extents.slice(random.below(rank + 1))
				.map((extent) => random.below(3) ? extent : 1);
			// Rows that lie apart, and axes in another order.
			const strides = rowMajor(shape).map((stride) => stride * (1 + random.below(3)));
			return { shape, strides: random.below(2) ? strides : strides.toReversed() };
		});
		const shape = broadcastShapes("add", ...operands.map(({ shape }) => shape));
		assertEquals([...shape], together(...operands.map(({ shape }) => shape)));
		const walk = walkOf("add", shape, operands);
		assertEquals(walk.length, 2 + 5 + 6 * operands.length);
		const size = shape.reduce((a, b) => a * b, 1);
		operands.forEach((operand, k) => {
			const expected = Array.from({ length: size }, (_, at) => {
				let rest = at, offset = 0;
				for (let axis = shape.length - 1; axis >= 0; axis--) {
					const own = axis + operand.shape.length - shape.length, index = rest % shape[axis];
					rest = Math.floor(rest / shape[axis]);
					if (own >= 0 && operand.shape[own] > 1) offset += index * operand.strides[own];
				}
				return offset;
			});
			assertEquals(offsets(walk, k, operands.length), expected);
		});
	}
});

Deno.test("axes that step as one are merged, and a number steps by 0", () => {
	const whole = { shape: [2, 3, 4], strides: [12, 4, 1] };
	assertEquals(walkOf("add", [2, 3, 4], [whole, null]).slice(0, 4), [1, 24, 1, 0]);
	const row = { shape: [4], strides: [1] };
	assertEquals(walkOf("add", [2, 3, 4], [whole, row]).slice(0, 9), [6, 4, 1, 1, 1, 1, 1, 1, 6]);
	const turned = { shape: [3, 4], strides: [1, 3] };
	assertEquals(walkOf("add", [3, 4], [turned]).slice(0, 3), [3, 4, 3]);
	assertEquals(walkOf("add", [], [null]).slice(0, 3), [1, 1, 0]);
});

Deno.test("shapes that do not fit, and axes that cannot be walked, are refused", () => {
	assertThrows(
		() => broadcastShapes("add", [5, 2, 3], [4, 3]),
		RangeError,
		"Cannot add [5,2,3] and [4,3]: axis 1 has extents 2 and 4; they must be equal, or one of them 1",
	);
	const shape = [2, 3, 2, 3, 2, 3, 2], turned = rowMajor(shape).toReversed();
	const error = assertThrows(() => walkOf("add", shape, [{ shape, strides: turned }]), RangeError);
	assert(error.message.startsWith("Cannot add into [2,3,2,3,2,3,2]: the operands' axes"));
});
