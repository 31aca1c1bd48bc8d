// Models to compare with: their parameters are what they are said to be, the model itself stays as it was, and what
// chance gives is counted right.

import {
	assert,
	assertAlmostEquals,
	assertEquals,
	assertNotEquals,
	assertRejects,
	assertThrows,
} from "@std/assert";
import {
	compareWithNulls,
	contextScaling,
	defineDetector,
	detectors,
	detectOutliers,
	gpt2,
	headline,
	loadModel,
	meanRatio,
	type NullKind,
	nullModel,
	type Probe,
	runDetectors,
	runWithNulls,
	type Tensor,
	type Transformer,
} from "../../mod.ts";
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

const KINDS: NullKind[] = ["untrained", "shuffled", "matched"];
const families = new URL("../fixtures/families", import.meta.url).pathname;

/** All matrices of the layers, embeddings of some tokens and the last hidden state. */
async function contentsOf(model: Transformer, ids: number[], dtype?: "bfloat16") {
	const taken = new Map<string, Float32Array>();
	const probe: Probe = {
		taps: [
			"embed",
			"layers.*.output",
			...["query", "key", "value", "output"].map((name) => `layers.*.attn.${name}.weight`),
			"layers.*.mlp.up.weight",
			"layers.*.mlp.gate.weight",
			"layers.*.mlp.down.weight",
		],
		receive: (tensor, { name }) => void taken.set(name, tensor.dataSync()),
	};
	const options = { probes: [probe], ...dtype && { dtype } };
	for (const hidden of await model.forward([ids], options)) hidden.dispose();
	return taken;
}

const moments = (values: Float32Array) => {
	const mean = values.reduce((a, b) => a + b, 0) / values.length;
	return [mean, Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length)];
};

deviceTest("parameters of null models are what they are said to be", async () => {
	const contents = randomContents({ layers: 3, width: 64, hidden: 80 }, (name, data) => {
		if (name === "blk.1.ffn_down.weight") data[77] = 50;
	});
	await withModel(contents, async (model) => {
		const ids = [5, 9, 5, 200], before = device.liveBytes;
		const own = await contentsOf(model, ids);
		for (const kind of KINDS) {
			const found: Map<string, Float32Array>[] = [];
			for (const seed of [1, 1, 2]) {
				using other = nullModel(model, kind, seed);
				assertEquals(other.name, `tiny (${kind}, seed ${seed})`);
				found.push(await contentsOf(other, ids));
				assertEquals(await contentsOf(other, ids), found.at(-1), "a second pass is another model");
			}
			const [first, again, another] = found as [typeof own, typeof own, typeof own];
			assertEquals(first, again);
			for (const [name, values] of first) {
				if (name.endsWith("output")) continue;
				const original = own.get(name)!;
				assertNotEquals(values, original, name);
				assertNotEquals(values, another.get(name), name);
				if (name === "embed") {
					const row = (of: Float32Array, i: number) => of.slice(i * 64, (i + 1) * 64);
					assertEquals(row(values, 0), row(values, 2)); // the same token
					assertNotEquals(row(values, 0), row(values, 1));
					if (kind !== "shuffled") continue;
					assertEquals(row(values, 3).toSorted(), row(original, 3).toSorted());
				} else if (kind === "shuffled") {
					if (!/query|key|value|gate|up/.test(name)) { // parts of fused parameters, which are one
						assertEquals(values.toSorted(), original.toSorted(), name);
					}
				} else {
					const fused = /query|key|value|gate|up/.test(name);
					const expected = kind === "matched"
						? moments(original)
						: [0, /down|attn.output/.test(name) ? 0.02 / Math.sqrt(6) : 0.02];
					const [mean, deviation] = moments(values), n = values.length;
					assertAlmostEquals(mean!, expected[0]!, 5 * deviation! / Math.sqrt(n), name);
					const slack = (fused && kind === "matched" ? 0.1 : 0) + 5 / Math.sqrt(2 * n);
					assertAlmostEquals(deviation! / expected[1]!, 1, slack, name);
					// Heavy tails are lost: 50 stood out by two orders.
					if (name.includes("down")) assert(Math.max(...values) < 6 * expected[1]!);
				}
			}
			// What differs between layers does: no two parameters are the same.
			assertNotEquals(first.get("layers.0.mlp.down.weight"), first.get("layers.2.mlp.down.weight"));
		}
		assertEquals(await contentsOf(model, ids), own);
		await device.synchronize();
		assertEquals(device.liveBytes, before);
	});
});

deviceTest("shuffling keeps fused parameters together as one", async () => {
	await withModel(randomContents(), async (model) => {
		using other = nullModel(model, "shuffled", 3);
		const [own, mixed] = [await contentsOf(model, [1]), await contentsOf(other, [1])];
		const all = (of: Map<string, Float32Array>, names: string[]) =>
			names.flatMap((name) => [...of.get(`layers.1.${name}.weight`)!]).sort((a, b) => a - b);
		for (const names of [["attn.query", "attn.key", "attn.value"], ["mlp.gate", "mlp.up"]]) {
			assertEquals(all(mixed, names), all(own, names));
		}
	});
});

deviceTest("a model in memory, streamed, in bfloat16: the same null models", async () => {
	const path = `${families}/gpt2`, ids = [3, 1, 4, 1, 5];
	using streamed = await loadModel(path);
	using resident = await loadModel(path, { resident: "float32" });
	for (const kind of KINDS) {
		using a = nullModel(streamed, kind, 5);
		using b = nullModel(resident, kind, 5);
		const exact = await contentsOf(a, ids);
		assertEquals(await contentsOf(b, ids), exact);
		const rounded = (await contentsOf(a, ids, "bfloat16")).get("layers.0.output")!;
		const same = exact.get("layers.0.output")!;
		assertNotEquals(rounded, same);
		const size = Math.max(...same.map(Math.abs));
		rounded.forEach((value, i) => assertAlmostEquals(value, same[i]!, 0.05 * size));
	}
});

deviceTest("every family has null models, which every detector measures", async () => {
	for (const { name, isDirectory } of Deno.readDirSync(families)) {
		if (!isDirectory) continue;
		using model = await loadModel(`${families}/${name}`);
		const ids = Array.from({ length: 12 }, (_, i) => (i * i + 5) % model.config.vocabularySize);
		for (const kind of KINDS) {
			const before = device.liveBytes;
			{
				using other = nullModel(model, kind, 1);
				const all = Object.values(detectors).map((make) => make());
				for (const { statistic, detector } of await runDetectors(other, [ids], all)) {
					assert(Number.isFinite(statistic.value), `${name}, ${kind}: ${detector}`);
				}
			}
			await device.synchronize();
			assertEquals(device.liveBytes, before);
		}
	}
});

deviceTest(
	"a trained variant's own parameters are in its null models; whole analyses run",
	async () => {
		const attention = contextScaling();
		using model = await gpt2({
			...{ layers: 2, hiddenSize: 16, heads: 4, vocabularySize: 61, contextLength: 32, attention },
		});
		const texts = [{ source: "tokens", tokenIds: [1, 2, 3, 4, 5, 6, 7, 8] }];
		const { model: own, nulls } = await runWithNulls(
			model,
			(each) => headline(each, { texts, length: 8, sequences: 1 }),
			{ seeds: [7], kinds: ["matched", "untrained"] },
		);
		assertEquals(nulls.map(({ kind, seed }) => [kind, seed]), [["matched", 7], ["untrained", 7]]);
		for (const { result } of nulls) {
			assertNotEquals(result.activationPeak!.value, own.activationPeak!.value);
			assert(result.sinkRate.gateWeighted !== null);
		}
		using other = nullModel(model, "untrained", 7);
		const { hiddenState } = await detectOutliers(other, { texts, length: 8 });
		assertEquals(hiddenState.layers.length, 2);
	},
);

deviceTest("what chance gives is counted as it says", async () => {
	await withModel(randomContents(), async (model) => {
		const ids = [[4, 8, 15, 16, 23, 42]], seeds = [1, 2, 3, 4];
		const least = defineDetector({
			name: "least",
			definition: "a statistic that is extreme when it is small",
			source: "this test",
			flags: false,
			statistic: { name: "first feature", of: "smallest" },
			watch: (_model, taken) => ({
				taps: ["layers.1.output"],
				receive(x, _context, site) {
					const value = x.dataSync()[0]!;
					taken.numbers.first = value;
					return () => taken.measure({ ...site, value });
				},
			}),
		});
		const found = await compareWithNulls(model, ids, [meanRatio({ tau: 5 }), least], { seeds });
		assertEquals(found.seeds, seeds);
		assertEquals(Object.keys(found.definitions), KINDS);
		const [ratio, small] = found.criteria as [typeof found.criteria[0], typeof found.criteria[0]];
		for (const [i, kind] of KINDS.entries()) {
			for (const { detection, chance } of [ratio, small]) {
				const { values, p } = chance[i]!, own = detection.statistic.value!;
				const extreme = values.filter((value) =>
					detection.statistic.of === "smallest" ? value! <= own : value! >= own
				);
				assertEquals(p, (1 + extreme.length) / 5);
				assertEquals([chance[i]!.kind, values.length], [kind, 4]);
			}
			using first = nullModel(model, kind, 1);
			const [alone] = await runDetectors(first, ids, [meanRatio({ tau: 5 })]);
			assertEquals(ratio.chance[i]!.values[0], alone!.statistic.value);
			const flagged = ratio.chance[i]!.values.filter((value) => value! > 5).length;
			assertEquals([ratio.chance[i]!.found, small.chance[i]!.found], [flagged, null]);
			assertEquals(small.chance[i]!.numbers.map(({ first }) => first), small.chance[i]!.values);
		}
		assertEquals(JSON.parse(JSON.stringify(found)), found);
		// One token has no value ratio: nothing to compare.
		const [none] = (await compareWithNulls(model, [[1]], [detectors["value-drain"]!()], {
			seeds: [1],
			kinds: ["matched"],
		})).criteria;
		assertEquals(none!.chance, [{
			kind: "matched",
			values: [null],
			found: null,
			numbers: [{}],
			p: null,
		}]);
	});
});

deviceTest("a probe that throws leaves no memory behind, and kinds are checked", async () => {
	await withModel(randomContents(), async (model) => {
		assertThrows(
			() => nullModel(model, "random" as NullKind, 1),
			RangeError,
			'Cannot make the null model "random": there are untrained, shuffled, matched',
		);
		using other = nullModel(model, "matched", 1);
		const before = device.liveBytes;
		const taps = ["layers.1.mlp.down.weight"];
		const receive = (_: Tensor) => {
			throw new Error("enough");
		};
		const probes = [{ taps, receive }];
		await assertRejects(() => other.forward([[1, 2]], { probes }), Error, "enough");
		await device.synchronize();
		assertEquals(device.liveBytes, before);
	});
});
