// The laboratory: its results are those of the analyses alone, and what was finished is not computed again.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	type Analysis,
	detectOutliers,
	findPositions,
	type Laboratory,
	LABORATORY_ANALYSES,
	type LaboratoryRecord,
	measureConsistency,
	runLaboratory,
} from "../../mod.ts";
import { prepareDetection } from "../../src/outliers/detect.ts";
import { deviceTest } from "../tensor/on_device.ts";
import { lab, openRecorded } from "./lab.ts";

const { sequences, cases } = lab["lab/planted"]!;
const definition = { tau: cases.share!.definition.tau! };
const given = sequences.slice(0, 2);

deviceTest("sharing a pass changes no result, and results are plain data", async () => {
	using model = await openRecorded("lab/planted");
	for (const some of [definition, { ...definition, headKeys: { top: 1 } } as const]) {
		const { positions, consistency, ...others } = await runLaboratory(model, given, {
			only: ["consistency", "positions"],
			definition: some,
		});
		assertEquals(others, {});
		assertEquals(positions!.result, await findPositions(model, given, { definition: some }));
		assertEquals(consistency!.result, await measureConsistency(model, given, { definition: some }));
		assertEquals(JSON.parse(JSON.stringify(positions)), positions);
	}
});

deviceTest(
	"other probes share the pass where it is over the same tokens, and find the same",
	async () => {
		using model = await openRecorded("lab/planted");
		const texts = given.map((tokenIds, i) => ({
			source: `sequence ${i}`,
			tokenIds: [...tokenIds],
		}));
		const options = { texts, tau: 25, hashWeights: false };
		const { created: _, ...expected } = await detectOutliers(model, options);
		let passes = 0;
		const forward = model.forward;
		model.forward = function (...args) {
			passes++;
			return forward.apply(this, args);
		};
		for (const [only, count] of [[["positions", "consistency"], 1], [["positions"], 2]] as const) {
			passes = 0;
			const told: number[] = [];
			let total = 0, found: Analysis | null = null;
			const detecting = await prepareDetection(model, options);
			await runLaboratory(model, given, {
				only,
				definition,
				beside: {
					...detecting,
					onResults: async (results) => {
						found = await detecting.finish(results);
					},
				},
				onProgress: (done, of) => {
					told.push(done);
					total = of;
				},
			});
			const { created: _, ...rest } = found as unknown as Analysis;
			assertEquals(rest, expected);
			assertEquals(passes, count);
			assertEquals(told, [...told].sort((a, b) => a - b));
			assertEquals(told.at(-1), total);
		}
	},
);

deviceTest("all analyses run, in their order, and progress ends at the whole", async () => {
	using model = await openRecorded("lab/planted");
	using other = await openRecorded("lab/tuned");
	const told: number[] = [], during: string[] = [], names: string[] = [];
	let total = 0;
	const laboratory = await runLaboratory(model, given, {
		definition,
		compareWith: other,
		onProgress: (done, of, name) => {
			told.push(done);
			during.push(name);
			total = of;
		},
		onResult: ({ analysis }) => void names.push(analysis),
	});
	assertEquals(names, [...LABORATORY_ANALYSES]);
	assertEquals(Object.keys(laboratory), names);
	assertEquals(told, [...told].sort((a, b) => a - b));
	assert(told.at(-1)! <= total);
	// Each tells its beginning, and how it goes on with each layer.
	const times = Map.groupBy(during, (name) => name);
	for (const name of ["maps", "emergence", "spread", "disappearance", "causes"] as const) {
		assert(times.get(name)!.length > model.config.layers, name);
	}
});

deviceTest(
	"what was finished before is kept when a later analysis is stopped, and taken up",
	async () => {
		using model = await openRecorded("lab/planted");
		const only = ["maps", "emergence", "positions"] as const;
		const previous: Record<string, LaboratoryRecord> = {}, stop = new AbortController();
		await assertRejects(
			() =>
				runLaboratory(model, given, {
					only,
					definition,
					signal: stop.signal,
					onResult: (record) => {
						previous[record.analysis] = record;
						if (record.analysis === "emergence") stop.abort(new Error("enough"));
					},
				}),
			Error,
			"enough",
		);
		assertEquals(Object.keys(previous), ["maps", "emergence"]);
		const run = async (changed: Parameters<typeof runLaboratory>[2], sequences = given) => {
			const reused: string[] = [];
			const found = await runLaboratory(model, sequences, {
				only,
				definition,
				previous: previous as Laboratory,
				...changed,
				onResult: ({ analysis }, again) => void (again && reused.push(analysis)),
			});
			return { found, reused };
		};
		const { found, reused } = await run({});
		assertEquals(reused, ["maps", "emergence"]);
		assertEquals(found.maps, previous.maps as typeof found.maps);
		// What a result depends on is in its key.
		assertEquals((await run({ definition: { tau: 2 * definition.tau } })).reused, []);
		assertEquals((await run({ weights: "trained on" })).reused, []);
		assertEquals((await run({}, [sequences[0]!.with(0, sequences[0]![0]! ^ 1)])).reused, []);
	},
);

deviceTest(
	"names that are none, and a comparison without a second model, are refused",
	async () => {
		using model = await openRecorded("lab/planted");
		await assertRejects(
			() => runLaboratory(model, given, { only: ["nothing" as "maps"] }),
			RangeError,
			'There is no analysis "nothing"',
		);
		await assertRejects(
			() => runLaboratory(model, given, { only: ["comparison"] }),
			RangeError,
			"no second model",
		);
	},
);
