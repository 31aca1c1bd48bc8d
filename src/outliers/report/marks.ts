// The forms of the laboratory's figures: lines over layers with bounds, bars with intervals, and grids of signed or
// positive values. Each mark tells its value on hover; lines and bars give a table of their values too.

import type { Spread } from "../positions/spread.ts";
import {
	categoryAxis,
	colorAt,
	colorBar,
	type ColorRange,
	colorRange,
	draw,
	type Figure,
	grid,
	label,
	legend,
	line,
	position,
	round,
	valueAxis,
	WIDTH,
} from "./chart.ts";
import type { Cell } from "./tables.ts";
import { escapeHtml, formatNumber } from "./text.ts";

/** A figure with the values that it shows. */
export interface LaboratoryFigure extends Figure {
	/** Its values; none where there are too many to be read as a table. */
	table?: { columns: string[]; rows: Cell[][] };
}

/** What every figure is told. */
export interface FigureText {
	/** File name without its ending. */
	name: string;
	/** Title. */
	title: string;
	/** Second line of the title. */
	subtitle: string;
	/** How to read it. */
	caption: string;
	/** Why there may be nothing to draw. */
	nothing?: string;
}

/** A value with bounds, or none. */
export type Bounded = { value: number; low?: number; high?: number } | null;

/** Values of one name: a line, or a colour of bars. */
export interface Values {
	name: string;
	color: string;
	values: Bounded[];
	symbol?: string;
	dash?: "dashed" | "dotted";
}

/** What figures of lines and of bars share. */
export interface Plot extends FigureText {
	/** Name of the axis of categories. */
	across: string;
	/** The categories. */
	categories: (string | number)[];
	/** Name of the axis of values. */
	upward: string;
	/** Whether it is logarithmic; zeros are then left out. */
	log?: boolean;
	/** How values are written. */
	formatter?: (value: number) => string;
	/** The lines, or the bars. */
	values: Values[];
}

/** A mean with its bounds. */
export const bounded = (spread: Spread | null | undefined): Bounded =>
	spread ? { value: spread.mean, low: spread.minimum, high: spread.maximum } : null;

/** Values without bounds. */
export const alone = (values: readonly (number | null)[]): Bounded[] =>
	values.map((value) => value === null ? null : { value });

/** A shape that tells its value. */
export const told = (shape: string, text: string): string =>
	`${shape.replace(/\/>$/, ">")}<title>${escapeHtml(text)}</title></${
		shape.match(/^<(\w+)/)![1]
	}>\n`;

const LEFT = 92, RIGHT = 28, TOP = 96, BOTTOM = 58, HEIGHT = 420;
const PLOT = HEIGHT - TOP - BOTTOM;

interface Scale {
	low: number;
	high: number;
	step?: number;
	at: (value: number) => number;
}

/** The axis of values: round bounds around all, with 0 unless it is logarithmic. */
function scaleOf(plot: Plot): Scale | null {
	const all = plot.values.flatMap(({ values }) =>
		values.flatMap((each) =>
			each ? [each.value, each.low ?? each.value, each.high ?? each.value] : []
		)
	).filter((value) => Number.isFinite(value) && (!plot.log || value > 0));
	if (all.length === 0) return null;
	const smallest = all.reduce((a, b) => Math.min(a, b)),
		largest = all.reduce((a, b) => Math.max(a, b));
	if (plot.log) {
		const low = 10 ** Math.floor(Math.log10(smallest));
		const high = 10 ** Math.max(Math.ceil(Math.log10(largest)), Math.log10(low) + 1);
		const place = (value: number) =>
			Math.log10(Math.max(value, low) / low) / Math.log10(high / low);
		return { low, high, at: (value) => TOP + PLOT * (1 - place(value)) };
	}
	const least = Math.max(largest, 0) - Math.min(smallest, 0) || 1,
		power = 10 ** Math.floor(Math.log10(least / 5));
	const nice = power * [1, 2, 5, 10].find((factor) => factor * power >= least / 5)!;
	const step = all.every(Number.isInteger) ? Math.max(1, nice) : nice;
	const low = step * Math.floor(Math.min(smallest, 0) / step);
	const high = Math.max(low + step, step * Math.ceil(Math.max(largest, 0) / step));
	return { low, high, step, at: (value) => TOP + PLOT * (1 - (value - low) / (high - low)) };
}

const textOf = ({ formatter = formatNumber }: Plot, { value, low, high }: NonNullable<Bounded>) =>
	formatter(value) +
	(low === undefined || high === undefined || low === high
		? ""
		: ` (${formatter(low)} to ${formatter(high)})`);

function tableOf({ across, categories, values }: Plot): Pick<LaboratoryFigure, "table"> {
	if (categories.length > 60) return {};
	const hasBounds = values.map((line) =>
		line.values.some((each) => each?.low !== undefined && each.low !== each.high)
	);
	const cell = (value: number | undefined): Cell => value ?? "–";
	const table = {
		columns: [
			across,
			...values.flatMap(({ name }, i) =>
				hasBounds[i] ? [name, `${name}: lower`, `${name}: upper`] : [name]
			),
		],
		rows: categories.map((category, at) => [
			typeof category === "number" ? { index: category } : category,
			...values.flatMap((line, i) => {
				const each = line.values[at];
				return hasBounds[i]
					? [cell(each?.value), cell(each?.low), cell(each?.high)]
					: [cell(each?.value)];
			}),
		]),
	};
	return { table };
}

function axes(plot: Plot, scale: Scale) {
	const { low, high, step } = scale, across = categoryAxis(plot.across, plot.categories);
	const longest = 7 * Math.max(1, ...plot.categories.map((name) => String(name).length));
	const upright = longest > (WIDTH - LEFT - RIGHT) / plot.categories.length &&
		plot.categories.some((name) => typeof name === "string");
	const bottom = upright ? longest + 50 : BOTTOM;
	return {
		height: TOP + PLOT + bottom,
		option: {
			grid: grid({ left: LEFT, bottom }),
			legend: legend(plot.values.map(({ name }) => name)),
			xAxis: {
				...across,
				nameGap: bottom - 28,
				axisLine: { ...across.axisLine, onZero: false },
				axisLabel: { ...across.axisLabel, ...upright && { rotate: 90, interval: 0, fontSize: 11 } },
			},
			yAxis: {
				...valueAxis(plot.upward, plot.log ? "log" : "value", plot.formatter),
				min: low,
				max: high,
				...step !== undefined && { interval: step },
			},
		},
	};
}

const whisker = (x: number, low: number, high: number) =>
	`<path d="M${round(x)} ${round(low)}V${round(high)}M${round(x - 3)} ${round(low)}h6M${
		round(x - 3)
	} ${round(high)}h6" stroke="#444444" stroke-width="1" fill="none"></path>\n`;

/** Lines over layers or the like, with their bounds as whiskers. */
export function linesFigure(plot: Plot): LaboratoryFigure {
	const scale = scaleOf(plot);
	if (!scale) return draw({ ...plot, height: HEIGHT, option: null });
	const width = (WIDTH - LEFT - RIGHT) / plot.categories.length;
	const shown = ({ value }: NonNullable<Bounded>) =>
		Number.isFinite(value) && !(plot.log && value <= 0);
	const reversed = plot.values.toReversed(); // what is named first is drawn last, on top
	const marks = reversed.flatMap(({ name, values }) =>
		values.map((each, i) => {
			if (!each || !shown(each)) return "";
			const x = LEFT + (i + 0.5) * width, { value, low = value, high = value } = each;
			return (low < high ? whisker(x, scale.at(low), scale.at(high)) : "") + told(
				`<circle cx="${round(x)}" cy="${
					round(scale.at(value))
				}" r="7" fill="#000000" fill-opacity="0"/>`,
				`${name}, ${plot.across.toLowerCase()} ${plot.categories[i]}: ${textOf(plot, each)}`,
			);
		})
	);
	const { option, height } = axes(plot, scale);
	const figure = draw({
		...plot,
		height,
		overlay: marks.join(""),
		option: {
			...option,
			series: reversed.map(({ name, color, values, symbol, dash }) =>
				line(name, values.map((each) => each && shown(each) ? each.value : null), {
					color,
					...symbol !== undefined && { symbol },
					...dash && { dash },
				})
			),
		},
	});
	return { ...figure, ...tableOf(plot) };
}

/** Bars beside each other in each category, with intervals. */
export function barsFigure(plot: Plot): LaboratoryFigure {
	const scale = scaleOf(plot);
	if (!scale) return draw({ ...plot, height: HEIGHT, option: null });
	const { option, height } = axes(plot, scale);
	const width = (WIDTH - LEFT - RIGHT) / plot.categories.length, groups = plot.values.length;
	const bar = Math.min(48, 0.8 * width / groups);
	const zero = plot.log ? scale.at(scale.low) : scale.at(0);
	const marks = plot.values.flatMap(({ name, color, values }, group) =>
		values.map((each, i) => {
			if (!each || !Number.isFinite(each.value)) return "";
			const x = LEFT + (i + 0.5) * width + (group - groups / 2) * bar;
			const y = scale.at(each.value), { low, high } = each;
			return told(
				`<rect x="${round(x)}" y="${round(Math.min(y, zero))}" width="${round(bar - 1)}" height="${
					round(Math.max(1, Math.abs(zero - y)))
				}" fill="${color}"/>`,
				`${plot.categories[i]}, ${name}: ${textOf(plot, each)}`,
			) + (low !== undefined && high !== undefined && low < high
				? whisker(x + bar / 2, scale.at(low), scale.at(high))
				: "");
		})
	);
	const figure = draw({
		...plot,
		height,
		overlay: marks.join(""),
		option: {
			...option,
			// The bars themselves are drawn over it: these give the legend its colours.
			series: plot.values.map(({ name, color }) => ({ type: "bar", name, color, data: [] })),
		},
	});
	return { ...figure, ...tableOf(plot) };
}

/** A grid of values. */
export interface Grid extends FigureText {
	/** Names of the axes. */
	across: string;
	downward: string;
	/** Labels, the first row on top. */
	columns: (string | number)[];
	rows: (string | number)[];
	/** `values[i][j]`: row i, column j; null where there is none. */
	values: (number | null)[][];
	/** What a value is. */
	valueName: string;
	/** Signed values go from blue over white to red; others by magnitude, or its logarithm. */
	colors: "signed" | "magnitude" | "log";
	formatter?: (value: number) => string;
}

const NEGATIVE = [33, 102, 172], POSITIVE = [178, 24, 43];

/** Blue below 0, white at 0, red above; by the root, so that small values can be told from none. */
function signedColor(value: number, largest: number): string {
	const share = largest > 0 ? Math.sqrt(Math.abs(value) / largest) : 0;
	const end = value < 0 ? NEGATIVE : POSITIVE;
	return `rgb(${end.map((channel) => Math.round(255 + share * (channel - 255)))})`;
}

/**
 * A logarithmic range from the median on: what is ordinary gets one colour, as values near zero would else take most
 * of the scale, and outliers the rest.
 */
function fromMedian(range: ColorRange, values: readonly number[]): ColorRange {
	const positive = values.filter((value) => value > 0).sort((a, b) => a - b);
	const median = positive[Math.floor((positive.length - 1) / 2)]!;
	return { ...range, low: Math.max(range.low, Math.min(median, range.high / 10)) };
}

/** A grid whose cells tell their values. */
export function gridFigure(of: Grid): LaboratoryFigure {
	const { columns, rows, values, formatter = formatNumber } = of;
	const finite = values.flat().filter((value) =>
		value !== null && Number.isFinite(value)
	) as number[];
	const log = of.colors === "log";
	const whole = colorRange(of.colors === "signed" ? finite.map(Math.abs) : finite, log);
	const range = log && whole ? fromMedian(whole, finite) : whole;
	// The least colour is that of all values below, too.
	const keyed = (value: number) =>
		`${range!.low > whole!.low && value === range!.low ? "≤ " : ""}${formatter(value)}`;
	if (!range || rows.length === 0) return draw({ ...of, height: HEIGHT, option: null });
	const names = (labels: readonly (string | number)[]) =>
		Math.max(...labels.map((each) => [...String(each)].length));
	const left = Math.min(260, Math.max(78, 7.2 * names(rows) + 40)), right = 132;
	const cell = Math.min(26, Math.max(4, 420 / rows.length)),
		height = Math.max(80, Math.round(cell * rows.length));
	const width = (WIDTH - left - right) / columns.length, longest = 7 * names(columns);
	const upright = longest + 4 > width && columns.some((each) => typeof each === "string");
	const room = upright ? longest : 16, bottom = Math.round(room + 44), top = 92;
	const marks = values.flatMap((row, i) =>
		row.map((value, j) => {
			if (value === null || !Number.isFinite(value)) return "";
			const color = of.colors === "signed"
				? signedColor(value, range.high)
				: colorAt(position(value, range));
			return told(
				`<rect x="${round(left + j * width)}" y="${round(top + i * height / rows.length)}" width="${
					round(width + 0.3)
				}" height="${round(height / rows.length + 0.3)}" fill="${color}"/>`,
				`${of.downward} ${rows[i]}, ${of.across.toLowerCase()} ${columns[j]}: ${formatter(value)}`,
			);
		})
	);
	const across = categoryAxis(of.across, columns);
	const keys = of.colors === "signed"
		? signedKey(range.high, top, height, of.valueName, formatter)
		: null;
	return draw({
		...of,
		height: top + height + bottom,
		overlay: (keys?.overlay ?? "") + marks.join(""),
		option: {
			grid: grid({ left, right, top, bottom }),
			xAxis: {
				...across,
				nameGap: room + 16,
				axisLabel: {
					...across.axisLabel,
					...upright && { rotate: 90, fontSize: 11, ...width >= 9 && { interval: 0 } },
				},
			},
			yAxis: {
				...categoryAxis(of.downward, rows),
				inverse: true,
				nameGap: left - 22,
				axisLabel: { color: "#222222", fontSize: 11, ...cell >= 11 && { interval: 0 } },
			},
			graphic: keys?.labels ?? colorBar(range, top, height, of.valueName, keyed),
		},
	});
}

function signedKey(
	largest: number,
	top: number,
	height: number,
	name: string,
	formatter: (value: number) => string,
) {
	const left = WIDTH - 96, steps = 40, ticks = [1, 0.25, 0, -0.25, -1];
	// Places go by the root, as colours do: a quarter of the largest value stands half-way.
	const at = (share: number) => Math.sign(share) * share ** 2 * largest;
	return {
		overlay: Array.from(
			{ length: steps },
			(_, i) =>
				`<path d="M${left} ${round(top + i * height / steps)}h14v${
					round(height / steps + 0.3)
				}h-14Z" fill="${signedColor(at(1 - 2 * (i + 0.5) / steps), largest)}"></path>\n`,
		).join(""),
		labels: [
			...ticks.map((tick) =>
				label(
					formatter(tick * largest),
					left + 20,
					top + height * (1 - Math.sign(tick) * Math.sqrt(Math.abs(tick))) / 2,
				)
			),
			label(name, left, top - 16),
		],
	};
}
