// Entries by index, of every dtype, and their gradients, against plain indexing.

import { assertEquals, assertThrows } from "@std/assert";
import { type DType, scope, Tensor } from "../../mod.ts";
import {
	embedding,
	gatherRows,
	indexSelect,
	oneHot,
	scatterAdd,
	takeAlongAxis,
} from "../../src/tensor/gather.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { device, deviceTest, normal, random } from "./on_device.ts";

const dtypes: DType[] = ["float64", "float32", "bfloat16", "int32", "uint32", "uint8"];
const below = (count: number, extent: number) =>
	Array.from({ length: count }, () => Math.floor(random() * extent));
const size = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

for (const [rows, columns, count] of [[1, 2, 3], [61, 33, 13], [7, 578, 100], [5, 2, 0]] as const) {
	deviceTest(`${count} rows of ${columns} are gathered from ${rows} in every dtype`, async () => {
		const ids = below(count, rows);
		using at = Tensor.from<"int32", 1>(device, "int32", [count], ids);
		for (const dtype of dtypes) {
			const data = below(rows * columns, 256);
			using table = Tensor.from<DType, 2>(device, dtype, [rows, columns], data);
			using y = gatherRows(table, at);
			assertEquals([y.dtype, ...y.shape], [dtype, count, columns]);
			const expected = ids.flatMap((id) => data.slice(id * columns, (id + 1) * columns));
			assertEquals([...await y.data()], expected, dtype);
		}
	});
}

deviceTest("an id beyond the table gives a row of NaN, and takes no gradient", async () => {
	using table = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]).requireGrad();
	using at = Tensor.from<"int32", 1>(device, "int32", [3], [-1, 1, 2]);
	using y = gatherRows(table, at);
	assertEquals([...await y.data()], [NaN, NaN, NaN, 0, 0, 0, NaN, NaN, NaN]);
	using g = Tensor.from<"float32", 2>(device, "float32", [3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
	y.backward({ gradient: g });
	assertEquals([...table.grad!.dataSync()], [0, 0, 0, 4, 5, 6]);
});

/** Place in [outer, extent, inner] around an axis. */
function placeOf(shape: readonly number[], axis: number) {
	const inner = size(shape.slice(axis + 1)), extent = shape[axis]!;
	return (at: number, count: number) => {
		const i = at % inner, k = Math.floor(at / inner) % count, o = Math.floor(at / inner / count);
		return { k, place: (index: number) => (o * extent + index) * inner + i };
	};
}

const SHAPES: [shape: number[], axis: number, count: number][] = [
	[[5], 0, 7],
	[[5, 3], 0, 4],
	[[5, 3], 1, 6],
	[[2, 5, 3], 1, 9],
	[[2, 5, 3], -1, 1],
	[[4, 33, 2], 1, 40],
	[[0, 3], 1, 2],
	[[2, 3], 1, 0],
];

for (const [shape, axis, count] of SHAPES) {
	const along = axis < 0 ? axis + shape.length : axis;
	const extent = shape[along]!, locate = placeOf(shape, along);
	deviceTest(`entries of axis ${axis} of [${shape}] are selected, and gradients added`, () => {
		const ids = below(count, extent);
		const selected = shape.with(along, count);
		for (const dtype of ["float32", "bfloat16"] as const) {
			checkOp({
				name: `indexSelect of ${dtype}`,
				inputs: [{ shape, dtype }, { shape: [count], dtype: "int32", data: ids }],
				op: (x, ids) => indexSelect(x, ids, axis),
				reference: (x) =>
					Float64Array.from({ length: size(selected) }, (_, at) => {
						const { k, place } = locate(at, count);
						return x.data[place(ids[k]!)]!;
					}),
			});
		}
	});

	deviceTest(`elements are taken and added along axis ${axis} of [${shape}]`, () => {
		const taken = shape.with(along, count), indices = below(size(taken), extent);
		if (indices.length > 2) indices[1] = indices[0]!; // some twice
		const take = (x: Plain) =>
			Float64Array.from(indices, (index, at) => x.data[locate(at, count).place(index)]!);
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const transposed of shape.length > 1 ? [false, true] : [false]) {
				checkOp({
					name: `takeAlongAxis of ${dtype}`,
					inputs: [{ shape, dtype, transposed }, { shape: taken, dtype: "int32", data: indices }],
					op: (x, indices) => takeAlongAxis(x, indices, axis),
					reference: take,
				});
				checkOp({
					name: `scatterAdd of ${dtype}`,
					inputs: [
						{ shape, dtype, transposed },
						{ shape: taken, dtype: "int32", data: indices },
						{ shape: taken, dtype },
					],
					op: (x, indices, source) => scatterAdd(x, indices, source, axis),
					reference: (x, _, source) => {
						const y = x.data.slice();
						source.data.forEach((value, at) => {
							y[locate(at, count).place(indices[at]!)]! += value;
						});
						return y;
					},
				});
			}
		}
	});
}

deviceTest("what is added beyond the axis has no gradient", () => {
	using x = Tensor.zeros<"float32", 1>(device, "float32", [3]);
	using indices = Tensor.from<"int32", 1>(device, "int32", [3], [3, 1, -1]);
	using source = Tensor.from<"float32", 1>(device, "float32", [3], [1, 2, 3]).requireGrad();
	using y = scatterAdd(x, indices, source, 0);
	assertEquals([...y.dataSync()], [0, 2, 0]);
	using g = Tensor.from<"float32", 1>(device, "float32", [3], [4, 5, 6]);
	y.backward({ gradient: g });
	assertEquals([...source.grad!.dataSync()], [0, 5, 0]);
});

deviceTest(
	"token ids of any shape are embedded, and rows that several name sum their gradients",
	() => {
		for (const shape of [[], [7], [2, 5], [2, 0], [2, 3, 4]]) {
			for (const dtype of ["float32", "bfloat16"] as const) {
				const ids = below(size(shape), 4);
				checkOp({
					name: `embedding of [${shape}] as ${dtype}`,
					inputs: [{ shape, dtype: "int32", data: ids }, { shape: [6, 5], dtype }],
					op: (ids, table) => embedding(ids, table),
					reference: (_, table) =>
						ids.flatMap((id) => [...table.data.subarray(id * 5, id * 5 + 5)]),
				});
			}
		}
	},
);

deviceTest("the gradient of an embedding is the same to the bit each time", () => {
	const ids = below(3000, 5), weights = normal(3000 * 9);
	const run = () => {
		using table = Tensor.zeros<"float32", 2>(device, "float32", [5, 9]).requireGrad();
		using at = Tensor.from<"int32", 1>(device, "int32", [3000], ids);
		using x = embedding(at, table);
		using gradient = Tensor.from<"float32", 2>(device, "float32", [3000, 9], weights);
		x.backward({ gradient });
		return table.grad!.dataSync();
	};
	assertEquals(scope(run), scope(run));
});

deviceTest("ids become rows with a single one", () => {
	using ids = Tensor.from<"int32", 2>(device, "int32", [2, 2], [1, 0, 2, 3]);
	using y = oneHot(ids, 3);
	assertEquals([...y.shape], [2, 2, 3]);
	assertEquals([...y.dataSync()], [0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]);
	using number = Tensor.from<"int32", 0>(device, "int32", [], [1]);
	using one = oneHot(number, 2);
	assertEquals([...one.dataSync()], [0, 1]);
	using none = Tensor.zeros<"int32", 1>(device, "int32", [0]);
	using empty = oneHot(none, 2);
	assertEquals([...empty.shape], [0, 2]);
});

deviceTest("indices that do not fit are refused with both shapes", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	using indices = Tensor.zeros<"int32", 2>(device, "int32", [3, 1]);
	using fitting = Tensor.zeros<"int32", 2>(device, "int32", [2, 1]);
	const before = device.liveBytes;
	assertThrows(
		() => takeAlongAxis(x, indices, 1),
		RangeError,
		"Cannot compute takeAlongAxis of [2,3] by indices of shape [3,1]: all extents but that of axis 1 must be equal",
	);
	assertThrows(() => takeAlongAxis(x, fitting, 2), RangeError, "there is no axis 2");
	assertThrows(
		() => scatterAdd(x, fitting, x, 1),
		RangeError,
		"Cannot compute scatterAdd of float32 [2,3] to float32 at indices of shape [2,1]: dtype and shape must be equal",
	);
	assertEquals(device.liveBytes, before);
});
