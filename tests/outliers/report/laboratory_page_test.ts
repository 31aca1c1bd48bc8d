// The laboratory's page and figures: well-formed, escaped, the same each time, of results and of "nothing found".

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { LABORATORY_ANALYSES, renderLaboratory, runLaboratory } from "../../../mod.ts";
import { laboratoryFigures } from "../../../src/outliers/report/laboratory_page.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { lab, openRecorded } from "../lab.ts";
import { parseXml } from "./xml.ts";

const HOSTILE = `</script><img src=x onerror="alert(1)">&'`;
const { sequences, cases } = lab["lab/planted"]!;
const given = sequences.slice(0, 2).map((tokenIds) => ({
	source: HOSTILE,
	tokenIds,
	tokenTexts: tokenIds.map(() => HOSTILE),
}));

/** The page as XML: its void elements closed, script and style taken out. */
const xml = (html: string) =>
	html
		.replace("<!DOCTYPE html>", "")
		.replace(/<(script|style)>.*?<\/\1>/gs, "")
		.replace(/<meta ([^>]*)>/g, "<meta $1/>")
		.replace(/<details open>/g, '<details open="">')
		.replaceAll("default-src 'none'", "default-src none");

deviceTest(
	"every analysis has figures that are well-formed and tell their values; texts are escaped",
	async () => {
		using model = await openRecorded("lab/planted");
		using other = await openRecorded("lab/tuned");
		for (const tau of [cases.share!.definition.tau!, 1e9]) { // with outliers, and without any
			const laboratory = await runLaboratory(model, given, {
				definition: { tau, weightTau: tau },
				compareWith: other,
				example: given[1]!,
			});
			laboratory.maps!.model.name = HOSTILE;
			const html = renderLaboratory(laboratory);
			assertEquals(renderLaboratory(JSON.parse(JSON.stringify(laboratory))), html);
			assert(!html.includes("<img"));
			assertEquals(html.match(/<script/g)?.length, 1);
			assert(
				!/undefined|NaN|Infinity/.test(xml(html)),
				xml(html).match(/.{80}(undefined|NaN|Infinity).{40}/)?.[0],
			);
			assert(parseXml(xml(html)).join("\n").includes(HOSTILE));
			for (const [, link] of html.matchAll(/(?:href|src)="([^"]*)"/g)) {
				assert(link!.startsWith("#"), link);
				assertStringIncludes(html, `id="${link!.slice(1)}"`);
			}
			const all = laboratoryFigures(laboratory);
			assertEquals(all.map(({ analysis }) => analysis), [...LABORATORY_ANALYSES]);
			const names = all.flatMap(({ figures }) => figures.map(({ name }) => name));
			assertEquals(new Set(names).size, names.length);
			for (const { figures } of all) {
				assert(
					figures.some(({ svg }) => svg.includes("<title>") || svg.includes("Nothing to draw")),
				);
				for (const { svg } of figures) parseXml(svg);
			}
		}
	},
);

deviceTest("a mark tells the value that the data hold", async () => {
	using model = await openRecorded("lab/planted");
	const laboratory = await runLaboratory(model, given, { only: ["disappearance"] });
	const [entry] = laboratory.disappearance!.result.ledger.entries;
	entry!.layers[1]!.before = 4321;
	const html = renderLaboratory(laboratory);
	assertStringIncludes(html, "<title>Residual stream before, layer 2: 4,321</title>");
});

deviceTest("what two models share is said in words, and in a table", async () => {
	using model = await openRecorded("lab/planted");
	using other = await openRecorded("lab/tuned");
	const { tau } = cases.share!.definition;
	const laboratory = await runLaboratory(model, given, {
		only: ["comparison"],
		definition: { tau: tau!, weightTau: tau! },
		compareWith: other,
	});
	const found = laboratory.comparison!.result, place = { layer: 2, feature: 7 };
	found.models = ["one", HOSTILE];
	Object.assign(found.hiddenState, {
		layers: { shared: [2, 0, 1], onlyFirst: [], onlySecond: [5], jaccard: 0.75 },
		features: {
			shared: [],
			onlyFirst: [place],
			onlySecond: [{ layer: 3, feature: 7 }],
			jaccard: 0,
		},
		tokens: { shared: [], onlyFirst: [], onlySecond: [], jaccard: null },
		largest: [{ layer: 0, first: 5, second: 1, ratio: 0.2 }, {
			layer: 3,
			first: 4,
			second: 9,
			ratio: 2.25,
		}],
		featureMaxima: [{ ...place, first: 4321, second: 2, ratio: 2 / 4321 }, {
			...place,
			layer: 1,
			first: 1,
			second: 1,
			ratio: 1,
		}],
	});
	const html = renderLaboratory(laboratory), texts = parseXml(xml(html)).join("\n");
	assertStringIncludes(texts, `The first model is one, the second ${HOSTILE}.`);
	assertStringIncludes(
		texts,
		"|h|: outliers in layers 1–3 of both models and in layer 6 of the second alone; their features, layer by " +
			"layer: 1 of the first alone and 1 of the second alone; tokens that carry them: none; the largest is 5 " +
			"(layer 1) in the first and 9 (layer 4) in the second.",
	);
	const rows = [...html.matchAll(/<tr>(.*?)<\/tr>/g)].map(([, row]) => parseXml(`<a>${row}</a>`));
	assertEquals(rows.filter((row) => row[0] === "h"), [[
		"h",
		"3",
		"7",
		"4,321",
		"2",
		"4.63 × 10⁻⁴",
		"one",
	]]);
});

Deno.test("a laboratory without results is a page too", () => {
	parseXml(xml(renderLaboratory({})));
});
