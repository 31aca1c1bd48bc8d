// One look for all figures: size, colours, axes, colour bar, and the way from an ECharts option to an
// SVG text that is the same for the same input. What a figure shows is decided elsewhere.

// The bundle in one file loads in half the time of the package's modules, but has no types of its own.
// @ts-types="echarts"
import { init } from "echarts/dist/echarts.esm.min.mjs";
import type { EChartsOption, GraphicComponentOption, SeriesOption } from "echarts";
import { formatNumber } from "./text.ts";

/** A picture of one aspect of an analysis. */
export interface Figure {
	/** File name without its ending, also unique in a page: `hidden_state_layers`. */
	name: string;
	/** Title in words, also drawn in the picture. */
	title: string;
	/** How to read the picture, in a few sentences. */
	caption: string;
	/** The picture: a complete SVG document. */
	svg: string;
}

/** What a figure is made of: `null` for `option` says that there is nothing to draw. */
export interface Drawing extends Omit<Figure, "svg"> {
	/** Second line of the title: the model, and what was averaged. */
	subtitle: string;
	/** Height in pixels. */
	height: number;
	/** Why there may be nothing to draw, in words. */
	nothing?: string;
	/** Axes and series. */
	option: EChartsOption | null;
	/** SVG to draw over them: ECharts takes a tenth of a millisecond and more for each of many shapes. */
	overlay?: string;
}

/** Width of every figure in pixels. */
export const WIDTH = 900;

/** Colours that people with any colour vision tell apart (Okabe and Ito's set). */
export const COLORS = {
	blue: "#0072B2",
	vermilion: "#D55E00",
	green: "#009E73",
	purple: "#CC79A7",
	orange: "#E69F00",
	sky: "#56B4E9",
	black: "#222222",
	grey: "#777777",
};

/** Light to dark, of steadily falling lightness: for magnitudes. */
export const SCALE = ["#FFFBD6", "#D5EEB3", "#8BD1BA", "#3AABC4", "#2272AE", "#1D3A8A", "#0B1846"];

const INK = "#222222";
const FONT = "system-ui, 'DejaVu Sans', 'Noto Sans', sans-serif";
const LABEL = { color: INK, fontSize: 12 };

/** Makes the SVG of a drawing. */
export function draw(drawing: Drawing): Figure {
	const { name, title, subtitle, caption, height, option } = drawing;
	const nothing = drawing.nothing ?? "the analysis has no such data";
	const chart = init(null, null, {
		renderer: "svg",
		ssr: true,
		width: WIDTH,
		height: option ? height : 110,
	});
	try {
		chart.setOption({
			animation: false,
			backgroundColor: "#FFFFFF",
			textStyle: { fontFamily: FONT },
			title: {
				text: title,
				subtext: option ? subtitle : `${subtitle}\nNothing to draw: ${nothing}`,
				left: 16,
				top: 8,
				itemGap: 4,
				textStyle: { color: INK, fontSize: 16, fontFamily: FONT },
				subtextStyle: { color: "#555555", fontSize: 12, lineHeight: 18, fontFamily: FONT },
			},
			...option,
		});
		const svg = settle(chart.renderToSVGString(), name);
		return { name, title, caption, svg: svg.replace(/<\/svg>$/, `${drawing.overlay ?? ""}</svg>`) };
	} finally {
		chart.dispose();
	}
}

// ECharts numbers its charts in the ids it makes (zr0-c1). The figure's name instead of that number
// keeps the text deterministic, and the ids of several figures in one page apart. What serves only the
// mouse goes. Texts are escaped, so whatever stands between < and > is a tag.
function settle(svg: string, name: string): string {
	return svg.replace(/<style[^>]*>.*?<\/style>/s, "").replace(
		/<[^>]*>/g,
		(tag) =>
			tag.replace(/ (class|pointer-events|ecmeta_\w+)="[^"]*"/g, "").replace(
				/\bzr\d+-/g,
				`${name}-`,
			),
	);
}

/** The plot's place: room for title and legend above, labels at the sides. */
export function grid(sides: { right?: number; bottom?: number; left?: number; top?: number } = {}) {
	// The labels' room is reckoned here, so that figures line up; ECharts is not to move the plot.
	return { left: 78, right: 28, top: 96, bottom: 58, outerBoundsMode: "none" as const, ...sides };
}

/** An axis of layers, tokens or heads. */
export function categoryAxis(name: string, data: (string | number)[]) {
	return {
		type: "category" as const,
		name,
		nameLocation: "middle" as const,
		nameGap: 30,
		nameTextStyle: { ...LABEL, fontSize: 13 },
		data: data.map(String),
		axisLabel: LABEL,
		axisLine: { lineStyle: { color: "#888888" } },
		axisTick: { alignWithLabel: true },
	};
}

/** An axis of numbers. */
export function valueAxis(
	name: string,
	type: "log" | "value",
	formatter: (value: number) => string = formatNumber,
) {
	return {
		type,
		name,
		nameLocation: "middle" as const,
		nameGap: 56,
		nameTextStyle: { ...LABEL, fontSize: 13 },
		axisLabel: { ...LABEL, formatter },
		splitLine: { lineStyle: { color: "#E4E4E4" } },
	};
}

/** The legend of lines or bars, under the title. */
export function legend(names: string[]) {
	return {
		data: names,
		// ECharts guesses the widths of texts here, too small for wide fonts: some blanks keep entries apart.
		formatter: (name: string) => name + "\u00a0".repeat(Math.ceil(name.length / 10)),
		left: 72,
		top: 58,
		itemGap: 12,
		itemWidth: 30,
		textStyle: { ...LABEL, fontFamily: FONT },
	};
}

/** A line over the layers; what is no number leaves a gap. */
export function line(
	name: string,
	values: (number | null)[],
	look: { color: string; symbol?: string; dash?: "dashed" | "dotted" },
): SeriesOption {
	return {
		type: "line",
		name,
		data: values.map((value) => value !== null && Number.isFinite(value) ? value : null),
		color: look.color,
		symbol: look.symbol ?? "circle",
		symbolSize: values.length > 50 ? 4 : 7,
		showSymbol: look.symbol !== "none",
		itemStyle: { opacity: look.symbol === "none" ? 0 : 1 },
		lineStyle: { width: 2, type: look.dash ?? "solid", opacity: 1 },
		silent: true,
	};
}

/** A colour scale's range: `log` scales are given and drawn by their powers of ten. */
export interface ColorRange {
	/** The value of the lightest colour. */
	low: number;
	/** The value of the darkest colour. */
	high: number;
	/** Whether colours go by the logarithm. */
	log: boolean;
}

/** The range of the finite values, for a log scale of the positive ones; null if there are none. */
export function colorRange(values: Iterable<number>, log: boolean): ColorRange | null {
	let low = Infinity, high = -Infinity;
	for (const value of values) {
		if (!Number.isFinite(value) || (log && value <= 0)) continue;
		if (value < low) low = value;
		if (value > high) high = value;
	}
	if (low > high) return null;
	// One value alone still needs a range to be drawn on.
	if (low === high) return log ? { low: low / 2, high: high * 2, log } : { low: 0, high, log };
	return { low: log ? low : Math.min(low, 0), high, log };
}

/** The value's place on the scale, 0 to 1. */
export function position(value: number, { low, high, log }: ColorRange): number {
	const scale = (x: number) => log ? Math.log10(x) : x;
	if (high <= low) return 0;
	if (log && value <= 0) return 0;
	return Math.min(1, Math.max(0, (scale(value) - scale(low)) / (scale(high) - scale(low))));
}

/** The colour of a {@linkcode position}, as SVG writes it. */
export function colorAt(position: number): string {
	const place = position * (SCALE.length - 1),
		below = Math.min(Math.floor(place), SCALE.length - 2);
	const channels = [1, 3, 5].map((at) => {
		const [from, to] = [below, below + 1].map((i) => parseInt(SCALE[i]!.slice(at, at + 2), 16));
		return Math.round(from! + (to! - from!) * (place - below));
	});
	return `rgb(${channels})`;
}

/** A coordinate to a tenth of a pixel. */
export function round(coordinate: number): number {
	return Math.round(10 * coordinate) / 10;
}

/** The key to the colours, right of the plot. */
export function colorBar(
	range: ColorRange,
	top: number,
	height: number,
	name: string,
	formatter: (value: number) => string = formatNumber,
): GraphicComponentOption[] {
	const left = WIDTH - 96, width = 14;
	const ticks = [range.low, ...innerTicks(range, height), range.high];
	return [
		{
			type: "rect",
			silent: true,
			shape: { x: left, y: top, width, height },
			style: {
				fill: {
					type: "linear",
					x: 0,
					y: 1,
					x2: 0,
					y2: 0,
					colorStops: SCALE.map((color, i) => ({ offset: i / (SCALE.length - 1), color })),
				},
				stroke: "#888888",
				lineWidth: 0.5,
			},
		},
		...ticks.map((tick) =>
			label(formatter(tick), left + width + 6, top + height * (1 - position(tick, range)))
		),
		label(name, left, top - 16),
	];
}

/** A text beside the plot, at the middle of its left edge. */
export function label(text: string, x: number, y: number): GraphicComponentOption {
	return {
		type: "text",
		silent: true,
		style: { text, x, y, verticalAlign: "middle", fontSize: 11, fontFamily: FONT, fill: INK },
	};
}

// Powers of ten, or round numbers, that do not touch the labels at the ends.
function innerTicks({ low, high, log }: ColorRange, height: number): number[] {
	const room = Math.max(1, height / 24);
	const ticks: number[] = [];
	if (log) {
		const first = Math.ceil(Math.log10(low)), last = Math.floor(Math.log10(high));
		const step = Math.max(1, Math.ceil((last - first) / room));
		for (let power = first; power <= last; power += step) ticks.push(10 ** power);
	} else {
		const least = (high - low) / Math.min(6, room);
		const power = 10 ** Math.floor(Math.log10(least));
		const step = power * [1, 2, 5, 10].find((factor) => factor * power >= least)!;
		for (let i = Math.ceil(low / step); i * step < high; i++) ticks.push(i * step);
	}
	return ticks.filter((tick) => {
		const place = position(tick, { low, high, log }) * height;
		return place > 16 && place < height - 16;
	});
}
