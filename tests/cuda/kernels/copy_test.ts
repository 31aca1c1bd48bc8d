// copy.cu through copyStrided: every element to its place, nothing beside it.

import { checkCopy, type Copy, permuted, rowMajor } from "../../../src/doctor/self_test/copy.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

const SIZES = [1, 2, 4, 8];

const COPIES: Record<string, Copy[]> = {
	"rows stay rows": [
		permuted([], []),
		permuted([1], [0]),
		permuted([7], [0]),
		permuted([3, 5], [0, 1], 2),
		permuted([2, 3, 5, 33], [0, 2, 1, 3]),
		permuted([2, 3, 5, 9], [2, 1, 0, 3], 1),
		permuted([2, 4099], [0, 1], 5),
		{ shape: [3, 9000], to: rowMajor([3, 9000]), from: [0, 1] },
	],
	"matrices are transposed": [
		permuted([8, 8], [1, 0]),
		permuted([31, 33], [1, 0]),
		permuted([64, 96], [1, 0], 1),
		permuted([67, 130], [1, 0], 1),
		permuted([100, 9], [1, 0]),
		permuted([3, 33, 65], [2, 0, 1]),
		permuted([2, 3, 17, 40], [0, 3, 1, 2]),
		permuted([2, 3, 2, 3, 9, 10], [2, 5, 1, 3, 4, 0]),
	],
	"strides of any kind": [
		{ shape: [5, 7], to: [7, 1], from: [0, 1] }, // rows repeated
		{ shape: [5, 70], to: [70, 1], from: [1, 0] }, // columns repeated
		{ shape: [5, 7, 9], to: [63, 9, 1], from: [0, 0, 0] },
		{ shape: [50], to: [3], from: [2] },
		{ shape: [50, 2], to: [2, 1], from: [1, 50] }, // rows too short to walk
		{ shape: [2, 50, 3], to: [150, 3, 1], from: [3, 6, 1] },
		{ shape: [4, 30, 20], to: [1, 80, 4], from: [600, 20, 1] }, // into a permuted target
		permuted([2, 3, 2, 3, 2, 3, 2, 3], [6, 7, 4, 5, 2, 3, 0, 1]), // more axes than one launch takes
		permuted([2, 2, 3, 2, 2, 2, 9, 3, 10], [2, 8, 0, 4, 1, 3, 5, 7, 6]),
	],
	"nothing": [permuted([0], [0]), permuted([3, 0, 5], [2, 1, 0])],
};

for (const [name, copies] of Object.entries(COPIES)) {
	kernelTest(`copies: ${name}`, (bench) => {
		for (const copy of copies) for (const bytes of SIZES) checkCopy(bench, copy, bytes);
	});
}

kernelTest("copies of random permutations, extents and gaps", (bench) => {
	for (let i = 0; i < 40; i++) {
		const rank = 1 + bench.random.below(7);
		const shape = Array.from({ length: rank }, () => 1 + bench.random.below(rank > 4 ? 5 : 20));
		const order = shape.map((_, axis) => axis);
		for (let axis = rank - 1; axis > 0; axis--) {
			const other = bench.random.below(axis + 1);
			[order[axis], order[other]] = [order[other], order[axis]];
		}
		checkCopy(bench, permuted(shape, order, bench.random.below(3)), SIZES[bench.random.below(4)]);
	}
});

const rows = (bench: Bench) =>
	// so many that each warp takes some
	checkCopy(
		bench,
		permuted([2, bench.device.multiprocessors * 64, 3, 9], [0, 2, 1, 3], 1),
		4,
	);
const tiles = (bench: Bench) => checkCopy(bench, permuted([2, 40, 70], [0, 2, 1], 1), 4);
const pieces = (bench: Bench) => checkCopy(bench, permuted([2, 9000], [0, 1], 1), 4);
faultsAreFound([
	{
		name: "an axis begins anew without going back",
		file: "copy.cu",
		from: "from -= extent[axis] * from_stride[axis];",
		to: "",
		check: rows,
	},
	{
		name: "a warp begins at the first row",
		file: "copy.cu",
		from: "at.seek(item / pieces);",
		to: "at.seek(0);",
		check: rows,
	},
	{
		name: "the last column is left out",
		file: "copy.cu",
		from: "c < count",
		to: "c < count - 1",
		check: rows,
	},
	{
		name: "each piece of a row is the first",
		file: "copy.cu",
		from: "source = from + at.from + first * from_column",
		to: "source = from + at.from",
		check: pieces,
	},
	{
		name: "tiles at the edge are whole",
		file: "copy.cu",
		from: "rows - first_row < EDGE ? rows - first_row : EDGE",
		to: "rows - first_row < EDGE ? rows - first_row - 1 : EDGE",
		check: tiles,
	},
	{
		name: "a tile is not turned",
		file: "copy.cu",
		from: "target[r * to_row + c] = tile[c][r]",
		to: "target[r * to_row + c] = tile[r][c]",
		check: tiles,
	},
]);
