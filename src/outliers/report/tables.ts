// The tables of the report's page: the strongest values of each kind with their places, and a small
// HTML table writer that escapes every cell.

import type { ActivationSummary, Analysis } from "../analysis.ts";
import type { Place } from "./activation_figures.ts";
import { escapeHtml, formatNumber, formatShare, plainText, visibleText } from "./text.ts";

/** A cell: text, a number (shown shortened, sorted exactly), or a token's text. */
export type Cell = string | number | { token: string } | { share: number } | { index: number };

/** Rows that a table shows at most. */
const ROWS = 40;

/**
 * A table as HTML, or a sentence if there are no rows.
 *
 * @param file where the rows are that it does not show
 * @param open whether it is open at first; by default if it is short
 */
export function table(
	title: string,
	columns: string[],
	rows: Cell[][],
	file = "analysis.json",
	open = rows.length <= 12,
): string {
	if (rows.length === 0) return `<p class="none">${escapeHtml(title)}: none.</p>`;
	const shown = rows.slice(0, ROWS);
	const heads = columns.map((column, i) =>
		`<th scope="col"${isText(shown[0][i]) ? "" : ' class="number"'}>${escapeHtml(column)}</th>`
	);
	const body = shown.map((row) => `<tr>${row.map(cellHtml).join("")}</tr>`).join("\n");
	const more = rows.length > ROWS
		? `<p class="none">${formatNumber(rows.length - ROWS)} more in ${escapeHtml(file)}.</p>`
		: "";
	return `<details${open ? " open" : ""}><summary>${escapeHtml(title)} ` +
		`<span class="count">${shown.length}</span></summary>\n<div class="scroll"><table>\n` +
		`<thead><tr>${
			heads.join("")
		}</tr></thead>\n<tbody>\n${body}\n</tbody></table></div>${more}</details>`;
}

function isText(cell: Cell): boolean {
	return typeof cell === "string" || (typeof cell === "object" && "token" in cell);
}

function cellHtml(cell: Cell): string {
	if (typeof cell === "string") return `<td>${escapeHtml(cell)}</td>`;
	if (typeof cell === "object" && "token" in cell) {
		return `<td><code>${escapeHtml(visibleText(cell.token, 40))}</code></td>`;
	}
	const [value, text] = typeof cell === "number"
		? [cell, formatNumber(cell)]
		: "share" in cell
		? [cell.share, formatShare(cell.share)]
		: [cell.index, String(cell.index)];
	return `<td class="number" data-value="${value}">${escapeHtml(text)}</td>`;
}

function tokenCells({ sequences }: Analysis, sequence: number, token: number): Cell[] {
	return [
		{ token: sequences[sequence]?.tokenTexts[token] ?? "" },
		{ index: token },
		plainText(sequences[sequence]?.source ?? String(sequence)),
	];
}

/** The largest value of every layer and feature among the top lists, by ratio to the mean. */
export function activationTable(analysis: Analysis, place: Place): string {
	const best = new Map<string, { ratio: number; cells: Cell[] }>();
	for (const { layer, sequences } of place.data.layers) {
		for (const { sequence, mean, top } of sequences) {
			for (const { value, token, feature } of top) {
				const ratio = Math.abs(value) / mean, key = `${layer} ${feature}`;
				if (!(ratio > (best.get(key)?.ratio ?? 0))) continue;
				best.set(key, {
					ratio,
					cells: [
						{ index: layer },
						{ index: feature },
						...tokenCells(analysis, sequence, token),
						value,
						ratio,
						ratio > analysis.criteria.tau ? "yes" : "no",
					],
				});
			}
		}
	}
	return table(
		"Largest activations, one a layer and feature",
		["Layer", "Feature", "Token", "Position", "Sequence", "Value", "× mean", "Above τ"],
		[...best.values()].sort((a, b) => b.ratio - a.ratio).slice(0, ROWS).map(({ cells }) => cells),
	);
}

/** The features and the tokens that have outliers. */
export function outlierTables(analysis: Analysis, summary: ActivationSummary): string {
	return table(
		"Features with outliers",
		["Feature", "Layers × sequences"],
		summary.features.map(({ feature, count }) => [{ index: feature }, count]),
	) + table(
		"Tokens with outliers",
		["Token", "Position", "Sequence", "Token id", "Layers"],
		summary.tokens.map(({ sequence, token, id, text, layers }) => [
			{ token: text },
			...tokenCells(analysis, sequence, token).slice(1),
			{ index: id },
			{ index: layers },
		]),
	);
}

/** The largest weights, and the columns of the down projections. */
export function weightTables({ weights, criteria }: Analysis): string {
	const largest = weights.flatMap(({ layer, projection, top }) =>
		top.map((weight) => ({ layer, projection, ...weight }))
	).sort((a, b) => b.ratio - a.ratio).slice(0, ROWS);
	const columns = weights.filter(({ projection }) => projection === "down")
		.flatMap(({ layer, topColumns, medianColumnRatio }) =>
			topColumns.map((column) => ({ layer, medianColumnRatio, ...column }))
		).sort((a, b) => b.ratio - a.ratio).slice(0, ROWS);
	return table(
		"Largest weights",
		["Layer", "Projection", "Row", "Column", "Value", "× row mean", "Above τ"],
		largest.map(({ layer, projection, row, column, value, ratio }) => [
			{ index: layer },
			projection,
			{ index: row },
			{ index: column },
			value,
			ratio,
			ratio > criteria.tau ? "yes" : "no",
		]),
	) + table(
		"Largest columns of the down projections",
		["Layer", "Column", "max / mean", "Median column of the layer"],
		columns.map(({ layer, index, ratio, medianColumnRatio }) => [
			{ index: layer },
			{ index },
			ratio,
			medianColumnRatio,
		]),
	);
}

/** The heads that give the most to one key: the largest share of each layer and head. */
export function attentionTable(analysis: Analysis): string {
	const best = new Map<string, { share: number; cells: Cell[] }>();
	for (const { layer, sequence, heads } of analysis.attention) {
		for (const { head, top } of heads) {
			const key = `${layer} ${head}`;
			if (!top.length || top[0].share <= (best.get(key)?.share ?? 0)) continue;
			const { share, value, token } = top[0];
			best.set(key, {
				share,
				cells: [
					{ index: layer },
					{ index: head },
					...tokenCells(analysis, sequence, token),
					value,
					{ share },
				],
			});
		}
	}
	return table(
		"Largest shares of attention on one key, one a layer and head",
		["Layer", "Head", "Key token", "Position", "Sequence", "Cumulative attention", "Share"],
		[...best.values()].sort((a, b) => b.share - a.share).slice(0, ROWS).map(({ cells }) => cells),
	);
}

/** The analyzed sequences. */
export function sequenceTable({ sequences }: Analysis): string {
	return table(
		"Sequences",
		["Sequence", "Source", "Tokens", "Begins with"],
		sequences.map(({ source, tokenIds, tokenTexts }, i) => [
			{ index: i },
			plainText(source),
			{ index: tokenIds.length },
			plainText(tokenTexts.slice(0, 24).join("")),
		]),
	);
}
