// A model and a disturbed copy of it, against NumPy: which outliers both have, and how large they are in each.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { compareModels, type FeaturePlace, type SetComparison } from "../../mod.ts";
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { deviceTest } from "../tensor/on_device.ts";
import { assertNear, lab, openRecorded, recordedLab } from "./lab.ts";

const { sequences, cases } = lab["lab/planted"]!;
const [base, tuned] = recordedLab.comparison;

/** Compares sets, the elements written as text. */
function assertSets<T>(
	found: SetComparison<T>,
	id: (element: T) => string,
	first: readonly string[],
	second: readonly string[],
) {
	const a = new Set(first), b = new Set(second);
	assertEquals(new Set(found.shared.map(id)), a.intersection(b));
	assertEquals(new Set(found.onlyFirst.map(id)), a.difference(b));
	assertEquals(new Set(found.onlySecond.map(id)), b.difference(a));
	assertEquals(found.jaccard, a.union(b).size ? a.intersection(b).size / a.union(b).size : null);
}

deviceTest("what two models share is what NumPy finds in both", async () => {
	using first = await openRecorded("lab/planted");
	using second = await openRecorded("lab/tuned");
	const { definition } = cases.share!, top = 9;
	const found = await compareModels(first, second, sequences, { definition, top });
	assertEquals([found.models, found.sequences], [["planted", "tuned"], sequences.length]);
	for (const place of ["hiddenState", "downInput"] as const) {
		const { layers, features, tokens, largest, featureMaxima } = found[place];
		const [a, b] = [base[place], tuned[place]];
		assertSets(layers, String, a.layers.map(String), b.layers.map(String));
		const featureId = ({ layer, feature }: FeaturePlace) => `${layer},${feature}`;
		assertSets(features, featureId, a.features.map(String), b.features.map(String));
		const tokenId = (at: { sequence: number; token: number }) => `${at.sequence},${at.token}`;
		assertSets(tokens!, tokenId, a.tokens.map(String), b.tokens.map(String));
		assertEquals(largest.map(({ layer }) => layer), [0, 1, 2, 3]);
		for (const { layer, first, second, ratio } of largest) {
			assertNear(first, a.largest[layer]!, "the largest of the first");
			assertNear(second, b.largest[layer]!, "the largest of the second");
			assertEquals(ratio, second / first);
		}
		const listed = new Set(featureMaxima.map(featureId));
		for (const each of [...a.features, ...b.features]) assert(listed.has(String(each)));
		for (const { layer, feature, first, second } of featureMaxima) {
			assertNear(first, a.maxima[layer]![feature]!, `feature ${feature} of layer ${layer}`);
			assertNear(second, b.maxima[layer]![feature]!, `feature ${feature} of layer ${layer}`);
		}
	}
	const { columns, ratios, matrices } = found.weights;
	const ranked = ({ matrices }: typeof base) =>
		matrices.flatMap(({ layer, projection, columns }) =>
			columns.map((ratio, column) => ({ id: `${layer} ${projection} ${column}`, ratio }))
		).sort((x, y) => y.ratio - x.ratio).slice(0, top).map(({ id }) => id);
	const columnId = (at: { layer: number; projection: string; column: number }) =>
		`${at.layer} ${at.projection} ${at.column}`;
	assertSets(columns, columnId, ranked(base), ranked(tuned));
	assert(columns.onlySecond.some((each) => columnId(each) === "2 down 11")); // planted in the copy alone
	const ratiosOf = ({ matrices }: typeof base, layer: number, projection: string) =>
		matrices.find((each) => each.layer === layer && each.projection === projection)!;
	for (const { layer, projection, column, first, second } of ratios) {
		assertNear(first, ratiosOf(base, layer, projection).columns[column]!, "a column's ratio");
		assertNear(second, ratiosOf(tuned, layer, projection).columns[column]!, "a column's ratio");
	}
	assertEquals(matrices.length, 4 * 7);
	for (const { layer, projection, first, second } of matrices) {
		assertNear(first, ratiosOf(base, layer, projection).ratio, "a matrix's ratio");
		assertNear(second, ratiosOf(tuned, layer, projection).ratio, "a matrix's ratio");
	}
	assertSets(
		found.attention.keys,
		({ sequence, token }) => `${sequence},${token}`,
		base.keys.map(String),
		tuned.keys.map(String),
	);
	for (const { layer, first, second } of found.attention.largest) {
		assertNear(first, base.attention[layer]!, "the largest attention");
		assertNear(second, tuned.attention[layer]!, "the largest attention");
	}
	assertEquals(JSON.parse(JSON.stringify(found)), found);
});

deviceTest(
	"a model shares everything with itself, and nothing found is nothing shared",
	async () => {
		using model = await openRecorded("lab/planted");
		const { definition } = cases.share!;
		const same = await compareModels(model, model, sequences.slice(0, 2), { definition });
		for (const { layers, features, tokens, largest } of [same.hiddenState, same.downInput]) {
			for (const { jaccard, onlyFirst, onlySecond } of [layers, features, tokens!]) {
				assertEquals<unknown>([jaccard, onlyFirst, onlySecond], [1, [], []]);
			}
			assert(largest.every(({ ratio }) => ratio === 1));
		}
		assertEquals(same.weights.columns.shared.length, 20);
		const none = await compareModels(model, model, sequences.slice(0, 2));
		assertEquals(none.hiddenState.layers, {
			shared: [],
			onlyFirst: [],
			onlySecond: [],
			jaccard: null,
		});
	},
);

deviceTest("experts are compared one by one", async () => {
	using model = await openRecorded("families/mixtral");
	const found = await compareModels(model, model, [[7, 0, 60, 13]], { definition: { tau: 2 } });
	assertEquals(found.downInput.features.jaccard, 1);
	assert(found.downInput.features.shared.every(({ expert }) => expert !== undefined));
	assert(found.weights.ratios.every(({ ratio }) => ratio === 1));
});

deviceTest("models of other sizes are not compared", async () => {
	using first = await openRecorded("lab/planted");
	await withModel(randomContents(), async (second) => {
		await assertRejects(
			() => compareModels(first, second, sequences),
			RangeError,
			"Cannot compare planted with tiny: their layers are 4 and 2",
		);
	});
});
