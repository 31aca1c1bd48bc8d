// Pruned weights against NumPy's, which are exact, and refusals.

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { cast } from "../../../mod.ts";
import { pruneMagnitude } from "../../../src/outliers/compression/prune.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { decode, free, recorded, withWeights } from "./recorded.ts";

deviceTest(
	"pruneMagnitude() equals NumPy's, ties by index, in each way of choosing",
	() =>
		withWeights(async (weights) => {
			for (const sparsity of [0.5, 0.13]) {
				for (const among of ["global", "layer", "matrix", "row"] as const) {
					const { parameters, matrices } = pruneMagnitude(weights, { sparsity, among });
					const expected = recorded.pruned.filter((one) =>
						one.sparsity === sparsity && one.among === among
					);
					assertEquals(matrices.map(({ name }) => name), expected.map(({ name }) => name));
					for (const [i, { name, after, relativeError, zeros }] of expected.entries()) {
						const what = `${name}, ${sparsity} by ${among}`;
						assertEquals(await parameters.get(name)!.numbers(), [...decode(after)], what);
						assertAlmostEquals(matrices[i]!.relativeError, relativeError, 1e-6, what);
						assertAlmostEquals(matrices[i]!.zeros, zeros, 1e-9, what);
					}
					assert(parameters.get("embed.weight") === weights.get("embed.weight"));
					free(parameters, weights);
				}
			}
		}),
);

deviceTest("nothing, all, bfloat16 and parts", () =>
	withWeights(async (weights) => {
		const name = "layers.0.attn.qkv.weight", only = { selects: (one: string) => one === name };
		const before = await weights.get(name)!.numbers();
		for (const sparsity of [0, 1]) {
			const { parameters, matrices } = pruneMagnitude(weights, { ...only, sparsity });
			const expected = sparsity ? before.map(() => 0) : before;
			assertEquals(await parameters.get(name)!.numbers(), expected);
			assertEquals(matrices[0]!.relativeError, sparsity);
			free(parameters, weights);
		}
		using half = cast(weights.get(name)!, "bfloat16");
		const { parameters } = pruneMagnitude(new Map([[name, half]]));
		const values = await half.numbers(), pruned = await parameters.get(name)!.numbers();
		assertEquals(pruned.filter((x) => x === 0).length, 48);
		assert(pruned.every((x, i) => x === 0 || x === values[i]));
		for (const one of parameters.values()) one.dispose();
		const parts = { ...only, among: "matrix", parts: () => [4, 8] } as const;
		const halves = pruneMagnitude(weights, parts);
		assertEquals(halves.matrices.map(({ zeros }) => zeros), [0.5, 0.5]);
		free(halves.parameters, weights);
	}));

deviceTest("pruneMagnitude() refuses shares that are none", () =>
	withWeights((weights) => {
		for (const sparsity of [-0.1, 1.1, NaN]) {
			assertThrows(() => pruneMagnitude(weights, { sparsity }), RangeError, "it must be 0 to 1");
		}
	}));
