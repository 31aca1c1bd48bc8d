// masks.cu against the definitions of what a query sees.

import { checkAlibi, checkMask } from "../../../src/doctor/self_test/masks.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

const SIZES = [[1, 1], [2, 33], [31, 5], [65, 65], [0, 3], [3, 0]];

kernelTest("masks show each query what it sees", (bench) => {
	for (const [queries, keys] of SIZES) {
		for (const first of [0, 1, -2, keys - queries]) {
			for (const window of [0, 1, 2, 40]) {
				for (const dtype of ["uint8", "float32"] as const) {
					checkMask(bench, [queries, keys, first, window], dtype);
				}
			}
		}
	}
	checkMask(bench, [bench.device.multiprocessors * 64 + 1, 3, 0, 0], "uint8");
});

kernelTest("biases grow with the distance", (bench) => {
	for (const [queries, keys] of SIZES) {
		for (const heads of [1, 3]) {
			for (const first of [0, 7]) checkAlibi(bench, [heads, queries, keys, first]);
		}
	}
});

const mask = (bench: Bench) => {
	checkMask(bench, [7, 9, 2, 3], "float32");
};
const alibi = (bench: Bench) => {
	checkAlibi(bench, [3, 7, 9, 2]);
};
faultsAreFound([
	{
		name: "a query does not see itself",
		file: "masks.cu",
		from: "j <= last",
		to: "j < last",
		check: mask,
	},
	{
		name: "the window is one too wide",
		file: "masks.cu",
		from: "last - window + 1",
		to: "last - window",
		check: mask,
	},
	{
		name: "every head has the first's slope",
		file: "masks.cu",
		from: "row / queries",
		to: "0",
		check: alibi,
	},
	{
		name: "keys behind the query count as nearer",
		file: "masks.cu",
		from: "distance < 0 ? -distance : distance",
		to: "distance",
		check: alibi,
	},
]);
