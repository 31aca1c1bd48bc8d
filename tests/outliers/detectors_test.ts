// Every detector against NumPy (tests/fixtures/detectors.json) on a small model with a planted outlier, and on what is
// odd: one token, ties, zeros, NaN, none found.

import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
	attentionShare,
	defineDetector,
	type Detection,
	type Detector,
	detectorNamed,
	detectors,
	entryDetector,
	kurtosis,
	loadModel,
	massiveActivations,
	maxInfNorm,
	maxMedian,
	meanRatio,
	medianDeviation,
	outlierFeatures,
	quantileRatio,
	rowRatio,
	runDetectors,
	sinkRate,
	superWeights,
	Tensor,
	type Transformer,
	valueDrain,
} from "../../mod.ts";
import { evenImportance, visibleTo } from "../../src/outliers/measures.ts";
import { randomContents, recorded, recordedContents, withModel } from "../nn/tiny_llama.ts";
import { device, deviceTest, normal } from "../tensor/on_device.ts";

interface Criterion {
	count: number;
	measurements: number[];
	numbers?: Record<string, number>;
	features?: Record<string, { layerShare: number; positionShare: number }>;
	found?: {
		layer: number;
		sequence: number;
		token: number;
		row: number;
		column: number;
		value: number;
		ratio: number;
		share: number;
	}[];
}

const record: {
	sequences: number[][];
	planted: { layer: number; feature: number; factor: number; row: number; weight: number };
	criteria: Record<string, Criterion>;
} = JSON.parse(Deno.readTextFileSync(new URL("../fixtures/detectors.json", import.meta.url)));

/** The recorded model with the record's outlier. */
export function plantedContents() {
	const { layer, feature, factor, row, weight } = record.planted;
	const contents = recordedContents(recorded.variants.find(({ name }) => name === "default")!);
	for (const { name, shape, data } of contents.tensors) {
		const values = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
		const columns = shape.at(-1)!;
		if (new RegExp(`^blk.${layer}.ffn_(gate|up)`).test(name)) {
			for (let c = 0; c < columns; c++) values[feature * columns + c]! *= factor;
		} else if (name === `blk.${layer}.ffn_down.weight`) values[row * columns + feature] = weight;
	}
	return contents;
}

/** Runs detectors; memory is given back, and the result is plain. */
async function detect(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	all: readonly Detector[],
): Promise<Detection[]> {
	const before = device.liveBytes;
	const found = await runDetectors(model, sequences, all);
	await device.synchronize();
	assertEquals(device.liveBytes, before);
	assertEquals(JSON.parse(JSON.stringify(found)), found);
	return found;
}

const near = (actual: number, expected: number, what: string) =>
	assertAlmostEquals(actual, expected, 2e-4 * Math.max(1, Math.abs(expected)), what);

const asRecorded: Record<string, Detector> = {
	"mean-ratio": meanRatio({ tau: 8 }),
	"mean-ratio-down": meanRatio({ tau: 12, tap: "layers.*.mlp.down.input" }),
	"massive-activations": massiveActivations({ absolute: 20, ratio: 15 }),
	"quantile": quantileRatio({ quantile: 0.9, factor: 3 }),
	"mad": medianDeviation(),
	"row-ratio": rowRatio({ tau: 6 }),
	"attention-share": attentionShare({ share: 0.3 }),
	"sink-rate": sinkRate({ epsilon: 0.2, position: 1 }),
	"sink-rate 13": sinkRate({ epsilon: 0.2, position: 1, tokens: 13 }),
	"value-drain": valueDrain({ below: 0.8 }),
	"kurtosis-qualcomm": kurtosis("qualcomm"),
	"kurtosis-osp": kurtosis("osp"),
	"kurtosis-he": kurtosis("he"),
	"max-median": maxMedian(),
	"max-inf-norm": maxInfNorm(),
	"llm-int8": outlierFeatures({ magnitude: 2, layers: 0.6 }),
	"super-weights": superWeights({ spike: 3 }),
};

deviceTest("every detector says what NumPy says, all of them in one pass", async () => {
	assertEquals(Object.keys(record.criteria).sort(), Object.keys(asRecorded).sort());
	await withModel(plantedContents(), async (model) => {
		const names = Object.keys(asRecorded);
		const found = await detect(model, record.sequences, Object.values(asRecorded));
		for (const [i, name] of names.entries()) {
			const detection = found[i]!, expected = record.criteria[name]!;
			assertEquals(detection.detector, name.replace(/ .*/, ""));
			assertEquals([detection.count, detection.complete], [expected.count, true], name);
			assertEquals(detection.findings.length, expected.count, name);
			assertEquals(detection.measurements.length, expected.measurements.length, name);
			detection.measurements.forEach(({ value, site }, at) =>
				near(value, expected.measurements[at]!, `${name} of ${site}`)
			);
			const { of, value, at } = detection.statistic, all = expected.measurements;
			near(
				value!,
				of === "largest"
					? Math.max(...all)
					: of === "smallest"
					? Math.min(...all)
					: all.reduce((a, b) => a + b) / all.length,
				name,
			);
			assertEquals(at === null, of === "mean");
			for (const [key, number] of Object.entries(expected.numbers ?? {})) {
				near(detection.numbers[key]!, number, `${name} ${key}`);
			}
			const threshold = Object.keys(detection.thresholds).length > 0;
			assertEquals(detection.found, threshold ? expected.count > 0 : null, name);
			const ratios = detection.findings.map(({ ratio }) => ratio);
			assertEquals(ratios, ratios.toSorted((a, b) => of === "smallest" ? a - b : b - a), name);
			assert(detection.definition.length > 20 && detection.source.length > 5);
		}
	});
});

deviceTest("outlier features and super weights are those that NumPy names", async () => {
	await withModel(plantedContents(), async (model) => {
		const [features, weights, mean] = await detect(model, record.sequences, [
			asRecorded["llm-int8"]!,
			asRecorded["super-weights"]!,
			asRecorded["mean-ratio"]!,
		]) as [Detection, Detection, Detection];
		const expected = record.criteria["llm-int8"]!.features!;
		assertEquals(
			features.findings.map(({ feature }) => String(feature)).sort(),
			Object.keys(expected).sort(),
		);
		for (const { feature, numbers } of features.findings) {
			near(numbers!.layerShare!, expected[feature!]!.layerShare, "layers");
			near(numbers!.positionShare!, expected[feature!]!.positionShare, "positions");
		}
		const recordedWeights = record.criteria["super-weights"]!.found!;
		weights.findings.forEach(({ site, layer, sequence, token, row, column, value, numbers }, i) => {
			const { share, value: weight, ratio: _, ...place } = recordedWeights[i]!;
			assertEquals({ layer, sequence, token, row, column }, place);
			assertEquals(site, `layers.${layer}.mlp.down.weight`);
			near(value, weight, "weight");
			near(numbers!.share!, share, "share");
		});
		const { planted } = record;
		assertEquals(
			[weights.findings[0]!.row, weights.findings[0]!.column, weights.findings[0]!.value],
			[planted.row, planted.feature, planted.weight],
		);
		assertEquals(mean.findings[0]!.feature, planted.row);
		assertEquals(mean.statistic.at!.layer >= planted.layer, true);
	});
});

deviceTest("one detector alone gives what it gives among all", async () => {
	await withModel(plantedContents(), async (model) => {
		const all = Object.values(asRecorded);
		const together = await detect(model, record.sequences, all);
		for (const [i, each] of all.entries()) {
			assertEquals(await detect(model, record.sequences, [each]), [together[i]!]);
		}
		assertEquals(await detect(model, record.sequences, []), []);
	});
});

deviceTest("the user's own predicate is asked about the largest entries", async () => {
	await withModel(plantedContents(), async (model) => {
		const asked: number[] = [];
		const mine = entryDetector({
			name: "late",
			definition: "|x| > 20 behind token 2",
			tap: "layers.1.output",
			test: ({ value, token, layer, sequence, mean, median, site }) => {
				asked.push(layer);
				assert(mean > 0 && median > 0 && site === "layers.1.output" && sequence >= 0);
				return Math.abs(value) > 20 && token > 2;
			},
		});
		const [detection] = await detect(model, record.sequences, [mine]) as [Detection];
		assertEquals([...new Set(asked)], [1]);
		assertEquals([detection.detector, detection.source], ["late", "the user"]);
		assert(detection.found && detection.findings.every(({ token }) => token! > 2));
		// What is asked about is not all: 256 findings may not be all there are.
		const every = entryDetector({ name: "all", definition: "every entry", test: () => true });
		const [{ complete, count, findings }] = await detect(model, [record.sequences[0]!], [
			every,
		]) as [
			Detection,
		];
		assertEquals([complete, count, findings.length], [false, 3 * 256, 256]);
	});
});

deviceTest("one token, and sequences that are left out", async () => {
	await withModel(plantedContents(), async (model) => {
		const found = await detect(model, [[5]], Object.values(asRecorded));
		for (const detection of found) {
			const { detector, found, statistic, notes } = detection;
			if (["sink-rate", "value-drain"].includes(detector)) {
				assertEquals([found, statistic.value, statistic.at, notes.length], [null, null, null, 1]);
			} else assert(Number.isFinite(statistic.value), detector);
		}
		const [first] = await detect(model, [[5]], [sinkRate()]) as [Detection];
		assertEquals(first.numbers, { rate: 1, mean: 1, evenlySpread: 1 });
	});
});

deviceTest("a threshold too high finds nothing, and says what the largest is", async () => {
	await withModel(plantedContents(), async (model) => {
		for (
			const each of [
				meanRatio({ tau: 1e9 }),
				massiveActivations(),
				quantileRatio({ factor: 1e6 }),
				medianDeviation({ factor: 1e6 }),
				rowRatio(),
				attentionShare({ share: 2 }),
				sinkRate({ epsilon: 1 }),
				valueDrain({ below: 0 }),
				outlierFeatures({ magnitude: 1e9 }),
				superWeights({ spike: 1e9 }),
			]
		) {
			const [detection] = await detect(model, [record.sequences[3]!], [each]) as [Detection];
			assertEquals([detection.found, detection.count, detection.findings], [false, 0, []]);
			assert(detection.statistic.value! > 0, detection.detector);
		}
		const [weights] = await detect(model, [[1]], [rowRatio()]) as [Detection];
		assertEquals(weights.notes, [
			"Rows of 32 weights cannot reach 1000 times their mean",
			"Rows of 48 weights cannot reach 1000 times their mean",
		]);
	});
});

deviceTest("a model of zeros has no ratios, and no error", async () => {
	const zeros = randomContents({}, (name, data) => {
		if (!name.includes("norm")) data.fill(0);
	});
	await withModel(zeros, async (model) => {
		for (const make of Object.values(detectors)) {
			const [{ found, count, statistic, detector, notes }] = await detect(model, [[1, 2, 3]], [
				make(),
			]) as [Detection];
			assert(found !== true || /attention|sink/.test(detector), `${detector} found ${count}`);
			assert(statistic.value === null ? notes.length > 0 : Number.isFinite(statistic.value));
		}
	});
});

deviceTest("NaN and Infinity are told by the place that they are at", async () => {
	for (const bad of [NaN, Infinity]) {
		const contents = randomContents({}, (name, data) => {
			if (name === "blk.1.ffn_down.weight") data[3] = bad;
		});
		await withModel(contents, async (model) => {
			const places: Record<string, RegExp> = {
				"sink-rate": /^$/,
				"attention-share": /^$/,
				"value-drain": /^$/,
				"llm-int8": /^$/,
				"mean-ratio-down": /^$/,
				"row-ratio": /layers\.1\.mlp\.down\.weight: /,
				"super-weights": /layers\.1\.mlp\.output of sequence 0/,
				"max-inf-norm": /layers\.1\.(mlp\.)?output of sequence 0/,
			};
			for (const [name, make] of Object.entries(detectors)) {
				const place = places[name] ?? /layers\.1\.output of sequence 0/;
				const run = () => runDetectors(model, [[1, 2, 3]], [make()]);
				if (place.source === "^$") await run(); // the damage is behind what it looks at
				else assert(place.test((await assertRejects(run, Error, "Cannot analyze")).message), name);
			}
		});
	}
});

deviceTest("ties are listed in a fixed order: layer, sequence, token, feature", async () => {
	await withModel(randomContents(), async (model) => {
		const ties = defineDetector({
			name: "ties",
			definition: "four entries of equal ratio",
			source: "this test",
			statistic: { name: "1", of: "largest" },
			watch: (_model, taken) => ({
				taps: ["layers.*.output"],
				receive: (_x, _context, site) => () => {
					taken.measure({ ...site, value: 1 });
					for (const [token, feature] of [[1, 1], [1, 0], [0, 1], [0, 0]]) {
						taken.flag([{ ...site, token: token!, feature: feature!, value: 1, ratio: 1 }]);
					}
				},
			}),
		});
		const [{ findings, statistic }] = await detect(model, [[1, 2], [3, 4]], [ties]) as [Detection];
		assertEquals(
			findings.map(({ layer, sequence, token, feature }) => [layer, sequence!, token!, feature!]),
			Array.from({ length: 16 }, (_, i) => [i >> 3, i >> 2 & 1, i >> 1 & 1, i & 1]),
		);
		assertEquals(statistic.at, { site: "layers.0.output", layer: 0, sequence: 0 });
	});
});

deviceTest("of a mixture, experts and the tokens that they got are told", async () => {
	const families = new URL("../fixtures/families", import.meta.url).pathname;
	using model = await loadModel(`${families}/mixtral`);
	const ids = Array.from({ length: 24 }, (_, i) => (i * i + 5) % model.config.vocabularySize);
	const tap = "layers.*.mlp.down.input";
	const [detection] = await detect(model, [ids], [meanRatio({ tap, tau: 3 })]) as [Detection];
	assert(detection.found);
	assert(detection.findings.every(({ expert, token }) => expert! < 4 && token! < 24));
	assert(detection.measurements.every(({ site, expert }) => site.includes(`experts.${expert}.`)));
	const all = Object.values(detectors).map((make) => make());
	for (const { detector, statistic } of await detect(model, [ids], all)) {
		assert(Number.isFinite(statistic.value), detector);
	}
});

deviceTest("every family can be measured by every detector", async () => {
	const families = new URL("../fixtures/families", import.meta.url).pathname;
	for (const { name, isDirectory } of Deno.readDirSync(families)) {
		if (!isDirectory) continue;
		using model = await loadModel(`${families}/${name}`);
		const ids = Array.from({ length: 20 }, (_, i) => (i * i + 5) % model.config.vocabularySize);
		const all = Object.values(detectors).map((make) => make());
		for (const { detector, statistic, numbers } of await detect(model, [ids], all)) {
			assert(Number.isFinite(statistic.value), `${name}: ${detector}`);
			if (detector !== "sink-rate" || model.config.attention.window) continue;
			// (1 + 1/2 + ... + 1/20) / 20 where queries see what is before them, 1/20 where they see all
			const even = model.config.attention.causal ? 0.17988699 : 0.05;
			assertAlmostEquals(numbers.evenlySpread!, even, 1e-7, name);
		}
	}
});

Deno.test("what evenly spread attention gives a key is what adding it up gives", () => {
	for (const [causal, window] of [[true, undefined], [true, 3], [false, undefined]] as const) {
		for (const [key, tokens] of [[0, 1], [0, 7], [2, 7], [6, 7]] as const) {
			let sum = 0, seeing = 0;
			for (let query = 0; query < tokens; query++) {
				const first = causal ? Math.max(0, query - (window ?? tokens) + 1) : 0;
				const last = causal ? query : tokens - 1;
				if (key < first || key > last) continue;
				sum += 1 / (last - first + 1);
				seeing++;
			}
			assertEquals(visibleTo({ causal, window }, key, tokens), seeing);
			assertAlmostEquals(evenImportance({ causal, window }, key, tokens), sum / seeing, 1e-12);
		}
	}
});

deviceTest("kurtosis does not overflow: large values give what small ones do", async () => {
	await withModel(randomContents(), (model) => {
		const data = normal(6 * 16);
		data[17] = 9;
		for (const kind of ["osp", "he"] as const) {
			const values = [1, 1e15].map(async (scale) => {
				const probe = kurtosis(kind).probe(model);
				using x = Tensor.from<"float32", 2>(device, "float32", [6, 16], data.map((v) => v * scale));
				probe.receive(x, { name: "layers.0.output", layer: 0, sequence: 0 });
				return (await probe.result()).statistic.value!;
			});
			return Promise.all(values).then(([small, large]) => near(large! / small!, 1, kind));
		}
	});
});

Deno.test("names that there are not, and options out of range, are refused", () => {
	assertThrows(
		() => detectorNamed("kurtosis"),
		RangeError,
		'Cannot use detector "kurtosis": there',
	);
	assertThrows(() => kurtosis("excess" as "he"), RangeError, "Cannot compute kurtosis");
	assertThrows(() => quantileRatio({ quantile: 1 }), RangeError, "Cannot use 1 as quantile");
	for (const [name, make] of Object.entries(detectors)) assertEquals(make().name, name);
});
