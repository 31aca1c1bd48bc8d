// What bench/analyze.ts measured, condensed to medians and ratios, and the table of them.

import { formatSpread, markdownTable, type Spread, spread } from "./spread.ts";

/** What is measured; times in seconds, memory in MiB. `Gguf`: with the weights read from that file. */
export type Quantity = "whole" | "forward" | "peak" | "wholeGguf" | "peakGguf";

/** What one run of one side gave. */
export interface Measurement {
	dtype: string;
	count: number;
	side: "ours" | "PyTorch";
	values: Partial<Record<Quantity, number>>;
}

/** One line of the table. */
export interface Row {
	dtype: string;
	count: number;
	quantity: Quantity;
	ours: Spread;
	pytorch: Spread | null;
	/** Ours / PyTorch, of the medians. */
	ratio: number | null;
}

/** Everything measured, condensed. */
export interface Summary {
	rows: Row[];
	firstKernel: Spread;
}

const NAMES: Record<Quantity, string> = {
	whole: "whole analysis, PyTorch from safetensors, s",
	wholeGguf: "whole analysis, PyTorch from GGUF, s",
	forward: "forward pass alone, s",
	peak: "peak memory, PyTorch from safetensors, MiB",
	peakGguf: "peak memory, PyTorch from GGUF, MiB",
};

/** Condenses runs into rows; ours stands beside PyTorch's in both of its ways to load the model. */
export function summarize(measurements: Measurement[], firstKernel: number[]): Summary {
	const rows: Row[] = [];
	const cases = new Map(measurements.map((m) => [`${m.dtype} ${m.count}`, m]));
	for (const { dtype, count } of cases.values()) {
		const of = (side: string, quantity: Quantity) =>
			measurements.filter((m) => m.dtype === dtype && m.count === count && m.side === side)
				.flatMap(({ values }) => values[quantity] ?? []);
		for (const quantity of Object.keys(NAMES) as Quantity[]) {
			const ours = spread(of("ours", quantity.replace("Gguf", "") as Quantity));
			const theirs = of("PyTorch", quantity);
			const pytorch = theirs.length > 0 ? spread(theirs) : null;
			if (!pytorch && quantity.endsWith("Gguf")) continue;
			const ratio = pytorch && ours.median / pytorch.median;
			rows.push({ dtype, count, quantity, ours, pytorch, ratio });
		}
	}
	return { rows, firstKernel: spread(firstKernel) };
}

/** The summary as a Markdown table, and a line on the first kernel. */
export function formatTable({ rows, firstKernel }: Summary, length: number): string {
	const cells = rows.map(({ dtype, count, quantity, ours, pytorch, ratio }) => [
		`${count} × ${length.toLocaleString("en")}`,
		dtype,
		pytorch ? NAMES[quantity] : NAMES[quantity].replace(/, PyTorch from \w+/, ""),
		formatSpread(ours),
		pytorch ? formatSpread(pytorch) : "",
		ratio === null ? "" : ratio.toFixed(2),
	]);
	const head = ["tokens", "type", "quantity", "ours", "PyTorch", "ours / PyTorch"];
	return [
		markdownTable(head, cells),
		"",
		`First kernel done ${formatSpread(firstKernel)} s after process start, with warm caches.`,
	].join("\n");
}
