// |h| of a short text by token and channel, a map a variant (the paper's Figures 10 and 23, seen from above).

import {
	colorAt,
	colorBar,
	colorRange,
	COLORS,
	draw,
	type Figure,
	label,
	position,
	round,
} from "../report/chart.ts";
import { escapeHtml, visibleText } from "../report/text.ts";
import type { CompareResults } from "./experiment.ts";
import { byVariant } from "./spread.ts";

const LEFT = 16, TOP = 70, RIGHT = 120, WIDTH = 900, ROW = 11, GAP = 46, LABELS = 64;

/** Draws the maps of the first seed. */
export function mapsFigure(results: CompareResults): Figure {
	const maps = byVariant(results).flatMap(([name, [piece]]) =>
		piece?.map ? [{ name, map: piece.map }] : []
	);
	const { tokens, layer, channels } = maps[0]!.map;
	const { high } = colorRange(maps.flatMap(({ map }) => map.values.flat()), true)!;
	const range = { low: high / 300, high, log: true }; // all below is as light
	const columns = Math.min(2, maps.length), rows = Math.ceil(maps.length / columns);
	const block = (WIDTH - LEFT - RIGHT) / columns, height = ROW * tokens.length;
	const width = block - LABELS - 14;
	const parts = maps.flatMap(({ name, map: { values } }, i) => {
		const left = LEFT + (i % columns) * block + LABELS;
		const top = TOP + GAP / 2 + Math.floor(i / columns) * (height + GAP);
		const text = (content: string, x: number, y: number, anchor: string, size: number) =>
			`<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-size="${size}" ` +
			`font-family="system-ui, 'DejaVu Sans', sans-serif" fill="${COLORS.black}">${
				escapeHtml(content)
			}</text>\n`;
		const step = width / values[0]!.length;
		return [
			text(name, left, top - 6, "start", 13),
			...tokens.map((token, t) =>
				text(visibleText(token, 9), left - 5, top + ROW * (t + 0.8), "end", 9)
			),
			...values.flatMap((row, t) =>
				row.map((value, j) => {
					const fill = colorAt(position(value, range));
					return `<path d="M${round(left + j * step)} ${top + ROW * t}h${round(step + 0.3)}v${
						ROW + 0.3
					}H${round(left + j * step)}Z" fill="${fill}"></path>\n`;
				})
			),
		];
	});
	const from = layer < 0 ? "the embeddings" : `the output of layer ${layer + 1}`;
	return draw({
		name: "maps",
		title: "Activations of a short text by token and channel",
		subtitle: `|h| of ${from}, seed ${results.seeds[0]}`,
		caption: `A map a variant, tokens from top to bottom, channels from left to right` +
			`${
				channels > 1 ? `, the largest of ${channels} channels a column` : ""
			}; all with the same colours. ` +
			`An outlier is a strong dot, in the same column for the tokens that share it.`,
		height: TOP + rows * (height + GAP) + 10,
		overlay: parts.join(""),
		option: {
			graphic: [
				...colorBar(range, TOP + 30, Math.max(120, Math.min(240, height)), "|h|"),
				label("", 0, 0),
			],
		},
	});
}
