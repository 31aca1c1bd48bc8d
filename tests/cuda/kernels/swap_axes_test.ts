// swap_axes.cu: rows to their exchanged places, rounded where the type asks for it.

import { checkSwap, PAIRS } from "../../../src/doctor/self_test/swap_axes.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("each row goes to its exchanged place, between all types", (bench) => {
	for (const types of PAIRS) {
		for (
			const shape of [[1, 1, 1, 1], [1, 3, 5, 64], [2, 1, 7, 33], [3, 31, 2, 65], [2, 5, 9, 127]]
		) {
			checkSwap(bench, shape, types);
		}
		checkSwap(bench, [1, bench.device.multiprocessors * 64 + 1, 3, 2], types);
	}
});

const small = (bench: Bench) => checkSwap(bench, [2, 3, 5, 33], ["float32", "float32"]);
faultsAreFound([
	{
		name: "the axes keep their places",
		file: "swap_axes.cu",
		from: "(static_cast<long long>(matrix) * c + second) * b + first",
		to: "static_cast<long long>(row)",
		check: small,
	},
	{
		name: "the last column is left out",
		file: "swap_axes.cu",
		from: "i < count",
		to: "i < count - 1",
		check: (bench) => checkSwap(bench, [2, 3, 5, 33], ["float32", "bfloat16"]),
	},
]);
