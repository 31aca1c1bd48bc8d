// Median, smallest and largest of what was measured several times, and tables of them.

/** Median, smallest and largest of several runs. */
export interface Spread {
	median: number;
	min: number;
	max: number;
}

/** Condenses the values of several runs. */
export function spread(values: number[]): Spread {
	const sorted = values.toSorted((a, b) => a - b);
	const upper = sorted[Math.floor(sorted.length / 2)]!;
	const lower = sorted[Math.floor((sorted.length - 1) / 2)]!;
	return { median: (lower + upper) / 2, min: sorted[0]!, max: sorted.at(-1)! };
}

/** As `median (smallest to largest)`. */
export function formatSpread({ median, min, max }: Spread): string {
	const digits = median < 10 ? 2 : median < 100 ? 1 : 0;
	return `${median.toFixed(digits)} (${min.toFixed(digits)} to ${max.toFixed(digits)})`;
}

/** A Markdown table with aligned columns. */
export function markdownTable(head: string[], rows: string[][]): string {
	const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)));
	const line = (row: string[]) => `| ${row.map((x, i) => x.padEnd(widths[i]!)).join(" | ")} |`;
	return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
