// The figures: well-formed for any valid analysis, the same for the same input, and saying what they
// should.

import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import type { Analysis } from "../../../src/outliers/analysis.ts";
import { colorAt, SCALE } from "../../../src/outliers/report/chart.ts";
import { type Figure, renderFigures } from "../../../src/outliers/report/figures.ts";
import { visibleText } from "../../../src/outliers/report/text.ts";
import { sampleAnalysis, type SampleOptions } from "./sample_analysis.ts";
import { parseXml } from "./xml.ts";

const NAMES = [
	"hidden_state_layers",
	"hidden_state_tokens",
	"hidden_state_features",
	"down_input_layers",
	"down_input_tokens",
	"down_input_features",
	"token_classes",
	"weights_modules",
	"weights_down_layers",
	"attention_layers",
	"attention_heads",
	"attention_tokens",
];

const ODD = [
	"</script>",
	"]]>",
	"<!--",
	"&amp;",
	'"',
	"'",
	"👩🏽‍🚀",
	"\ud83d",
	"\udc69",
	"\u0000",
	"\u001b",
	"\uffff",
	"\u202e",
	"\u0301",
	"\u00a0",
	"",
	"  ",
	"\t",
	"\r\n",
	"العربية",
	"url(#zr0-c0)",
	"{a|b}",
	"<|endoftext|>",
];

function figure(figures: Figure[], name: string): Figure {
	const found = figures.find((figure) => figure.name === name);
	assert(found, `No figure ${name}`);
	return found;
}

function texts(figures: Figure[], name: string): string[] {
	return parseXml(figure(figures, name).svg);
}

/** Number of cells of a heat map: the shapes with a colour of the scale and no outline. */
function cells(svg: string): number {
	return [...svg.matchAll(/<path [^>]*fill="rgb\([\d,]+\)">/g)].length;
}

Deno.test("parseXml() refuses what is not well-formed", () => {
	for (
		const bad of [
			"<a><b></a></b>",
			"<a>",
			"<a></a><b></b>",
			"<a x=1></a>",
			"<a>&nbsp;</a>",
			"<a>\u0000</a>",
			"<a>\ud800</a>",
			'<a x="1" x="2"></a>',
			'<a><b id="1"/><b id="1"/></a>',
			"<a>a < b</a>",
		]
	) {
		assertThrows(() => parseXml(bad), SyntaxError);
	}
	assertEquals(parseXml('<a x="&lt;"><b/>1 &amp; 2</a>'), ["1 & 2"]);
});

const CASES: Record<string, SampleOptions> = {
	"a usual model": { layers: 12, heads: 4 },
	"one layer, one head, one sequence": { layers: 1, heads: 1, texts: 0 },
	"no outliers": { layers: 6, outliers: false },
	"odd tokens and name": { layers: 3, oddTokens: ODD, modelName: 'a<b>&"\u0000\ud800\n' },
	"a hundred layers": { layers: 100, heads: 3, texts: 1 },
	"only a down projection": { layers: 2, projections: ["down"] },
};

for (const [name, options] of Object.entries(CASES)) {
	Deno.test(`renderFigures() draws well-formed figures with their titles: ${name}`, () => {
		const figures = renderFigures(sampleAnalysis(options));
		assertEquals(figures.map(({ name }) => name), NAMES);
		for (const { svg, title, caption } of figures) {
			assert(parseXml(svg).includes(title), title);
			assert(!/NaN|Infinity|undefined/.test(svg), title);
			assert(caption.length > 100);
		}
	});
}

Deno.test("renderFigures() gives the same text for the same analysis", () => {
	const first = renderFigures(sampleAnalysis({ layers: 5, seed: 3 }));
	assertEquals(renderFigures(sampleAnalysis({ layers: 5, seed: 3 })), first);
	const other = renderFigures(sampleAnalysis({ layers: 5, seed: 4 }));
	for (const { name, svg } of other) assertNotEquals(svg, figure(first, name).svg, name);
});

Deno.test("renderFigures() leaves the analysis as it is", () => {
	const analysis = sampleAnalysis({ layers: 3 });
	const before = structuredClone(analysis);
	renderFigures(analysis);
	assertEquals(analysis, before);
});

Deno.test("renderFigures() keeps the ids of different figures apart", () => {
	const ids = renderFigures(sampleAnalysis({ layers: 4 })).flatMap(({ svg }) =>
		[...svg.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id)
	);
	assert(ids.length > 0);
	assertEquals(new Set(ids).size, ids.length);
});

Deno.test("renderFigures() loads nothing from elsewhere", () => {
	for (const { svg } of renderFigures(sampleAnalysis({ layers: 2 }))) {
		const links = [...svg.matchAll(/(?:href|src)="([^"]*)"|url\(([^)]*)\)/g)];
		for (const [, link, url] of links) assert((link ?? url).startsWith("#"), link ?? url);
		assert(!/<(script|style|image|foreignObject)\b/.test(svg));
	}
});

Deno.test("renderFigures() labels token axes with position and visible text", () => {
	const figures = renderFigures(sampleAnalysis({ layers: 3, oddTokens: ODD }));
	const expected = [...ODD, "Summer", " is", " warm", "."].map((text, i) =>
		`${i} ${visibleText(text, 14)}`
	);
	for (const name of ["hidden_state_tokens", "down_input_tokens", "attention_tokens"]) {
		const found = texts(figures, name);
		for (const label of expected) assert(found.includes(label), `${name}: ${label}`);
	}
});

Deno.test("renderFigures() shows the paper's sentence, else the shortest sequence", () => {
	const analysis = sampleAnalysis({ layers: 2, texts: 2, tokens: 20 });
	assert(texts(renderFigures(analysis), "hidden_state_tokens").includes("1 ␣is"));
	analysis.sequences[0].source = "text";
	assert(texts(renderFigures(analysis), "hidden_state_tokens").includes("1 ␣is"));
	// Now another one is the paper's sentence, and it is not the shortest.
	analysis.sequences[2].source = "paper sentence";
	const label = `1 ${visibleText(analysis.sequences[2].tokenTexts[1])}`;
	const found = texts(renderFigures(analysis), "attention_tokens");
	assert(found.includes(label), label);
	assert(!found.includes("4 ␣Winter"));
});

Deno.test("renderFigures() draws one cell a layer and token, or layer and head", () => {
	const figures = renderFigures(sampleAnalysis({ layers: 7, heads: 5 }));
	assertEquals(cells(figure(figures, "hidden_state_tokens").svg), 7 * 9);
	assertEquals(cells(figure(figures, "attention_tokens").svg), 7 * 9);
	assertEquals(cells(figure(figures, "attention_heads").svg), 7 * 5);
});

Deno.test("renderFigures() colours by the scale, and places cells and dots in the plot", () => {
	for (let i = 0; i < SCALE.length; i++) {
		const [red, green, blue] = [1, 3, 5].map((at) => parseInt(SCALE[i].slice(at, at + 2), 16));
		assertEquals(colorAt(i / (SCALE.length - 1)), `rgb(${red},${green},${blue})`);
	}
	assertEquals(colorAt(0.5 / (SCALE.length - 1)), "rgb(234,245,197)"); // between the first two
	const figures = renderFigures(sampleAnalysis({ layers: 7, heads: 5 }));
	const { svg } = figure(figures, "attention_heads");
	// Layers from the bottom, heads from the left, over each other by half a pixel: 5 × 138 by 7 × 26.
	const corners = [...svg.matchAll(/<path d="M([\d.]+) ([\d.]+)l138.5 0l0 26.5l-138.5 0Z"/g)];
	assertEquals(corners.length, 7 * 5);
	assertEquals(corners[0].slice(1).map(Number), [77.8, 247.8]);
	assertEquals(corners[34].slice(1).map(Number), [629.8, 91.8]);
	const dots = figure(figures, "hidden_state_features").svg.matchAll(
		/<circle cx="([\d.]+)" cy="([\d.]+)"/g,
	);
	const places = [...dots].map(([, x, y]) => [Number(x), Number(y)]);
	assert(places.length >= 7);
	for (const [x, y] of places) {
		// In the middle of one of seven layers.
		const layer = (x - 78) / ((900 - 78 - 176) / 7);
		assert(Math.abs(layer % 1 - 0.5) < 1e-3 && layer < 7 && y >= 92 && y <= 432, `${x} ${y}`);
	}
});

Deno.test("renderFigures() names the features that stand out, and only those", () => {
	const named = (figures: Figure[], name: string) =>
		texts(figures, name).filter((text) => text.startsWith("◂")).sort();
	const figures = renderFigures(sampleAnalysis({ layers: 8 }));
	assertEquals(named(figures, "hidden_state_features"), ["◂ 19", "◂ 234"]);
	assertEquals(named(figures, "down_input_features"), ["◂ 1200", "◂ 789"]);
});

Deno.test("renderFigures() writes counts over the bars of the token classes", () => {
	const analysis = sampleAnalysis({ layers: 3 });
	for (const part of [analysis.summary.hiddenState, analysis.summary.downInput]) {
		part.tokenClasses = { "initial token": 0, "strong delimiter": 0, "weak semantic": 0, other: 0 };
	}
	analysis.summary.attention.tokenClasses = {
		"initial token": 4321,
		"strong delimiter": 17,
		"weak semantic": 0,
		other: 1,
	};
	const found = texts(renderFigures(analysis), "token_classes");
	for (const text of ["4,321", "17", "1", "initial token", "weak semantic"]) {
		assert(found.includes(text), text);
	}
	// 4321 + 17 + 1
	assert(found.some((text) => text.startsWith("Attention (4,339 tokens)")));
});

Deno.test("renderFigures() says in words that there is nothing to draw", () => {
	const full = sampleAnalysis({ layers: 2, outliers: false });
	const empty: Analysis = {
		...full,
		weights: [],
		attention: [],
		hiddenState: { layers: [] },
		downInput: { layers: [] },
		summary: {
			...full.summary,
			attention: {
				...full.summary.attention,
				tokenClasses: { "initial token": 0, "strong delimiter": 0, "weak semantic": 0, other: 0 },
			},
		},
	};
	for (const { name, svg, title } of renderFigures(empty)) {
		const found = parseXml(svg);
		assert(found.includes(title), name);
		assert(found.some((text) => text.startsWith("Nothing to draw: ")), name);
	}
});

Deno.test("renderFigures() draws activations and weights that are zero everywhere", () => {
	const analysis = sampleAnalysis({ layers: 3, texts: 0 });
	for (const { sequences } of [...analysis.hiddenState.layers, ...analysis.downInput.layers]) {
		for (const statistics of sequences) {
			Object.assign(statistics, { mean: 0, median: 0, outlierCount: 0, outliers: [] });
			statistics.tokenMaxima.fill(0);
			for (const entry of [...statistics.top, ...statistics.topFeatures]) entry.value = 0;
		}
	}
	for (const weights of analysis.weights) {
		weights.medianColumnRatio = 0;
		for (const entry of [...weights.top, ...weights.topRows, ...weights.topColumns]) {
			entry.ratio = 0;
		}
	}
	const zero = renderFigures(analysis);
	for (const { svg } of zero) {
		parseXml(svg);
		assert(!/NaN|Infinity/.test(svg));
	}
	for (const name of ["hidden_state_layers", "down_input_tokens", "weights_modules"]) {
		assert(texts(zero, name).some((text) => text.startsWith("Nothing to draw")), name);
	}
	// Half of x_down may be zero, as after ReLU: the median is missing, the rest is drawn.
	const relu = sampleAnalysis({ layers: 3 });
	for (const { sequences } of relu.downInput.layers) {
		for (const statistics of sequences) statistics.median = 0;
	}
	const found = texts(renderFigures(relu), "down_input_layers");
	assert(!found.some((text) => text.startsWith("Nothing to draw")));
});

Deno.test("renderFigures() puts equal values in the middle of their colours", () => {
	const analysis = sampleAnalysis({ layers: 2, texts: 0 });
	for (const { sequences } of analysis.hiddenState.layers) sequences[0].tokenMaxima.fill(5);
	const found = texts(renderFigures(analysis), "hidden_state_tokens");
	// From half to twice the value, on a logarithmic scale.
	for (const text of ["2.5", "10"]) assert(found.includes(text), text);
});
