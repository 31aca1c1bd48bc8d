// Joining, splitting, padding and repeating against plain indexing, with gradients.

import { assertEquals, assertThrows } from "@std/assert";
import { type DType, scope, Tensor } from "../../mod.ts";
import { concatenate, pad, repeat, split, stack, tile } from "../../src/tensor/join.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { bfloat16Bits, device, deviceTest } from "./on_device.ts";

const size = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

/** The element of each place of `shape`, by its index. */
function each(shape: readonly number[], of: (index: number[]) => number): Float64Array {
	return Float64Array.from({ length: size(shape) }, (_, at) => {
		const index: number[] = [];
		for (let axis = shape.length - 1; axis >= 0; axis--) {
			index.unshift(at % shape[axis]!);
			at = Math.floor(at / shape[axis]!);
		}
		return of(index);
	});
}

const at = ({ shape, data }: Plain, index: readonly number[]): number =>
	data[index.reduce((place, i, axis) => place * shape[axis]! + i, 0)]!;

/** Concatenation in plain loops. */
function joined(axis: number, ...parts: Plain[]): Float64Array {
	const extents = parts.map(({ shape }) => shape[axis]!);
	return each(parts[0]!.shape.with(axis, extents.reduce((a, b) => a + b)), (index) => {
		let i = index[axis]!, part = 0;
		while (i >= extents[part]!) i -= extents[part++]!;
		return at(parts[part]!, index.with(axis, i));
	});
}

const JOINS: [axis: number, shapes: number[][]][] = [
	[0, [[3]]],
	[0, [[3], [0], [4]]],
	[0, [[2, 3], [1, 3]]],
	[1, [[2, 3], [2, 1], [2, 30]]],
	[1, [[2, 1, 3], [2, 4, 3]]],
	[2, [[2, 2, 3], [2, 2, 5]]],
	[1, [[0, 2], [0, 3]]],
];

for (const [axis, shapes] of JOINS) {
	deviceTest(`[${shapes.join("], [")}] are joined along axis ${axis}`, () => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const from of [axis, axis - shapes[0]!.length]) {
				checkOp({
					name: `concatenate ${dtype}`,
					inputs: shapes.map((shape) => ({ shape, dtype })),
					op: (...parts) => concatenate(parts, from),
					reference: (...parts) => joined(axis, ...parts),
					tolerance: 1e-7,
				});
			}
		}
	});
}

deviceTest("views are joined", () => {
	checkOp({
		name: "concatenate of transposed views",
		inputs: [{ shape: [4, 3], transposed: true }, { shape: [2, 3] }, {
			shape: [3, 3],
			transposed: true,
		}],
		op: (...parts) => concatenate(parts),
		reference: (...parts) => joined(0, ...parts),
	});
});

deviceTest("tensors are stacked along a new axis", () => {
	for (const [shape, axis] of [[[3], 0], [[3], 1], [[2, 3], 1], [[2, 3], -1], [[], 0]] as const) {
		const along = axis < 0 ? axis + shape.length + 1 : axis;
		checkOp({
			name: `stack of [${shape}] along ${axis}`,
			inputs: [{ shape }, { shape }, { shape }],
			op: (...parts) => stack(parts, axis),
			reference: (...parts) =>
				joined(
					along,
					...parts.map(({ shape, data }) => ({ shape: shape.toSpliced(along, 0, 1), data })),
				),
		});
	}
});

deviceTest("parts are views, and their gradients come together, also where there is none", () => {
	for (
		const [shape, sizes, axis] of [[[6], [1, 2, 3], 0], [[2, 6], [2, 0, 4], 1], [
			[3, 4, 2],
			[1, 3],
			-2,
		]] as [number[], number[], number][]
	) {
		const along = axis < 0 ? axis + shape.length : axis;
		for (const chosen of sizes.keys()) {
			checkOp({
				name: `part ${chosen} of [${shape}]`,
				inputs: [{ shape }],
				op: (x) => scope(() => split(x, sizes, axis)[chosen]!),
				reference: (x) => {
					const before = sizes.slice(0, chosen).reduce<number>((a, b) => a + b, 0);
					return each(
						shape.with(along, sizes[chosen]!),
						(index) => at(x, index.with(along, index[along]! + before)),
					);
				},
			});
		}
		checkOp({
			name: "parts joined in another order",
			inputs: [{ shape }],
			op: (x) => scope(() => concatenate(split(x, sizes, axis).toReversed(), axis)),
			reference: (x) => {
				let first = 0;
				const parts = sizes.map((extent) => {
					const from = first;
					first += extent;
					const part = shape.with(along, extent);
					return {
						shape: part,
						data: each(part, (index) => at(x, index.with(along, index[along]! + from))),
					};
				});
				return joined(along, ...parts.toReversed());
			},
		});
	}
	using x = Tensor.from<"int32", 1>(device, "int32", [6], [1, 2, 3, 4, 5, 6]);
	const parts = split(x, 3);
	assertEquals(parts.map((part) => [...part.dataSync()]), [[1, 2], [3, 4], [5, 6]]);
	assertEquals(parts[1]!.pointer, x.pointer + 8);
	for (const part of parts) part.dispose();
});

deviceTest("tensors are padded with a value", () => {
	for (const value of [0, -2.5]) {
		for (
			const [shape, padding] of [[[3], [[2, 1]]], [[2, 3], [[0, 1], [2, 0]]], [[0, 2], [[1, 1], [
				0,
				1,
			]]], [[], []]] as [number[], [number, number][]][]
		) {
			checkOp({
				name: `pad [${shape}] with ${value}`,
				inputs: [{ shape }],
				op: (x) => pad(x, padding, value),
				reference: (x) =>
					each(
						shape.map((extent, axis) => extent + padding[axis]![0] + padding[axis]![1]),
						(index) => {
							const inner = index.map((i, axis) => i - padding[axis]![0]);
							return inner.every((i, axis) => i >= 0 && i < shape[axis]!) ? at(x, inner) : value;
						},
					),
			});
		}
	}
});

deviceTest("tensors are tiled and repeated", () => {
	for (
		const [shape, counts] of [[[3], [2]], [[2, 3], [3, 2]], [[2, 1, 3], [1, 4, 1]], [[2], [0]], [
			[],
			[],
		]]
	) {
		checkOp({
			name: `tile [${shape}] by [${counts}]`,
			inputs: [{ shape: shape! }],
			op: (x) => tile(x, counts!),
			reference: (x) =>
				each(
					shape!.map((extent, axis) => extent * counts![axis]!),
					(index) => at(x, index.map((i, axis) => i % shape![axis]!)),
				),
		});
	}
	for (
		const [shape, count, axis] of [[[3], 2, 0], [[2, 3], 3, -1], [[2, 3], 2, 0], [
			[3],
			0,
			0,
		]] as [number[], number, number][]
	) {
		const along = axis < 0 ? axis + shape.length : axis;
		checkOp({
			name: `repeat [${shape}] ${count} times along ${axis}`,
			inputs: [{ shape }],
			op: (x) => repeat(x, count, axis),
			reference: (x) =>
				each(
					shape.with(along, shape[along]! * count),
					(index) => at(x, index.with(along, Math.floor(index[along]! / count))),
				),
		});
	}
});

deviceTest("every dtype is joined and padded", () => {
	for (const dtype of ["float64", "float32", "bfloat16", "int32", "uint32", "uint8"] as DType[]) {
		using x = Tensor.from<DType, 1>(device, dtype, [3], [1, 2, 3]);
		using both = concatenate([x, x]);
		assertEquals([...both.dataSync()], [1, 2, 3, 1, 2, 3], dtype);
		using padded = pad(x, [[1, 2]], 7);
		const seven = dtype === "bfloat16" ? bfloat16Bits(7) : 7;
		assertEquals([...padded.dataSync()], [seven, 1, 2, 3, seven, seven], dtype);
	}
});

deviceTest("shapes that do not fit are refused, and nothing is left behind", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	using y = Tensor.zeros<"float32", 2>(device, "float32", [2, 4]);
	const before = device.liveBytes;
	const refused = (body: () => unknown, message: string) => assertThrows(body, RangeError, message);
	refused(() => concatenate([]), "Cannot concatenate no tensors");
	refused(
		() => concatenate([x, y]),
		"Cannot concatenate float32 [2,3] and float32 [2,4] along axis 0: dtypes and all other extents must be equal",
	);
	refused(() => concatenate([x], 2), "there is no axis 2");
	refused(() => stack([x, y]), "Cannot stack [2,3] and [2,4]: the shapes must be equal");
	refused(() => split(x, 2, 1), "Cannot split axis 1 of [2,3] into 2 parts: 3 is no multiple of 2");
	refused(
		() => split(x, [1, 1], 1),
		"Cannot split axis 1 of [2,3] into 1,1 parts: they add up to 2, not 3",
	);
	refused(() => split(x, 0), "must be whole and at least 1");
	refused(() => pad(x, [[1, 1]]), "Cannot pad [2,3] by [[1,1]]: it takes 2 pairs");
	refused(() => tile(x, [2]), "Cannot tile [2,3] by [2]: it takes 2 whole numbers");
	refused(() => repeat(x, -1), "Cannot repeat [2,3] -1 times");
	assertEquals(device.liveBytes, before);
});
