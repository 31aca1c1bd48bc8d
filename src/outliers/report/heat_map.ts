// The layers-by-something heat map that several figures share: layer 1 at the bottom, tokens or heads
// along the other axis, every cell coloured by its value.

import {
	categoryAxis,
	colorAt,
	colorBar,
	type ColorRange,
	colorRange,
	draw,
	type Figure,
	grid,
	position,
	round,
	WIDTH,
} from "./chart.ts";
import { told } from "./marks.ts";
import { formatNumber, visibleText } from "./text.ts";
import type { AnalyzedSequence } from "../analysis.ts";

/** What a heat map shows. */
export interface HeatMap {
	/** Of the figure. */
	name: string;
	/** Of the figure. */
	title: string;
	/** Second line of the title. */
	subtitle: string;
	/** Of the figure. */
	caption: string;
	/** The layers' numbers, a row each. */
	layers: number[];
	/** Name of the other axis. */
	columnName: string;
	/** Labels of the other axis. */
	columns: string[];
	/** `rows[i][j]`: the value of layer `layers[i]` in column j. */
	rows: number[][];
	/** Whether colours go by the logarithm. */
	log: boolean;
	/** What the colours mean, with the unit. */
	valueName: string;
	/** How the colours' values are written. */
	formatter?: (value: number) => string;
}

const LEFT = 78, RIGHT = 132, TOP = 92;

/** Draws a heat map. */
export function heatMap(map: HeatMap): Figure {
	const { layers, columns, rows } = map;
	const range = colorRange(rows.flat(), map.log);
	const cell = Math.min(26, Math.max(6, 420 / Math.max(1, layers.length)));
	const plotHeight = Math.max(80, Math.round(cell * layers.length));
	// Labels lie flat as long as the longest finds room in its column.
	const longest = 7.5 * Math.max(1, ...columns.map((label) => [...label].length));
	const upright = longest + 6 > (WIDTH - LEFT - RIGHT) / Math.max(1, columns.length) &&
		columns.some((label) => !/^\d+$/.test(label));
	const labelRoom = upright ? longest : 16;
	const bottom = Math.round(labelRoom + 44);
	const across = categoryAxis(map.columnName, columns);
	return draw({
		...map,
		overlay: range === null ? "" : cells(map, range, plotHeight),
		height: TOP + plotHeight + bottom,
		option: range === null ? null : {
			grid: grid({ left: LEFT, right: RIGHT, top: TOP, bottom }),
			xAxis: {
				...across,
				nameGap: labelRoom + 16,
				axisLabel: {
					...across.axisLabel,
					rotate: upright ? 90 : 0,
					...(upright ? { interval: 0, fontSize: 11 } : {}),
				},
			},
			yAxis: {
				...categoryAxis("Layer", layers),
				nameGap: 44,
				axisLabel: { ...across.axisLabel, ...(cell >= 12 ? { interval: 0 } : {}) },
			},
			graphic: colorBar(range, TOP, plotHeight, map.valueName, map.formatter ?? formatNumber),
		},
	});
}

function cells(map: HeatMap, range: ColorRange, plotHeight: number): string {
	const { rows, formatter = formatNumber } = map,
		across = map.columnName.match(/^\w*/)![0].toLowerCase();
	const columns = Math.max(...rows.map((row) => row.length));
	const width = (WIDTH - LEFT - RIGHT) / columns, height = plotHeight / rows.length;
	// Cells overlap by half a pixel, so that nothing shines through between them.
	const w = round(width + 0.5), h = round(height + 0.5);
	return rows.flatMap((row, i) =>
		row.map((value, j) => {
			if (!Number.isFinite(value)) return "";
			const x = round(LEFT + j * width - 0.25),
				y = round(TOP + plotHeight - (i + 1) * height - 0.25);
			const fill = colorAt(position(value, range));
			return told(
				`<path d="M${x} ${y}l${w} 0l0 ${h}l-${w} 0Z" fill="${fill}"/>`,
				`Layer ${map.layers[i]}, ${across} ${map.columns[j] ?? j}: ${formatter(value)}`,
			);
		})
	).join("");
}

/** Axis labels of a sequence's first tokens: position and visible text. */
export function tokenLabels(sequence: AnalyzedSequence, length: number): string[] {
	return Array.from(
		{ length },
		(_, token) => `${token} ${visibleText(sequence.tokenTexts[token] ?? "?", 14)}`,
	);
}
