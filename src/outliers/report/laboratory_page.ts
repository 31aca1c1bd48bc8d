// The laboratory as one HTML page that opens from disk: a section for each analysis with what it asks, its figures, and
// their values as tables. It loads nothing, and only sorting and printing need its script.

import type { Laboratory, LaboratoryAnalysis } from "../laboratory.ts";
import { LABORATORY_ANALYSES } from "../laboratory.ts";
import { causeFigures } from "./cause_figures.ts";
import {
	comparisonFigures,
	comparisonTable,
	comparisonWords,
	modelNames,
} from "./comparison_figures.ts";
import { existenceFigures, lengthFigures } from "./existence_figures.ts";
import { disappearanceFigures, emergenceFigures, spreadFigures } from "./lifecycle_figures.ts";
import type { LaboratoryFigure } from "./marks.ts";
import { pageOf } from "./page.ts";
import { consistencyFigures, pairName, positionFigures } from "./position_figures.ts";
import { table } from "./tables.ts";
import { count, escapeHtml, plainText } from "./text.ts";

const TITLES: Record<LaboratoryAnalysis, { title: string; question: string }> = {
	maps: { title: "Outliers in pictures", question: "What do outliers look like in one sentence?" },
	lengths: {
		title: "Sequence length",
		question: "Does the length of a text move, make or remove outliers?",
	},
	emergence: {
		title: "Emergence",
		question: "Which weights make the outliers, and in which layer?",
	},
	spread: {
		title: "Spread",
		question: "Why do outlier tokens draw attention, and what does it do?",
	},
	disappearance: {
		title: "Disappearance",
		question: "Which layers take the outliers away, and how?",
	},
	positions: {
		title: "Positions",
		question: "Which layers, tokens, features, heads and weights carry outliers?",
	},
	consistency: {
		title: "Consistency",
		question: "Do the kinds of outliers stand in the same places?",
	},
	causes: {
		title: "Causes",
		question: "What goes when outliers are taken away, beside a matched control?",
	},
	comparison: {
		title: "Comparison",
		question: "Which outliers do two models share, and how large are they in each?",
	},
};

/** The figures of each finished analysis, by name. */
export function laboratoryFigures(
	laboratory: Laboratory,
): { analysis: LaboratoryAnalysis; figures: LaboratoryFigure[] }[] {
	const figuresOf = (name: LaboratoryAnalysis): LaboratoryFigure[] => {
		const model = plainText(laboratory[name]!.model.name);
		const text = { model, tokens: laboratory[name]!.tokens ?? [] };
		switch (name) {
			case "maps":
				return existenceFigures(laboratory.maps!.result, model);
			case "lengths":
				return lengthFigures(laboratory.lengths!.result, model);
			case "emergence":
				return emergenceFigures(laboratory.emergence!.result, text);
			case "spread":
				return spreadFigures(laboratory.spread!.result, text);
			case "disappearance":
				return disappearanceFigures(laboratory.disappearance!.result, text);
			case "positions":
				return positionFigures(laboratory.positions!.result, model);
			case "consistency":
				return consistencyFigures(laboratory.consistency!.result, model);
			case "causes":
				return causeFigures(laboratory.causes!.result, model);
			case "comparison":
				return comparisonFigures(laboratory.comparison!.result);
		}
	};
	return LABORATORY_ANALYSES.filter((name) => laboratory[name])
		.map((analysis) => ({ analysis, figures: figuresOf(analysis) }));
}

function figureHtml(figure: LaboratoryFigure, file: string): string {
	const { name, title, caption, svg, table: values } = figure;
	const picture = svg.replace("<svg ", `<svg role="img" aria-label="${escapeHtml(title)}" `);
	return `<figure id="figure_${escapeHtml(name)}">
${picture}
<figcaption>${escapeHtml(caption)} <span class="file">laboratory/figures/${
		escapeHtml(name)
	}.svg</span></figcaption>
${values ? table(`Values: ${title}`, values.columns, values.rows, file, false) : ""}
</figure>`;
}

/** Table 1. */
function consistencyTable(laboratory: Laboratory): string {
	const found = laboratory.consistency!.result;
	const share = (value: number | null) => value === null ? "–" : { share: value };
	return table(
		"Table 1: overlaps",
		[
			"Pair",
			"Overlap",
			"Lower bound",
			"Upper bound",
			"Reverse",
			"Jaccard",
			"Overlaps",
			"None of the first kind",
		],
		found.pairs.map((pair) => [
			pairName(pair),
			share(pair.overlap),
			share(pair.minimum),
			share(pair.maximum),
			share(pair.reverse),
			share(pair.jaccard),
			pair.count,
			pair.withoutFirst,
		]),
		"laboratory/consistency.json",
	);
}

/** What two models share, in words and as a table. */
function comparisonSummary(laboratory: Laboratory): string {
	const found = laboratory.comparison!.result;
	const [first, second] = modelNames(found);
	return `<p>${escapeHtml(`The first model is ${first}, the second ${second}.`)}</p>
<ul>${comparisonWords(found).map((line) => `<li>${escapeHtml(line)}</li>`).join("")}</ul>
${comparisonTable(found, "laboratory/comparison.json")}`;
}

/** Writes finished analyses as one self-contained HTML page. */
export function renderLaboratory(laboratory: Laboratory): string {
	const all = laboratoryFigures(laboratory);
	const first = all[0] && laboratory[all[0].analysis]!;
	const name = plainText(first?.model.name ?? "no model");
	const sections = all.map(({ analysis, figures }) => {
		const { title, question } = TITLES[analysis], record = laboratory[analysis]!;
		const tokens = record.sequences.reduce((sum, { tokens }) => sum + tokens, 0);
		const file = `laboratory/${analysis}.json`;
		const definition = "definition" in record.result ? record.result.definition : null;
		return `<section id="${analysis}">
<h2>${escapeHtml(title)}</h2>
<p>${escapeHtml(question)} <span class="file">${file}</span></p>
<p class="count">${
			escapeHtml(
				`${count(record.sequences.length, "sequence")}, ${count(tokens, "token")}; ${
					plainText(record.device.name)
				}, ${record.device.dtype}`,
			)
		}</p>
${
			typeof definition === "string"
				? `<p class="count">${escapeHtml(definition)}</p>`
				: definition
				? table(
					"Definition",
					["What", "Value"],
					Object.entries(definition).map(([what, value]) => [what, JSON.stringify(value)]),
					file,
					false,
				)
				: ""
		}
${analysis === "consistency" ? consistencyTable(laboratory) : ""}
${analysis === "comparison" ? comparisonSummary(laboratory) : ""}
<nav class="figures">${
			figures.map(({ name, title }) =>
				`<a href="#figure_${escapeHtml(name)}">${escapeHtml(title)}</a>`
			)
				.join(" · ")
		}</nav>
${figures.map((figure) => figureHtml(figure, file)).join("\n")}
</section>`;
	});
	return pageOf({
		title: `Laboratory of systematic outliers: ${name}`,
		lead: `${
			count(all.length, "analysis").replace(/analysiss$/, "analyses")
		} of ${name}. Point at a mark to read its value.`,
		links: all.map(({ analysis }) => ({ id: analysis, title: TITLES[analysis].title })),
		content: sections.join("\n"),
		footer:
			"Made by Outlierscope from <code>laboratory/*.json</code>. Layers count from 1 here and from 0 in these files; " +
			"tokens, features, rows, columns, heads and experts from 0.",
	});
}
