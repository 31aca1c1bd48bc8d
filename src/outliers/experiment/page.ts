// The report of a comparison of attentions as one HTML page that loads nothing.

import type { Figure } from "../report/chart.ts";
import { figureHtml, SCRIPT, STYLE } from "../report/page.ts";
import { type Cell, table } from "../report/tables.ts";
import { escapeHtml, formatNumber, formatShare, join, plainText } from "../report/text.ts";
import { COMPRESSIONS } from "./compress.ts";
import type { CompareResults } from "./experiment.ts";
import type { PieceResult, StepMeasurement } from "./piece.ts";
import { byVariant, describeSpread, spreadOf } from "./spread.ts";

const COLUMNS: readonly [string, (one: StepMeasurement) => number, ((x: number) => string)?][] = [
	["Loss", ({ loss }) => loss, (x) => x.toFixed(3)],
	["Peak, max / mean", ({ headline }) => headline.peak],
	["At position 0", ({ headline }) => headline.peakAtFirst, formatShare],
	["x_down, max / mean", ({ headline }) => headline.downPeak],
	["Sink heads", ({ headline }) => headline.sinkRate, formatShare],
	["by gates", ({ headline }) => headline.gatedSinkRate, formatShare],
	["Strongest share", ({ headline }) => headline.strongestShare, formatShare],
	["Its ‖v₀‖ ratio", ({ headline }) => headline.valueRatio],
];

/** A row of {@linkcode COLUMNS} for some measurements. */
const cells = (measurements: readonly StepMeasurement[]): Cell[] =>
	COLUMNS.map(([, pick, format]) => describeSpread(spreadOf(measurements.map(pick)), format));

const lastOf = (pieces: readonly PieceResult[]) =>
	pieces.flatMap(({ measurements }) => measurements.slice(-1));

/** Writes a comparison and its figures as one page. */
export function comparePage(results: CompareResults, figures: readonly Figure[]): string {
	const { setting, seeds } = results, names = COLUMNS.map(([name]) => name);
	const groups = byVariant(results);
	const figure = (name: string) =>
		figures.filter((one) => one.name === name).map(figureHtml).join("");
	const equal = results.variants.map((name) => {
		const runs = results.equalLoss.flatMap(({ runs }) => runs)
			.filter(({ variant }) => variant === name);
		return [name, describeSpread(spreadOf(runs.map(({ step }) => step))), ...cells(runs)];
	});
	const title = "Which attention causes outliers";
	return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${title}</title>
<style>${STYLE}section:not(#facts) td { white-space: nowrap; }</style>
</head>
<body>
<header>
<h1>${title}</h1>
<p class="lead">${escapeHtml(headline(results))}</p>
</header>
<main>
<dl class="findings">
${
		groups.map(([name, pieces]) =>
			`<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(finding(pieces))}</dd>`
		).join("\n")
	}
</dl>
<nav><a href="#end">At the end</a> · <a href="#equal">At equal loss</a> · <a href="#training">Over training</a> · <a href="#activations">Activations</a> · <a href="#compression">Compression</a> · <a href="#facts">Facts</a></nav>
<section id="end">
<h2>At the end</h2>
${
		table(
			"After all updates",
			["Variant", ...names],
			groups.map(([name, all]) => [name, ...cells(lastOf(all))]),
		)
	}
<p>${NOTES}</p>
${lookUps(results)}
</section>
<section id="equal">
<h2>At equal loss</h2>
<p>Variants learn at different speed. Here each is taken when its loss of held-out data first is at or below the
lowest that every variant of its seed reached (${
		escapeHtml(join(results.equalLoss.map(({ loss }) => loss.toFixed(3))))
	}).</p>
${table("At equal loss", ["Variant", "Updates", ...names], equal)}
</section>
<section id="training">
<h2>Over training</h2>
${["loss", "peak", "sink", "value_ratio"].map(figure).join("\n")}
</section>
<section id="activations">
<h2>Activations</h2>
${figure("layers")}${figure("maps")}
${
		table(
			"Down projections: largest max / mean of a column",
			["Variant", ...Array.from({ length: setting.layers }, (_, i) => `Layer ${i + 1}`)],
			groups.map(([name, pieces]) => [
				name,
				...Array.from({ length: setting.layers }, (_, i) =>
					describeSpread(spreadOf(pieces.map(({ downRatios }) => downRatios[i]?.column)))),
			]),
		)
	}
</section>
<section id="compression">
<h2>Compression</h2>
<p>Perplexity of held-out data, e to the loss, when the matrices of the layers are rounded or pruned; all else is
computed in float32.</p>
${compressionTable(results, "matrix")}
${compressionTable(results, "row")}
${figure("rounding")}
</section>
<section id="facts">
<h2>Facts</h2>
<table class="facts"><tbody>
${
		facts(results).map(([name, value]) =>
			`<tr><th scope="row">${name}</th><td>${escapeHtml(plainText(value!))}</td></tr>`
		).join("\n")
	}
</tbody></table>
</section>
</main>
<footer>Made by Outlierscope from <code>results.json</code> (format version ${results.version}), ${
		escapeHtml(results.created)
	}. Layers count from 1${
		seeds.length > 1 ? "; behind a mean, the least and the most of the seeds" : ""
	}.</footer>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

const NOTES =
	`The peak is the largest max |h| / mean |h| of the embeddings and all layers but the last: the last also makes the
logits and is large in every variant. A head is a sink if its queries give position 0 more than 30 % on average; “by
gates” counts queries by the gate of the head's result, and by what their weights sum to, since where a query looks
that adds nothing has no effect.
The strongest share is of the head that gives position 0 most, by gates, and ‖v₀‖ over the mean ‖vₜ‖ is of that head:
near 0 its value is drained. The three may come alone. Means over held-out sequences; no loss is computed at position
0.`;

/** From when on a value counts as drained, and how many times what even attention gives a sink gets. */
const DRAINED = 0.5, GATHERED = 3;

/** One sentence. */
function headline(results: CompareResults): string {
	const { contextLength: T } = results.setting, even = Math.log(T) / T;
	const found = byVariant(results).filter(([, pieces]) => {
		const [ratio, share] = (["valueRatio", "strongestShare"] as const)
			.map((name) => spreadOf(lastOf(pieces).map(({ headline }) => headline[name]))?.mean);
		return ratio! < DRAINED && share! > GATHERED * even;
	}).map(([name]) => name);
	const rest = results.variants.filter((name) => !found.includes(name));
	const what =
		`Attention gathers on a first token whose value is drained (below ${DRAINED} of the others', with ` +
		`over ${formatShare(GATHERED * even)} of a head's attention)`;
	if (found.length === 0) return `${what} with no variant here.`;
	return `${what} with ${join(found)}${rest.length ? `; not with ${join(rest)}` : ""}.`;
}

/** What a variant shows, in a sentence. */
function finding(pieces: readonly PieceResult[]): string {
	const last = lastOf(pieces), problem = pieces.find(({ problem }) => problem !== null);
	const text = (pick: (one: StepMeasurement) => number, format?: (x: number) => string) =>
		describeSpread(spreadOf(last.map(pick)), format);
	if (last.length === 0) return problem?.problem ?? "It was not measured.";
	return `Loss ${text(({ loss }) => loss, (x) => x.toFixed(3))}; largest activation ${
		text(({ headline }) => headline.peak)
	} times the mean; ${
		text(({ headline }) => headline.gatedSinkRate, formatShare)
	} of heads are sinks by ` +
		`gates; value ratio ${text(({ headline }) => headline.valueRatio)}.` +
		(problem ? ` Seed ${problem.seed}: ${problem.problem}.` : "");
}

/** Of data that say so: how queries attend that have something to look up, and the others. */
function lookUps(results: CompareResults): string {
	const rows = byVariant(results).map(([name, pieces]): Cell[] => {
		const heads = pieces.map(({ evidence }) =>
			evidence.flatMap(({ heads }) => heads)
				.reduce((a, b) => b.gatedShare > a.gatedShare ? b : a, evidence.at(-1)?.heads[0]!)
		);
		const of = (pick: (head: typeof heads[number]) => number | null) =>
			describeSpread(spreadOf(heads.map((head) => head && pick(head))), formatShare);
		return [
			name,
			of(({ share }) => share),
			of(({ gatedShare }) => gatedShare),
			describeSpread(spreadOf(heads.map((head) => head?.gate))),
			of(({ otherShare }) => otherShare),
			of(({ lookUpShare }) => lookUpShare),
		];
	});
	const known = results.pieces.some(({ evidence }) =>
		evidence.some(({ heads }) => heads.some(({ lookUpShare }) => lookUpShare !== null))
	);
	const columns = ["Variant", "Share", "by gates", "Mean gate"];
	return table(
		"The head that attends to position 0 most",
		known ? [...columns, "with nothing to look up", "with something"] : columns,
		rows.map((row) => known ? row : row.slice(0, columns.length)),
	);
}

function compressionTable(results: CompareResults, scale: "matrix" | "row"): string {
	const ways = COMPRESSIONS.filter((name) =>
		scale === "matrix" ? !name.includes("a scale a row") : name.includes("a scale a row")
	);
	const short = (name: string) =>
		name.replace(/,? a scale a \w+$/, "").replace("half of the weights 0,", "Half 0,");
	return table(
		`A scale a ${scale}${scale === "matrix" ? ", and pruning" : ""}`,
		["Variant", ...ways.map(short)],
		byVariant(results).map(([name, pieces]) => [
			name,
			...ways.map((way) =>
				describeSpread(
					spreadOf(pieces.map(({ compression }) => {
						const loss = compression.find(({ name }) => name === way)?.loss;
						return loss === null || loss === undefined ? null : Math.exp(loss);
					})),
					(x) => x < 100 ? x.toFixed(3) : formatNumber(x),
				)
			),
		]),
	);
}

function facts({ setting, data, pieces, seeds, variants }: CompareResults): string[][] {
	const { steps, batchSize, accumulation, contextLength, learningRate, leftRate, weightDecay } =
		setting;
	const tokens = batchSize * accumulation * contextLength;
	return [
		[
			"Model",
			`${
				setting.architecture === "gpt2" ? "GPT-2" : "LLaMA"
			}: ${setting.layers} layers, ${setting.heads} ` +
			`heads, width ${setting.hiddenSize}, context ${contextLength}, vocabulary ` +
			`${formatNumber(setting.vocabularySize)}, output ${
				setting.tied ? "tied" : "not tied"
			} to the embedding`,
		],
		["Data", data],
		[
			"Training",
			`${formatNumber(steps)} updates of ${formatNumber(tokens)} tokens (${
				formatNumber(steps * tokens)
			} in all), AdamW, learning rate ${learningRate} falling to ${
				formatShare(leftRate)
			} of it, weight decay ` +
			`${weightDecay}, matrix products in ${setting.dtype}`,
		],
		["Variants", variants.join(", ")],
		["Seeds", seeds.join(", ")],
		[
			"Parameters",
			variants.map((name) =>
				`${name} ${formatNumber(pieces.find(({ variant }) => variant === name)!.parameters)}`
			).join(", "),
		],
	];
}
