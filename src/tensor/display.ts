// Tensors in notebooks: the text that is printed, and a table whose cells are coloured by sign and size.

import { type Excerpt, excerpt, head, print } from "./print.ts";
import { rowMajor } from "./strides.ts";
import type { Tensor } from "./tensor.ts";

/** Tensors of more elements are shown in part: a table takes more room than text. */
const MOST = 200;

/** How strong the colour of the largest value is: the page's own text stays readable on it, light or dark. */
const STRONGEST = 0.45;
// Red above zero and blue below; what is no number is yellow.
const ABOVE = "214,69,55", BELOW = "52,120,216", ODD = "230,190,0";

const CELL = "text-align:right;font-family:monospace;white-space:nowrap;padding:.15em .5em;";
const INDEX = "text-align:right;font-weight:normal;opacity:.65;padding:.15em .5em;";

function escape(text: string): string {
	return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** An axis of what is shown: each entry's index in the tensor, null for those that are left out between. */
function indices(extent: number, end: number): (number | null)[] {
	const all = (count: number, from: number) => Array.from({ length: count }, (_, i) => from + i);
	return end === 0 ? all(extent, 0) : [...all(end, 0), null, ...all(end, extent - end)];
}

function cell(x: number, text: string, largest: number): string {
	const share = largest > 0 ? Math.abs(x) / largest : 0;
	const colour = Number.isFinite(x)
		? `${x < 0 ? BELOW : ABOVE},${(STRONGEST * share).toFixed(3)}`
		: `${ODD},${STRONGEST}`;
	return `<td style="${CELL}background:rgba(${colour})">${escape(text)}</td>`;
}

/** One table for each matrix of the last two axes. */
function tables({ shape: extents }: Tensor, { ends, shape, numbers, texts }: Excerpt): string {
	const rank = shape.length, strides = rowMajor(shape);
	const largest = numbers.reduce(
		(most, x) => Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most,
		0,
	);
	const axes = extents.map((extent, axis) => indices(extent, ends[axis]!));
	/** The entries along an axis: index, and where it begins in what is shown; null for those left out. */
	const along = (axis: number, begin: number) => {
		let at = begin - strides[axis]!;
		return axes[axis]!.map((index) => index === null ? null : { index, at: at += strides[axis]! });
	};
	const gap = `<td style="${CELL}">…</td>`;
	const row = (begin: number) =>
		rank === 0
			? cell(numbers[0]!, texts[0]!, largest)
			: along(rank - 1, begin).map((entry) =>
				entry ? cell(numbers[entry.at]!, texts[entry.at]!, largest) : gap
			).join("");
	const name = (scope: string, index: number | string) =>
		`<th scope="${scope}" style="${INDEX}">${index}</th>`;
	const columns = rank === 0
		? ""
		: `<thead><tr>${rank > 1 ? "<td></td>" : ""}${
			axes[rank - 1]!.map((index) => name("col", index ?? "…")).join("")
		}</tr></thead>`;
	const rows = (begin: number) =>
		rank < 2
			? `<tr>${row(begin)}</tr>`
			: along(rank - 2, begin).map((entry) =>
				entry
					? `<tr>${name("row", entry.index)}${row(entry.at)}</tr>`
					: `<tr>${name("row", "…")}${axes[rank - 1]!.map(() => gap).join("")}</tr>`
			).join("");
	const matrices = (axis: number, begin: number, outer: readonly number[]): string => {
		if (axis < rank - 2) {
			return along(axis, begin).map((entry) =>
				entry ? matrices(axis + 1, entry.at, [...outer, entry.index]) : "<div>…</div>"
			).join("");
		}
		const caption = outer.length > 0
			? `<caption style="text-align:left">[${outer.join(", ")}, :, :]</caption>`
			: "";
		return `<table style="border-collapse:collapse;margin:.3em 0">${caption}${columns}` +
			`<tbody>${rows(begin)}</tbody></table>`;
	};
	return matrices(0, 0, []);
}

/** The forms that a notebook chooses from. Does not throw. */
export function display(x: Tensor): Record<string, string> {
	const shown = excerpt(x, MOST);
	const words = `${head(x)}${typeof shown === "string" ? `, ${shown}` : ""}`;
	return {
		"text/plain": print(x),
		"text/html": `<div style="overflow:auto;max-height:30em"><div>${escape(words)}</div>${
			typeof shown === "string" ? "" : tables(x, shown)
		}</div>`,
	};
}
