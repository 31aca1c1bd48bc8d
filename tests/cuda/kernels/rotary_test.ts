// rotary.cu: the fused projection split into heads, queries and keys turned by their position's angles; and any
// rows turned, forth and back.

import { checkHeads, checkRotate } from "../../../src/doctor/self_test/rotary.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

for (const dtype of ["float32", "bfloat16"] as const) {
	for (const merge of [false, true]) {
		kernelTest(
			`heads are ${merge ? "merged, turned back," : "split and turned"} as ${dtype}`,
			(bench) => {
				for (const [batch, length] of [[1, 1], [3, 2], [2, 31]] as const) {
					for (const [heads, kvHeads] of [[1, 1], [9, 3], [4, 4]] as const) {
						for (const [d, pairs] of [[2, 1], [7, 2], [64, 32], [66, 0]] as const) {
							const kind = { dtype, merge };
							checkHeads(bench, [batch, length, heads, kvHeads, d, pairs], kind);
						}
					}
				}
			},
		);
	}
}

for (const dtype of ["float32", "bfloat16"] as const) {
	for (const adjacent of [false, true]) {
		kernelTest(
			`${adjacent ? "adjacent features" : "halves"} turn as ${dtype}`,
			(bench) => {
				for (const direction of [1, -1]) {
					for (const [batch, tokens, heads] of [[1, 1, 1], [2, 3, 1], [2, 31, 5]]) {
						for (const [d, pairs] of [[2, 1], [5, 2], [7, 0], [66, 33], [64, 16]]) {
							const kind = { dtype, adjacent, direction };
							checkRotate(bench, [batch, tokens, heads, d, pairs], kind);
						}
					}
				}
				const kind = { dtype, adjacent, direction: 1 };
				checkRotate(bench, [0, 3, 2, 8, 4], kind);
				checkRotate(bench, [1, bench.device.multiprocessors * 64 + 1, 1, 6, 3], kind);
			},
		);
	}
}

const turned = (adjacent: boolean) => (bench: Bench) => {
	const kind = { dtype: "float32", adjacent, direction: -1 } as const;
	checkRotate(bench, [2, 5, 3, 9, 4], kind);
};
const heads = (merge: boolean) => (bench: Bench) => {
	checkHeads(bench, [2, 3, 4, 2, 9, 4], { dtype: "float32", merge });
};
faultsAreFound([
	{
		name: "values are turned as keys are",
		file: "rotary.cu",
		from: "c, s, d, 0);",
		to: "c, s, d, pairs);",
		check: heads(false),
	},
	{
		name: "the angle turns the other way",
		file: "rotary.cu",
		from: "MERGE ? -s[i] : s[i]",
		to: "MERGE ? s[i] : -s[i]",
		check: heads(false),
	},
	{
		name: "gradients turn on instead of back",
		file: "rotary.cu",
		from: "MERGE ? -s[i] : s[i]",
		to: "s[i]",
		check: heads(true),
	},
	{
		name: "positions go on into the next sequence",
		file: "rotary.cu",
		from: "cosine + static_cast<long long>(position) * pairs",
		to: "cosine + static_cast<long long>(token) * pairs",
		check: heads(false),
	},
	{
		name: "a head's last feature, which has no pair, is left out",
		file: "rotary.cu",
		from: "from + 2 * pairs, d - 2 * pairs)",
		to: "from + 2 * pairs, d - 2 * pairs - 1)",
		check: heads(true),
	},
	{
		name: "heads count as tokens",
		file: "rotary.cu",
		from: "row / heads % tokens",
		to: "row % tokens",
		check: turned(false),
	},
	{
		name: "adjacent features turn always forth",
		file: "rotary.cu",
		from: "direction * s[i]",
		to: "s[i]",
		check: turned(true),
	},
	{
		name: "features without a pair are left out",
		file: "rotary.cu",
		from: "i < d; i += WARP) to[i] = from[i];\n  }\n}",
		to: "i < d - 1; i += WARP) to[i] = from[i];\n  }\n}",
		check: turned(false),
	},
]);
