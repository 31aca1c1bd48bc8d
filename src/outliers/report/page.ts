// The report as one HTML page that opens from disk: words first, then figures and tables. It loads
// nothing and is complete without its script, which only sorts tables and opens them for printing.

import type { Analysis } from "../analysis.ts";
import { places } from "./activation_figures.ts";
import type { Figure } from "./chart.ts";
import {
	activationTable,
	attentionTable,
	outlierTables,
	sequenceTable,
	table,
	weightTables,
} from "./tables.ts";
import { escapeHtml, formatNumber, formatShare, join, plainText } from "./text.ts";
import { findings, headline, reachabilityNote, testName } from "./words.ts";

/** Writes an analysis and its figures as one self-contained HTML page. */
export function renderPage(analysis: Analysis, figures: Figure[]): string {
	const name = plainText(analysis.model.name);
	const [hidden, down] = places(analysis);
	const sections = [
		{
			id: "hidden_state",
			title: "Hidden states",
			tables: activationTable(analysis, hidden) +
				outlierTables(analysis, analysis.summary.hiddenState),
		},
		{
			id: "down_input",
			title: "Down-projection inputs",
			tables: activationTable(analysis, down) + outlierTables(analysis, analysis.summary.downInput),
		},
		{ id: "token_classes", title: "Token classes", tables: "" },
		{ id: "weights", title: "Weights", tables: weightTables(analysis) },
		{ id: "attention", title: "Attention", tables: attentionTable(analysis) },
	];
	const title = `Systematic outliers in ${name}`;
	const content = `
<dl class="findings">
${
		findings(analysis).map(({ kind, text }) =>
			`<dt>${escapeHtml(kind)}</dt><dd>${escapeHtml(text)}</dd>`
		).join("\n")
	}
</dl>
<section id="facts">
<h2>Facts</h2>
${facts(analysis)}
<h3>What the tests can reach</h3>
<p>${escapeHtml(reachabilityNote(analysis.criteria.reachability, analysis.criteria.tau))}</p>
${
		table(
			"Limits of the tests",
			["Test", "Largest possible ratio", "Can exceed τ"],
			analysis.criteria.reachability.map(({ test, limit, reachable }) => [
				testName(test),
				limit,
				reachable ? "yes" : "no",
			]),
		)
	}
</section>
${
		sections.map(({ id, title, tables }) =>
			`<section id="${id}">
<h2>${escapeHtml(title)}</h2>
${figures.filter((figure) => figure.name.startsWith(id)).map(figureHtml).join("\n")}
${tables}
</section>`
		).join("\n")
	}
<section id="sequences">
<h2>Sequences</h2>
${sequenceTable(analysis)}
</section>`;
	return pageOf({
		title,
		lead: headline(analysis),
		links: [...sections, { id: "sequences", title: "Sequences" }],
		content,
		footer: `Made by Outlierscope from <code>analysis.json</code> (format version ${
			escapeHtml(String(analysis.version))
		}), ${
			escapeHtml(analysis.created)
		}. Layers count from 1; tokens, features, rows, columns, heads and sequences from 0.`,
	});
}

/** What a page is made of. */
export interface PageParts {
	/** Title, as text. */
	title: string;
	/** The sentence under it, as text. */
	lead: string;
	/** Where the navigation leads. */
	links: { id: string; title: string }[];
	/** Its sections, as HTML. */
	content: string;
	/** The last line, as HTML. */
	footer: string;
}

/** A self-contained page around sections. */
export function pageOf({ title, lead, links, content, footer }: PageParts): string {
	return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>${escapeHtml(title)}</h1>
<p class="lead">${escapeHtml(lead)}</p>
<nav aria-label="Sections">${
		links.map(({ id, title }) => `<a href="#${id}">${escapeHtml(title)}</a>`).join(" · ")
	}</nav>
</header>
<main id="content" tabindex="-1">${content}
</main>
<footer>${footer}</footer>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

/** A figure as a part of a page. */
export function figureHtml({ name, title, caption, svg }: Figure): string {
	const picture = svg.replace("<svg ", `<svg role="img" aria-label="${escapeHtml(title)}" `);
	return `<figure id="figure_${escapeHtml(name)}">
${picture}
<figcaption>${escapeHtml(caption)} <span class="file">figures/${
		escapeHtml(name)
	}.svg</span></figcaption>
</figure>`;
}

function facts({ model, device, criteria, sequences, created }: Analysis): string {
	const tokens = sequences.map(({ tokenIds }) => tokenIds.length);
	const rows = [
		["Model", `${model.name} (${model.file})`],
		[
			"Architecture",
			`${model.architecture}: ${model.layers} layers, hidden size ${
				formatNumber(model.hiddenSize)
			}, ` +
			`MLP width ${formatNumber(model.intermediateSize)}, ${model.heads} heads ` +
			`(${model.keyValueHeads} key-value) of width ${model.headDimension}`,
		],
		[
			"Size",
			`${formatNumber(model.parameters)} parameters, vocabulary ${
				formatNumber(model.vocabularySize)
			}, context ${formatNumber(model.contextLength)} tokens`,
		],
		[
			"Stored as",
			join(
				Object.entries(model.storage).sort(([, a], [, b]) => b - a).map(([type, number]) =>
					`${type} (${formatNumber(number)})`
				),
			),
		],
		[
			"Device",
			`${device.name}, ${
				device.kind === "cuda" ? "NVIDIA GPU" : "host driver"
			}, matrix products in ` +
			device.dtype,
		],
		[
			"Text",
			`${formatNumber(tokens.reduce((a, b) => a + b, 0))} tokens in ${sequences.length} ` +
			`sequence${sequences.length === 1 ? "" : "s"}${
				tokens.length > 1 ? `, ${Math.min(...tokens)} to ${Math.max(...tokens)} each` : ""
			}`,
		],
		[
			"Criteria",
			`activations: |x| > τ · mean|x|; weights: |w| > τ · mean|row|; τ = ${
				formatNumber(criteria.tau)
			}. Attention: cumulative attention ≥ ρ of its head's sum; ρ = ${
				formatShare(criteria.attentionShare)
			}`,
		],
		["Finished", created],
	];
	return `<table class="facts"><tbody>\n${
		rows.map(([name, value]) =>
			`<tr><th scope="row">${name}</th><td>${escapeHtml(plainText(value))}</td></tr>`
		).join("\n")
	}\n</tbody></table>`;
}

/** The look of pages, light and dark. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #222; --soft: #5a5a5a; --line: #ddd; --paper: #fff; --band: #f5f6f8; --link: #0062a3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a8a8a8; --line: #444; --paper: #1b1c1e; --band: #26282b; --link: #7cc0f0; }
}
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 960px; color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; padding-top: .5rem; border-top: 2px solid var(--line); }
h3 { margin: 1.5rem 0 .25rem; }
a { color: var(--link); }
.skip { position: absolute; left: -99rem; }
.skip:focus { position: static; }
main:focus { outline: none; }
.figures { font-size: .85rem; }
svg [fill-opacity="0"]:hover { fill-opacity: .25; }
.lead { font-size: 1.2rem; margin: 0 0 1rem; }
.findings { background: var(--band); padding: .75rem 1rem; margin: 0 0 1rem; border-radius: 6px; }
.findings dt { font-weight: 600; }
.findings dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.75rem; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figcaption, .none, footer, .file, .count { color: var(--soft); font-size: .9rem; }
figcaption { margin-top: .4rem; }
.file { font-family: ui-monospace, monospace; font-size: .8rem; overflow-wrap: anywhere; }
details { margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
.count { font-weight: 400; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
th, td { text-align: left; padding: .25rem .75rem; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
thead th { white-space: nowrap; overflow-wrap: normal; background: var(--band); }
.sortable { cursor: pointer; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts th { white-space: nowrap; }
code { font-family: ui-monospace, monospace; background: var(--band); padding: 0 .2em; border-radius: 3px; unicode-bidi: isolate; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .75rem; }
/* Figures are drawn for a light page: on a dark one lightness is turned over, and hues stay. */
@media screen and (prefers-color-scheme: dark) {
  figure svg { filter: invert(.89) hue-rotate(180deg); border-color: #ccc; }
}
@media print {
  body { max-width: none; font-size: 11pt; }
  figcaption, table { font-size: 9pt; }
  nav { display: none; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
}
`;

/** Sorts tables, and opens them for printing. */
export const SCRIPT = `
for (const head of document.querySelectorAll("thead th")) {
  head.className += " sortable";
  head.title = "Sort by this column";
  head.tabIndex = 0;
  head.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    head.click();
  };
  head.onclick = () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const key = (row) => {
      const cell = row.cells[column];
      return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
    };
    const order = head.dataset.order = head.dataset.order === "down" ? "up" : "down";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order === "up" ? "ascending" : "descending");
    const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)));
    body.append(...(order === "up" ? rows : rows.reverse()));
  };
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => part.open = true));
`;
