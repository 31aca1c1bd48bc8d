// Views: which elements they show, against plain indexing on random shapes, and that gradients flow back through.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
	contiguous,
	copyInto,
	expand,
	permute,
	reshape,
	scope,
	slice,
	squeeze,
	Tensor,
	transpose,
	unsqueeze,
} from "../../mod.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { device, deviceTest, random } from "./on_device.ts";

const whole = (below: number) => Math.floor(random() * below);
const count = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

/** The result of `shape` whose element at each index is the one of `x` at the index that `from` gives. */
function indexed(
	x: Plain,
	shape: readonly number[],
	from: (index: readonly number[]) => readonly number[],
): Float64Array {
	return Float64Array.from({ length: count(shape) }, (_, flat) => {
		const index: number[] = [];
		for (let axis = shape.length - 1; axis >= 0; axis--) {
			index.unshift(flat % shape[axis]!);
			flat = Math.floor(flat / shape[axis]!);
		}
		return x.data[from(index).reduce((at, i, axis) => at * x.shape[axis]! + i, 0)]!;
	});
}

deviceTest(
	"slices, permutations, expansions and reshapes of random shapes, and their gradients",
	() => {
		for (let round = 0; round < 12; round++) {
			const rank = 1 + whole(4), shape = Array.from({ length: rank }, () => 1 + whole(5));
			const axis = whole(rank), begin = whole(shape[axis]! + 1);
			const end = begin + whole(shape[axis]! - begin + 1);
			const axes = shape.map((_, axis) => axis).sort(() => random() - 0.5);
			const transposed = rank > 1 && round % 2 === 1;
			const check = (
				name: string,
				op: (x: Tensor) => Tensor,
				reference: (x: Plain) => Float64Array,
			) =>
				checkOp({
					name: `${name} of [${shape}]`,
					inputs: [{ shape, transposed }],
					op,
					reference,
					tolerance: 1e-9, // copies are exact, and so are differences of a linear function but for their rounding
					step: 2 ** -10,
				});
			const cut = shape.with(axis, end - begin);
			check(
				`slice(${begin}, ${end}, ${axis})`,
				(x) => slice(x, begin, end, axis),
				(x) => indexed(x, cut, (index) => index.with(axis, index[axis]! + begin)),
			);
			check(
				`permute(${axes})`,
				(x) => permute(x, axes),
				(x) =>
					indexed(
						x,
						axes.map((axis) => shape[axis]!),
						(index) => shape.map((_, axis) => index[axes.indexOf(axis)]!),
					),
			);
			check(
				"reshape",
				(x) => reshape(x, [-1, shape[axis]!]),
				(x) => x.data,
			);
			const ones = shape.map((extent, i) => i === axis ? 1 : extent);
			const wide = [3, ...shape.with(axis, 4)];
			checkOp({
				name: `expand of [${ones}]`,
				inputs: [{ shape: ones }],
				op: (x) => expand(x, wide),
				reference: (x) => indexed(x, wide, (index) => index.slice(1).with(axis, 0)),
				tolerance: 1e-6,
			});
			if (rank > 1) {
				check(
					"transpose",
					(x) => transpose(x, axis, -1),
					(x) => {
						const swap = (list: readonly number[]) =>
							list.with(axis, list.at(-1)!).with(-1, list[axis]!);
						return indexed(x, swap(shape), swap);
					},
				);
			}
		}
	},
);

deviceTest("views of views share the memory, and are copied only when they must be", () => {
	using x = Tensor.from<"int32", 2>(
		device,
		"int32",
		[3, 4],
		Array.from({ length: 12 }, (_, i) => i),
	);
	const before = device.liveBytes;
	scope(() => {
		const turned = x.transpose();
		assertEquals([[...turned.shape], [...turned.strides], turned.isContiguous], [
			[4, 3],
			[1, 4],
			false,
		]);
		const part = turned.slice(1, 3).slice(-2, -1, 1);
		assertEquals([...part.dataSync()], [5, 6]);
		assertEquals([...unsqueeze(part, 1).shape], [2, 1, 1]);
		assertEquals([...squeeze(part, -1).shape], [2]);
		assertEquals([...x.slice(1).shape], [2, 4]);
		const rows = x.slice(1, 2).expand([5, 4]);
		assertEquals([...rows.strides], [0, 1]);
		assertEquals(device.liveBytes, before);
		assertEquals([...turned.reshape([2, 6]).dataSync()].slice(0, 3), [0, 4, 8]);
		assertEquals(device.liveBytes, before + 48); // rows of it cannot be a view
		assertThrows(() => turned.pointer, RangeError, "use contiguous()");
		assert(contiguous(x) === x);
		const dense = contiguous(turned);
		assertEquals([...dense.dataSync()], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
		copyInto(turned.slice(0, 1), Tensor.from<"int32", 2>(device, "int32", [1, 3], [-1, -2, -3]));
	});
	assertEquals([...x.dataSync()], [-1, 1, 2, 3, -2, 5, 6, 7, -3, 9, 10, 11]);
});

deviceTest("an axis of one entry does not make a view discontiguous, nor does an empty one", () => {
	using x = Tensor.zeros<"float32", 3>(device, "float32", [4, 1, 3]);
	using y = x.permute([1, 0, 2]);
	assert(y.isContiguous);
	using empty = scope(() => x.slice(2, 2).transpose());
	assert(empty.isContiguous);
	assertEquals([...empty.shape, empty.dataSync().length], [0, 3, 1, 0]);
});

deviceTest("what does not fit is refused with the shape", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [3, 4]);
	const refused: [() => unknown, string][] = [
		[() => x.reshape([5, -1]), "Cannot reshape [3,4] to [5,-1]"],
		[() => x.reshape([-1, -1]), "Cannot reshape [3,4] to [-1,-1]"],
		[() => x.reshape([5]), "Cannot reshape [3,4] to [5]: 12 elements are not 5"],
		[() => x.slice(2, 1), "Cannot slice 2 to 1 from axis 0 of a tensor of shape [3,4]"],
		[() => x.slice(0, 5, 1), "Cannot slice 0 to 5 from axis 1 of a tensor of shape [3,4]"],
		[() => x.slice(0, 1, 2), "Cannot compute slice of [3,4]: there is no axis 2, only -2 to 1"],
		[
			() => x.permute([0, 0]),
			"Cannot permute [3,4] by [0,0]: each of its 2 axes must be named once",
		],
		[() => x.expand([2, 3, 5]), "Cannot expand [3,4] to [2,3,5]"],
		[() => squeeze(x, 0), "Cannot squeeze axis 0 of [3,4]: its extent is not 1"],
	];
	for (const [body, message] of refused) assertThrows(body, RangeError, message);
});
