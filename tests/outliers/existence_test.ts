// Pictures of outliers as data, against whole tensors as transformers gives them.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { type ActivationMap, mapOutliers } from "../../mod.ts";
import { deviceTest } from "../tensor/on_device.ts";
import { assertNear, lab, openRecorded, recordedLab } from "./lab.ts";

const { sequences, cases } = lab["lab/planted"]!, { maps } = recordedLab;
const given = sequences[1]!;

/** The largest |value| of each bin. */
function binned(line: number[], size: number): number[] {
	const bins: number[] = [];
	for (let first = 0; first < line.length; first += size) {
		bins.push(Math.max(...line.slice(first, first + size).map(Math.abs)));
	}
	return bins;
}

function assertLines(found: number[][], expected: number[][], what: string) {
	assertEquals(found.map(({ length }) => length), expected.map(({ length }) => length), what);
	found.forEach((line, i) => line.forEach((value, j) => assertNear(value, expected[i]![j]!, what)));
}

deviceTest("activations, weights and attention are transformers', in bins", async () => {
	using model = await openRecorded("lab/planted");
	const { tau } = cases.share!.definition;
	for (const [bins, size] of [[256, 1], [7, 5]] as const) { // 32 channels in bins of 5: 6 of 5 and one of 2
		const found = await mapOutliers(model, given, {
			definition: { tau: tau! },
			layers: [1],
			projections: ["down", "query"],
			bins,
		});
		assertEquals(found.tokens, given.map((id) => `#${id}`));
		const check = (map: ActivationMap, x: number[][]) => {
			const mean = x.flat().reduce((sum, v) => sum + Math.abs(v), 0) / x.flat().length;
			const over = (value: number) => Math.abs(value) > tau! * mean;
			assertEquals([map.layer, map.channels, map.lines.length], [1, x[0]!.length, x.length]);
			assertEquals(map.positions, [...x.keys()]);
			assertEquals(map.outlierTokens, [...x.keys()].filter((token) => x[token]!.some(over)));
			assertLines(map.lines, x.map((line) => binned(line, map.binSize)), "a line");
			const outliers = [...x[0]!.keys()].filter((feature) =>
				x.some((line) => over(line[feature]!))
			);
			assertEquals(
				map.marked.filter(({ outlier }) => outlier).map(({ feature }) => feature),
				outliers,
			);
			assert(map.marked.length >= 2);
			for (const { feature, values } of map.marked) {
				values.forEach((value, token) => assertNear(value, x[token]![feature]!, "a marked value"));
			}
		};
		assertEquals(found.hiddenState.length, 1);
		assertEquals(found.hiddenState[0]!.binSize, size);
		check(found.hiddenState[0]!, maps.hiddenState);
		check(found.downInput[0]!, maps.downInput);
		assertEquals(found.weights.map(({ projection }) => projection), ["query", "down"]);
		for (const { projection, columns, lines, binSize, shape } of found.weights) {
			const w = maps[projection as "down" | "query"];
			assertEquals([shape[0], shape[1]], [w.length, w[0]!.length]);
			assertLines(
				lines,
				columns.map(({ column }) => binned(w.map((row) => row[column]!), binSize)),
				`columns of ${projection}`,
			);
			for (const { column, ratio, row, largest } of columns) {
				const line = w.map((row) => Math.abs(row[column]!));
				const mean = line.reduce((a, b) => a + b) / line.length;
				assertNear(ratio, Math.max(...line) / mean, "a ratio");
				assertNear(largest, w[row]![column]!, "the largest weight");
			}
			assertEquals(columns.filter(({ marked }) => marked).length, 2);
		}
		assert(
			found.weights[1]!.columns.some(({ column, row, marked }) =>
				marked && column === 40 && row === 9 // where the outlier was planted
			),
		);
		assertEquals(found.attention.map(({ layer }) => layer), [2]);
		assertLines(found.attention[0]!.mean, maps.attention, "attention");
		assertEquals(JSON.parse(JSON.stringify(found)), found);
	}
});

deviceTest("all layers are shown by default, those of an expert with its tokens", async () => {
	using model = await openRecorded("families/mixtral");
	const found = await mapOutliers(model, [7, 0, 60, 13, 13]);
	assertEquals(found.hiddenState.map(({ layer }) => layer), [0, 1]);
	assertEquals(found.attention.map(({ layer }) => layer), [0, 1]);
	assertEquals(found.weights.length, 2 * 4);
	const rows = found.downInput.filter(({ layer }) => layer === 0);
	assertEquals(rows.reduce((sum, { positions }) => sum + positions.length, 0), 5 * 2); // two experts a token
	assert(
		rows.every(({ expert, positions, lines }) =>
			expert !== undefined && positions.length === lines.length
		),
	);
});

deviceTest("what cannot be shown is refused", async () => {
	using model = await openRecorded("lab/planted");
	await assertRejects(
		() => mapOutliers(model, given, { layers: [4] }),
		RangeError,
		"Cannot show layer 4: the model has 0 to 3",
	);
	await assertRejects(
		() => mapOutliers(model, given, { bins: 0 }),
		RangeError,
		"Cannot use 0 as bins",
	);
});
