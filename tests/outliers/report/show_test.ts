// What findings show of themselves: words and figures of analyses, tables of rows, and what is asked for alone.

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import {
	ablate,
	loadModel,
	traceCauses,
	traceDisappearance,
	traceEmergence,
	traceSpread,
} from "../../../mod.ts";
import { root } from "../../../tools/project.ts";
import { show, type Shown } from "../../../src/outliers/report/show.ts";
import { renderFigures } from "../../../src/outliers/report/figures.ts";
import { headline } from "../../../src/outliers/report/words.ts";
import { sampleAnalysis } from "./sample_analysis.ts";

const analysis = sampleAnalysis({ layers: 3, heads: 2, texts: 1, tokens: 12 });

/** What a notebook's kernel gets. */
function bundle(shown: Shown): Record<string, string> {
	const display = Symbol.for("Jupyter.display");
	return (shown as unknown as Record<symbol, () => Record<string, string>>)[display]!();
}

Deno.test("show() gives an analysis as words and figures, or the figures that are named", () => {
	const all = show(analysis);
	assertStringIncludes(all.text, headline(analysis));
	assertEquals(
		all.figures.map(({ name }) => name),
		renderFigures(analysis).map(({ name }) => name),
	);
	assertEquals(Object.keys(bundle(all)), ["text/plain", "text/html"]);
	const one = bundle(show(analysis, { only: ["hidden_state_layers"] }));
	assert(one["image/svg+xml"]!.startsWith("<svg "));
	assertEquals(one["text/html"]!.split("<svg ").length, 2);
	assertThrows(() => show(analysis, { only: ["nothing"] }), RangeError, "the figures are hidden_");
});

Deno.test("show() gives figures alone, and what console.log writes", () => {
	const figures = renderFigures(analysis).slice(0, 2);
	assertEquals(show(figures).figures, figures);
	assertEquals(show(figures[0]!).figures, [figures[0]!]);
	assertEquals(Deno.inspect(show(figures)), show(figures).text);
});

Deno.test("show() gives rows as a table, whose cells are text", () => {
	const shown = show([{ token: "<script>", value: 1234.5 }, { token: "b", other: null }]);
	assertEquals(shown.text, "token     value  other\n<script>  1,235\nb                null");
	assert(!shown.html.includes("<script>"));
	assertStringIncludes(shown.html, 'data-value="1234.5"');
	assertEquals(bundle(show([]))["text/plain"], "");
});

Deno.test("show() gives traces their figures, and an ablation its effects beside the control", async () => {
	using model = await loadModel(`${root}/models/box`);
	const ids = model.tokenizer.encode("Summer is warm. Winter is cold.");
	const tokens = ids.map((id) => model.tokenizer.tokenText(id));
	const names = (found: Parameters<typeof show>[0]) =>
		show(found, { tokens, model: "box" }).figures.map(({ name }) => name.split("_")[0]);
	assertEquals(new Set(names(await traceEmergence(model, ids))), new Set(["emergence"]));
	assertEquals(new Set(names(await traceSpread(model, ids))), new Set(["spread"]));
	assertEquals(new Set(names(await traceDisappearance(model, ids))), new Set(["disappearance"]));
	assertEquals(new Set(names(await traceCauses(model, [ids]))), new Set(["causes"]));
	const found = await ablate(model, [ids], {
		interventions: [{ tap: "layers.1.mlp.down.weight", entries: [[45, 15]] }],
	});
	assertMatch(show(found).text, /^change +loss, nats +95 % from +to +sequences\nwhat was chosen +/);
	assertThrows(() => show({}), RangeError, "it has no figures");
});
