// The page: self-contained, escaped, and its words true to the data.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Analysis } from "../../../src/outliers/analysis.ts";
import { renderFigures } from "../../../src/outliers/report/figures.ts";
import { renderPage } from "../../../src/outliers/report/page.ts";
import { findings, headline, reachabilityNote } from "../../../src/outliers/report/words.ts";
import { sampleAnalysis, type SampleOptions } from "./sample_analysis.ts";
import { parseXml } from "./xml.ts";

const HOSTILE = `</script><img src=x onerror="alert(1)">&'`;

function page(options: SampleOptions = {}): string {
	const analysis = sampleAnalysis({ layers: 4, heads: 3, texts: 1, tokens: 30, ...options });
	return renderPage(analysis, renderFigures(analysis));
}

/** The page as XML: its void elements closed, script and style taken out. */
function xml(html: string): string {
	return html
		.replace("<!DOCTYPE html>", "")
		.replace(/<(script|style)>.*?<\/\1>/gs, "")
		.replace(/<meta ([^>]*)>/g, "<meta $1/>")
		.replace(/<details open>/g, '<details open="">')
		.replaceAll("default-src 'none'", "default-src none");
}

Deno.test("renderPage() is well-formed and its ids are unique", () => {
	for (
		const options of [
			{},
			{ layers: 1, heads: 1, texts: 0 },
			{ outliers: false },
			{ oddTokens: [HOSTILE, "\u0000", "\ud800", "]]>", "\u202e", ""], modelName: HOSTILE },
		]
	) parseXml(xml(page(options)));
});

Deno.test("renderPage() escapes all that comes from the model's file and the text", () => {
	const analysis = sampleAnalysis({ layers: 2, modelName: HOSTILE, oddTokens: [HOSTILE] });
	analysis.model.file = analysis.model.architecture = HOSTILE;
	analysis.model.storage = { [HOSTILE]: 1 };
	analysis.device.name = analysis.created = HOSTILE;
	analysis.sequences[1].source = HOSTILE;
	analysis.criteria.reachability.push({ test: HOSTILE, limit: 1, reachable: false });
	const html = renderPage(analysis, renderFigures(analysis));
	assert(!html.includes("<img"));
	assertEquals(html.match(/<script/g)?.length, 1);
	const texts = parseXml(xml(html)).join("\n");
	// It is all there, as text: title, heading, facts, sequences, notes.
	assert(texts.split(HOSTILE).length > 8);
});

Deno.test("renderPage() loads nothing", () => {
	const html = page();
	for (const [, link] of html.matchAll(/(?:href|src)="([^"]*)"/g)) {
		assert(link.startsWith("#"), link);
		assertStringIncludes(html, `id="${link.slice(1)}"`);
	}
	assert(!/@import|<link|<iframe|<object|fetch\(|import\(/.test(html));
	const urls = [...html.matchAll(/https?:\/\/[^"\s<]*/g)].map(([url]) => url);
	// Names of XML namespaces, which nobody fetches.
	assert(urls.every((url) => new URL(url).hostname === "www.w3.org"), urls.join());
});

Deno.test("renderPage() has every figure once, with its caption", () => {
	const analysis = sampleAnalysis({ layers: 3 });
	const figures = renderFigures(analysis);
	const html = renderPage(analysis, figures);
	const texts = parseXml(xml(html));
	for (const { name, title, caption } of figures) {
		assertEquals(html.split(`id="figure_${name}"`).length, 2, name);
		assert(texts.some((text) => text.startsWith(caption)), name);
		assert(texts.includes(title), name);
	}
});

Deno.test("renderPage() gives the same text for the same analysis", () => {
	assertEquals(page({ seed: 9 }), page({ seed: 9 }));
});

Deno.test("renderPage() lists the largest values first, with place and ratio", () => {
	const analysis = sampleAnalysis({ layers: 3 });
	// One activation larger than all: -77777 over a mean of 0.5 is 155,554 times the mean.
	const statistics = analysis.hiddenState.layers[1].sequences[2];
	statistics.mean = 0.5;
	statistics.top.unshift({ value: -77777, token: 5, feature: 321 });
	analysis.sequences[2].tokenTexts[5] = " needle";
	const html = renderPage(analysis, []);
	const row =
		html.slice(html.indexOf("Largest activations")).match(/<tbody>\s*<tr>(.*?)<\/tr>/s)![1];
	const cells = [...row.matchAll(/<td[^>]*>(.*?)<\/td>/g)].map(([, cell]) => cell);
	assertEquals(cells, [
		"2",
		"321",
		"<code>␣needle</code>",
		"5",
		"text_1.txt",
		"−77,777",
		"155,554",
		"yes",
	]);
});

Deno.test("headline() and findings() tell where outliers are", () => {
	const analysis = sampleAnalysis({ layers: 10 });
	const { summary } = analysis;
	summary.weights.outlierCount = 1;
	assertStringIncludes(headline(analysis), "down-projection inputs, weights and attention.");
	summary.weights.outlierCount = 0;
	assertEquals(
		headline(analysis),
		"Outliers found in hidden states, down-projection inputs and attention; none in weights.",
	);
	summary.hiddenState = {
		layers: [3, 4, 5, 9],
		firstLayer: 3,
		lastLayer: 9,
		features: [{ feature: 1415, count: 8 }, { feature: 2533, count: 7 }],
		tokenClasses: { "initial token": 4, "strong delimiter": 1, "weak semantic": 2, other: 1 },
		tokens: [],
		largestRatio: { ratio: 4321, value: -999, layer: 4, sequence: 0, token: 3, feature: 1415 },
	};
	assertEquals(
		findings(analysis)[0].text,
		"Outliers in 4 of 10 layers (3–5, 9), in features 1415 and 2533. The tokens that carry them are " +
			"4 initial tokens, 1 strong delimiter, 2 weak semantic tokens and 1 other token. The largest " +
			"|h| is 4,321 times the mean (−999), in layer 4, feature 1415, token “.” (position 3 of paper " +
			"sentence).",
	);
});

Deno.test("headline() and findings() say plainly that nothing exceeds τ, and how near it came", () => {
	const analysis = sampleAnalysis({ layers: 4, outliers: false });
	assertStringIncludes(headline(analysis), "No outliers: nothing exceeds τ = 1,000 times the mean");
	analysis.summary.downInput.largestRatio.ratio = 523.4;
	const [hidden, down, weights, attention] = findings(analysis).map(({ text }) => text);
	assertStringIncludes(hidden, "No |h| exceeds τ = 1,000 times the mean; the largest is ");
	assertStringIncludes(down, "the largest is 523 times the mean");
	assertStringIncludes(weights, "None exceeds τ = 1,000 times its row's mean; the largest is ");
	assertStringIncludes(attention, "No head gives one key 10% of its cumulative attention");
});

Deno.test("findings() says that texts are too short for the test of attention", () => {
	const analysis = sampleAnalysis({ seed: 3 });
	Object.assign(analysis.summary.attention, { sequences: 0, layers: [], headFraction: 0 });
	const [, , , attention] = findings(analysis).map(({ text }) => text);
	assertStringIncludes(attention!, "The texts are too short to tell");
});

Deno.test("reachabilityNote() names the tests that cannot fire, by their limits", () => {
	const tests: Analysis["criteria"]["reachability"] = [
		{ test: "hiddenState", limit: 5e6, reachable: true },
		{ test: "weights.query", limit: 576, reachable: false },
		{ test: "weights.gate", limit: 576, reachable: false },
		{ test: "attention", limit: 300, reachable: false },
	];
	const note = reachabilityNote(tests, 1000);
	assertStringIncludes(
		note,
		"query weights and gate weights (at most 576); attention by τ (at most 300)",
	);
	assert(!note.includes("hidden state"));
	assertStringIncludes(reachabilityNote(tests.slice(0, 1), 1000), "Every test can exceed τ");
});
