// Weights in few bits against NumPy's, parts of fused matrices, and refusals.

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../../mod.ts";
import { type AbsmaxOptions, absmaxW8 } from "../../../src/outliers/compression/absmax.ts";
import { assertClose, device, deviceTest } from "../../tensor/on_device.ts";
import { decode, free, recorded, withWeights } from "./recorded.ts";

const asOption = (granularity: string) =>
	(granularity === "group" ? { group: 4 } : granularity) as NonNullable<
		AbsmaxOptions["granularity"]
	>;

deviceTest(
	"absmaxW8() equals NumPy's values and reports, for 8 to 4 bits",
	() =>
		withWeights(async (weights) => {
			for (const bits of [8, 7, 6, 5, 4]) {
				for (const granularity of ["tensor", "row", "column", "group"]) {
					const options = { bits, granularity: asOption(granularity) };
					const { parameters, matrices } = absmaxW8(weights, options);
					const expected = recorded.rounded.filter((one) =>
						one.bits === bits && one.granularity === granularity
					);
					assertEquals(matrices.map(({ name }) => name), expected.map(({ name }) => name));
					for (const [i, { name, after, ...report }] of expected.entries()) {
						const what = `${name} in ${bits} bits by ${granularity}`;
						assertClose(await parameters.get(name)!.numbers(), decode(after), 1e-6, what);
						for (const field of ["scale", "maxOverMean", "relativeError", "zeros"] as const) {
							assertAlmostEquals(
								matrices[i]![field],
								report[field],
								1e-5 * report[field] + 1e-7,
								what,
							);
						}
					}
					for (const name of ["embed.weight", "layers.0.attn.norm.weight"]) {
						assert(parameters.get(name) === weights.get(name), `${name} was changed`);
					}
					free(parameters, weights);
				}
			}
		}),
);

deviceTest("ties are rounded to even, and zeros stay", async () => {
	// Steps of 1, as the largest is 7.
	const data = [7, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -3.4, 0];
	using matrix = Tensor.from<"float32", 2>(device, "float32", [1, 9], data);
	using zeros = Tensor.zeros<"float32", 2>(device, "float32", [3, 4]);
	const weights = new Map([["layers.0.a", matrix], ["layers.0.b", zeros]]);
	const { parameters, matrices } = absmaxW8(weights, { bits: 4 });
	const rounded = await parameters.get("layers.0.a")!.numbers();
	assertEquals(rounded.map((x) => x + 0), [7, 0, 2, 2, 0, -2, -2, -3, 0]);
	assertEquals(await parameters.get("layers.0.b")!.numbers(), Array(12).fill(0));
	const { scale, relativeError, maxOverMean } = matrices[1]!;
	assertEquals([scale, relativeError, maxOverMean, matrices[1]!.zeros], [0, 0, 0, 1]);
	free(parameters, weights);
});

deviceTest(
	"parts of a fused matrix have scales of their own",
	() =>
		withWeights(async (weights) => {
			const name = "layers.0.attn.qkv.weight", whole = await weights.get(name)!.numbers();
			const selects = (one: string) => one === name;
			const { parameters, matrices } = absmaxW8(weights, { selects, parts: () => [4, 6, 2] });
			assertEquals(matrices.map(({ firstRow, rows }) => [firstRow, rows]), [[0, 4], [4, 6], [
				10,
				2,
			]]);
			const rounded = await parameters.get(name)!.numbers();
			for (const { firstRow, rows, columns, scale } of matrices) {
				const part = whole.slice(firstRow * columns, (firstRow + rows) * columns);
				assertAlmostEquals(scale, Math.max(...part.map(Math.abs)) / 127, 1e-8);
				part.forEach((w, i) => {
					const value = rounded[firstRow * columns + i]!;
					assert(Math.abs(value - w) <= scale * 0.5001);
					assertAlmostEquals(value / scale, Math.round(value / scale), 1e-3);
				});
			}
			free(parameters, weights);
		}),
);

deviceTest("absmaxW8() refuses what makes no sense", () =>
	withWeights((weights) => {
		assertThrows(
			() => absmaxW8(weights, { bits: 1 }),
			RangeError,
			"1 bits: it must be from 2 to 16",
		);
		assertThrows(
			() => absmaxW8(weights, { granularity: { group: 3 } }),
			RangeError,
			"layers.0.attn.qkv.weight of 8 columns in groups of 3",
		);
		assertThrows(() => absmaxW8(weights, { selects: () => true }), RangeError, "it is no matrix");
		assertThrows(
			() => absmaxW8(weights, { parts: () => [5, 5] }),
			RangeError,
			"parts of 5 + 5 rows",
		);
	}));
