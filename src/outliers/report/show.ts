// Findings that show themselves in a notebook, whose kernel asks a value for its forms.

import type { Analysis } from "../analysis.ts";
import type { Ablation } from "../interventions/ablate.ts";
import type { Laboratory } from "../laboratory.ts";
import type { Causes } from "../lifecycle/trace_causes.ts";
import type { Disappearance, Emergence } from "../lifecycle/trace_mlp_layers.ts";
import type { SpreadTrace } from "../lifecycle/trace_spread.ts";
import { causeFigures } from "./cause_figures.ts";
import type { Figure } from "./chart.ts";
import { renderFigures } from "./figures.ts";
import { laboratoryFigures } from "./laboratory_page.ts";
import { disappearanceFigures, emergenceFigures, spreadFigures } from "./lifecycle_figures.ts";
import { type Cell, table } from "./tables.ts";
import { escapeHtml, formatNumber, plainText } from "./text.ts";
import { findings, headline } from "./words.ts";

/** A row of a table: names of columns, and plain values. */
export type ShownRow = Readonly<Record<string, string | number | boolean | null>>;

/** What {@linkcode show} takes. */
export type Showable =
	| Analysis
	| Laboratory
	| Emergence
	| SpreadTrace
	| Disappearance
	| Causes
	| Ablation
	| Figure
	| readonly Figure[]
	| readonly ShownRow[];

/** Options of {@linkcode show}. */
export interface ShowOptions {
	/** Names of the figures to show, or parts of them. @default {all} */
	only?: readonly string[];
	/** Texts of the traced sequence's tokens, for a trace. */
	tokens?: readonly string[];
	/** The model's name, for a trace. */
	model?: string;
}

/** Something that shows itself: as the last value of a notebook's cell, or written by `console.log`. */
export class Shown {
	/** As text. */
	readonly text: string;
	/** As HTML, self-contained. */
	readonly html: string;
	/** The pictures. */
	readonly figures: readonly Figure[];

	/** Made by {@linkcode show}. */
	constructor(text: string, html: string, figures: readonly Figure[]) {
		this.text = text;
		this.html = html;
		this.figures = figures;
	}

	/** The forms that a notebook chooses from: text, HTML, and a picture that is alone as SVG. */
	[Symbol.for("Jupyter.display")](): Record<string, string> {
		const bundle: Record<string, string> = { "text/plain": this.text, "text/html": this.html };
		if (this.figures.length === 1) bundle["image/svg+xml"] = this.figures[0]!.svg;
		return bundle;
	}

	/** What `console.log` writes. */
	[Symbol.for("Deno.customInspect")](): string {
		return this.text;
	}
}

function figuresOf(
	found: Exclude<Showable, readonly unknown[] | Ablation>,
	options: ShowOptions,
): Figure[] {
	const text = { model: options.model ?? "", tokens: options.tokens ?? [] };
	if ("svg" in found) return [found];
	if ("hiddenState" in found) return renderFigures(found);
	if ("links" in found) return causeFigures(found, text.model);
	if ("attention" in found) return spreadFigures(found, text);
	if ("left" in found) return disappearanceFigures(found, text);
	if ("mlp" in found) return emergenceFigures(found, text);
	return laboratoryFigures(found).flatMap(({ figures }) => figures);
}

function showRows(rows: readonly ShownRow[]): Shown {
	const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
	const cells = rows.map((row) =>
		columns.map((column): Cell => {
			const value = row[column];
			return typeof value === "number" ? value : value === undefined ? "" : String(value);
		})
	);
	const lines = [
		columns,
		...cells.map((row) =>
			row.map((cell) => typeof cell === "number" ? formatNumber(cell) : String(cell))
		),
	];
	const widths = columns.map((_, i) => Math.max(...lines.map((line) => [...line[i]!].length)));
	const text = lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i]!)).join("  "));
	return new Shown(
		text.map((line) => line.trimEnd()).join("\n"),
		table("Rows", columns, cells, "the list", true),
		[],
	);
}

/** What an ablation does to the loss, beside its control. */
function ablationRows({ effect, controlEffect, beyondControl }: Ablation): ShownRow[] {
	const rows = {
		"what was chosen": effect,
		"its control": controlEffect,
		"beyond it": beyondControl,
	};
	return Object.entries(rows).map(([change, of]) => ({
		change,
		"loss, nats": of?.mean ?? null,
		"95 % from": of?.interval[0] ?? null,
		"to": of?.interval[1] ?? null,
		sequences: of?.count ?? 0,
	}));
}

/**
 * Makes a finding show itself in a notebook: its words, its figures, its table. The findings themselves are plain data.
 *
 * @param found an analysis, the laboratory's results, a trace, an ablation, figures, or rows of a table
 *
 * @example The figure of the hidden states' largest values, as a cell's last line
 * ```ts ignore
 * import { detectOutliers, loadModel, show } from "@outlierscope/outlierscope";
 * using model = await loadModel("models/box");
 * show(await detectOutliers(model), { only: ["hidden_state_layers"] })
 * ```
 *
 * @throws {RangeError} if there is no figure, or none that is named so
 */
export function show(found: Showable, options: ShowOptions = {}): Shown {
	if (Array.isArray(found) && !(found[0] && "svg" in found[0])) {
		return showRows(found as readonly ShownRow[]);
	}
	if ("beyondControl" in found) return showRows(ablationRows(found));
	const all = Array.isArray(found)
		? found as readonly Figure[]
		: figuresOf(found as Exclude<Showable, readonly unknown[] | Ablation>, options);
	const figures = all.filter(({ name }) =>
		options.only?.some((part) => name.includes(part)) ?? true
	);
	if (figures.length === 0) {
		throw new RangeError(
			all.length === 0
				? "Cannot show this: it has no figures"
				: `Cannot show "${options.only!.join('" or "')}": the figures are ${
					all.map(({ name }) => name).join(", ")
				}`,
		);
	}
	const words = "hiddenState" in found
		? [headline(found), ...findings(found).map(({ kind, text }) => `${kind}: ${text}`)]
		: [];
	return new Shown(
		[...words, ...figures.map(({ title, caption }) => `${title}. ${caption}`)].map(plainText)
			.join("\n"),
		words.map((line) => `<p>${escapeHtml(plainText(line))}</p>\n`).join("") +
			figures.map(({ svg, caption }) =>
				`<figure>${svg}<figcaption>${escapeHtml(caption)}</figcaption></figure>`
			).join("\n"),
		figures,
	);
}
