// docs/analysis-format.md: it knows every field of the types, and its example is a valid analysis whose
// numbers follow from its tensors.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type Analysis, ANALYSIS_VERSION } from "../../../src/outliers/analysis.ts";
import { renderFigures } from "../../../src/outliers/report/figures.ts";
import { renderPage } from "../../../src/outliers/report/page.ts";
import { sampleAnalysis } from "./sample_analysis.ts";

const root = new URL("../../../", import.meta.url);
const doc = await Deno.readTextFile(new URL("docs/analysis-format.md", root));
const types = await Deno.readTextFile(new URL("src/outliers/analysis.ts", root));
const example: Analysis = JSON.parse(/```json\n(.*?)```/s.exec(doc)![1]);

/** The cells of the lines of all tables. */
const rows = doc.split("\n").filter((line) => line.startsWith("|"))
	.map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));

/** Every path of names in the data, lists merged: `weights[].top[].ratio`. */
function paths(value: unknown, at = "", into = new Set<string>()): Set<string> {
	if (Array.isArray(value)) { for (const entry of value) paths(entry, `${at}[]`, into); }
	else if (value !== null && typeof value === "object" && at !== "model.storage") {
		for (const [name, inner] of Object.entries(value)) {
			const path = at ? `${at}.${name}` : name;
			into.add(path);
			paths(inner, path, into);
		}
	}
	return into;
}

Deno.test("docs/analysis-format.md names every field of the types", () => {
	const code = types.replace(/\/\*\*.*?\*\/|\/\/[^\n]*/gs, "");
	const fields = new Set([...code.matchAll(/\b(\w+)\??: /g)].map(([, name]) => name));
	for (const known of ["format", "tauOutlierCount", "largestShare", "feature"]) {
		assert(fields.has(known), known); // the pattern still finds fields
	}
	assert(fields.size > 70, String(fields.size));
	for (const field of fields) assert(doc.includes(`\`${field}\``), `${field} is not documented`);
});

Deno.test("docs/analysis-format.md is about the version that is written", () => {
	assertEquals(example.version, ANALYSIS_VERSION);
	assert(doc.includes(`version of this schema, now ${ANALYSIS_VERSION}`));
	assert(rows.some(([first]) => first === String(ANALYSIS_VERSION)), "the list of changes");
});

Deno.test("the example of docs/analysis-format.md has the fields of an analysis, and no others", () => {
	const sample = sampleAnalysis({ layers: 4, heads: 2, texts: 1 });
	assertEquals([...paths(example)].sort(), [...paths(sample)].sort());
	renderPage(example, renderFigures(example));
});

Deno.test("the numbers of the example follow from its tensors", () => {
	const row = (name: string) =>
		rows.find(([first]) => first === name)!.slice(1, 3)
			.map((cell) => cell.split(",").map((x) => Number(x.replace("−", "-"))));
	for (
		const [name, { layers }] of [["h", example.hiddenState], ["x_down", example.downInput]] as const
	) {
		const tensor = row(name);
		const sizes = tensor.flat().map(Math.abs);
		const [statistics] = layers[0].sequences;
		assertEquals(statistics.mean, sizes.reduce((a, b) => a + b) / sizes.length);
		assertEquals(statistics.median, sizes.toSorted((a, b) => a - b)[sizes.length / 2 - 1]);
		assertEquals(statistics.tokenMaxima, tensor.map((token) => Math.max(...token.map(Math.abs))));
		for (const { value, token, feature } of statistics.top) {
			assertEquals(tensor[token][feature], value);
		}
		const found = sizes.filter((size) => size > example.criteria.tau * statistics.mean);
		assertEquals(statistics.outlierCount, found.length);
	}
	const attention = row("A (row a query)");
	for (const { token, value, share } of example.attention[0].heads[0].top) {
		const received = attention.reduce((sum, query) => sum + query[token], 0);
		assertAlmostEquals(value, received);
		assertAlmostEquals(share, received / 2); // two queries, each of sum 1
	}
});
