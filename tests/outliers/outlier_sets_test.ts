// Sets of outliers along the axes of tensors, against plain loops in float64 on random tensors with planted values.

import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { definitionOf, Tensor } from "../../mod.ts";
import {
	activationSets,
	cumulativeAttention,
	judgeLength,
	outlierKeys,
	queriesOf,
	uniformShare,
	uniformVisibleShare,
	weightSets,
} from "../../src/outliers/outlier_sets.ts";
import { device, deviceTest, normal } from "../tensor/on_device.ts";

const context = { name: "layers.4.output", layer: 4, sequence: 2 };

async function read<T>(queue: () => { read(): T }): Promise<T> {
	const pending = queue();
	await device.synchronize();
	return pending.read();
}

const matrix = (rows: number, columns: number, data: ArrayLike<number>) =>
	Tensor.from<"float32", 2>(device, "float32", [rows, columns], data);

const unique = (values: number[]) => [...new Set(values)].sort((a, b) => a - b);

deviceTest(
	"tokens and features of activations are those of the entries over the limit",
	async () => {
		const [T, C] = [19, 37], data = normal(T * C);
		for (const [token, feature, value] of [[0, 5, 90], [7, 5, -70], [7, 30, 60]]) {
			data[token * C + feature] = value;
		}
		using x = matrix(T, C, data);
		const mean = data.reduce((sum, v) => sum + Math.abs(v), 0) / data.length;
		const sorted = Array.from(data, Math.abs).sort((a, b) => a - b);
		for (const tau of [2, 20, 45, 1000]) {
			const found = await read(() => activationSets(x, definitionOf({ tau }), context));
			const over = [...data.keys()].filter((i) => Math.abs(data[i]) > tau * mean);
			assertEquals(found.tokens, unique(over.map((i) => Math.floor(i / C))));
			assertEquals(found.features, unique(over.map((i) => i % C)));
			assertEquals(found.median, sorted[(sorted.length - 1) >> 1]);
			assertEquals(found.largest.length, 10);
			assertEquals(found.largest[1], { value: -70, token: 7, feature: 5 });
			assertEquals([found.featureMaxima[30], found.featureTokens[30]], [60, 7]);
		}
		const massive = definitionOf({ activationRule: "massive", tau: 10 });
		assertEquals((await read(() => activationSets(x, massive, context))).tokens, []);
		data[0] = 101;
		using y = matrix(T, C, data);
		assertEquals((await read(() => activationSets(y, massive, context))).tokens, [0]);
		const above = { ...massive, tau: 101 / sorted[(sorted.length - 1) >> 1] * 1.1 };
		assertEquals((await read(() => activationSets(y, above, context))).tokens, []);
	},
);

deviceTest("rows of an expert are named by the positions of their tokens", async () => {
	using x = matrix(2, 3, [1, 1, 1, 1, 9, 1]);
	const found = await read(() =>
		activationSets(x, definitionOf({ tau: 3 }), { ...context, positions: [3, 8] })
	);
	assertEquals([found.tokens, found.features, found.featureTokens[1]], [[8], [1], 8]);
	assertEquals(found.largest[0], { value: 9, token: 8, feature: 1 });
});

deviceTest("what equals the limit is no outlier, and NaN is told where it is", async () => {
	using x = matrix(1, 4, [0, 0, 4, 0]); // the mean is 1
	const at = (tau: number) => read(() => activationSets(x, definitionOf({ tau }), context));
	assertEquals([(await at(4)).tokens, (await at(3.999)).tokens], [[], [0]]);
	using broken = matrix(1, 4, [0, 0, NaN, 0]);
	const pending = activationSets(broken, definitionOf(), context);
	await device.synchronize();
	assertThrows(() => pending.read(), Error, "layers.4.output of sequence 2: it holds NaN (row 0, ");
});

deviceTest(
	"rows and columns of weights are those of the entries over the limit, by any axis",
	async () => {
		const [O, I] = [23, 41], data = normal(O * I);
		for (const [row, column, value] of [[3, 8, 30], [3, 9, 25], [20, 8, -28]]) {
			data[row * I + column] = value;
		}
		data.fill(0, 5 * I, 6 * I); // a row of zeros has no outlier
		using w = matrix(O, I, data);
		const means = (count: number, of: (i: number) => number) => {
			const sums = new Float64Array(count), counts = new Float64Array(count);
			data.forEach((v, i) => (sums[of(i)] += Math.abs(v), counts[of(i)]++));
			return sums.map((sum, i) => sum / counts[i]);
		};
		const row = (i: number) => Math.floor(i / I), column = (i: number) => i % I;
		const byRow = means(O, row), byColumn = means(I, column);
		const tests = {
			row: (i: number, tau: number) => Math.abs(data[i]) > tau * byRow[row(i)],
			column: (i: number, tau: number) => Math.abs(data[i]) > tau * byColumn[column(i)],
			either: (i: number, tau: number): boolean => tests.row(i, tau) || tests.column(i, tau),
		};
		for (const weightAxis of ["row", "column", "either"] as const) {
			for (const weightTau of [2, 5, 9, 13, 1000]) {
				const definition = definitionOf({ weightAxis, weightTau });
				const found = await read(() => weightSets(w, definition, context));
				const over = [...data.keys()].filter((i) => tests[weightAxis](i, weightTau));
				assertEquals(found.rows, unique(over.map(row)), `${weightAxis} ${weightTau}`);
				assertEquals(found.columns, unique(over.map(column)), `${weightAxis} ${weightTau}`);
			}
		}
		const top = definitionOf({ weightAxis: "column", weightTop: 2 });
		assertEquals(await read(() => weightSets(w, top, context)), { rows: [3], columns: [8, 9] });
	},
);

deviceTest("a weight that is no number is told where it is", async () => {
	using w = matrix(2, 2, [1, 1, 1, Infinity]);
	const pending = weightSets(w, definitionOf(), context);
	await device.synchronize();
	assertThrows(() => pending.read(), Error, "Cannot analyze layers.4.output: row 1 holds");
});

Deno.test("keys are outliers by share, by τ, or by the share of the queries that see them", () => {
	const causal = { causal: true }, encoder = { causal: false };
	const head = Float64Array.of(4, 0.5, 0.5, 0.25, 1.75); // sums to 7
	const keys = (change: Parameters<typeof definitionOf>[0], sight = causal) =>
		outlierKeys(head, definitionOf(change), sight);
	assertEquals(keys({ attentionShare: 4 / 7 }), [0]);
	assertEquals(keys({ attentionShare: 0.25 }), [0, 4]);
	assertEquals(keys({ attentionRule: "tau", tau: 1.25 }), [0]); // 1.75 = 1.25 · 1.4 does not exceed it
	assertEquals(keys({ attentionRule: "tau" }), []);
	const visible = { attentionRule: "visible share", visibleShare: 0.8 } as const;
	assertEquals(keys(visible), [0, 4]);
	assertEquals(keys(visible, encoder), [0]);
	assertEquals([queriesOf(1, 5, causal), queriesOf(1, 5, { causal: true, window: 3 })], [4, 3]);
});

Deno.test("a sequence tells nothing if no key can be an outlier, or even attention has one", () => {
	const causal = { causal: true }, window = { causal: true, window: 2 };
	const judge = (tokens: number, change: object, sight = causal) =>
		judgeLength(tokens, definitionOf(change), sight);
	assertAlmostEquals(uniformShare(4, causal), 25 / 48, 1e-15);
	assertEquals(uniformShare(4, { causal: false }), 1 / 4);
	assertEquals([uniformShare(4, window), uniformVisibleShare(4, window)], [3 / 8, 3 / 4]);
	assertEquals(uniformVisibleShare(4, causal), uniformShare(4, causal));
	assertEquals([judge(43, {}), judge(44, {})], ["indistinct", "telling"]);
	assertEquals(judge(10, {}, { causal: false }), "indistinct"); // each key has the share of 0.1
	assertEquals(judge(11, {}, { causal: false }), "telling");
	const visible = { attentionRule: "visible share", visibleShare: 0.7 };
	assertEquals([judge(4, visible), judge(4, visible, window)], ["telling", "indistinct"]);
	const tau = { attentionRule: "tau", tau: 6 };
	assertEquals([judge(6, tau), judge(7, tau)], ["unreachable", "telling"]);
});

Deno.test("cumulative attention is averaged over heads, and NaN is told where it is", () => {
	const { heads, mean } = cumulativeAttention(Float32Array.of(2, 0, 1, 1), 2, context);
	assertEquals([heads[1], mean], [Float64Array.of(1, 1), Float64Array.of(1.5, 0.5)]);
	assertThrows(
		() => cumulativeAttention(Float32Array.of(2, 0, 1, NaN), 2, context),
		Error,
		"Cannot analyze layers.4.output of sequence 2: it holds NaN (head 1, key 1)",
	);
});
