// The findings of all layers in plain words, a line each, with their numbers. Plain text; whoever puts it into a page
// escapes it.

import type { ActivationAnalysis, Analysis } from "../analysis.ts";
import { evenImportance } from "../measures.ts";
import type { Detection } from "../detectors/detector.ts";
import { count, formatNumber, formatRanges, formatShare, join, visibleText } from "./text.ts";

/** How many features of a kind have a line. */
const FEATURES = 4;
/** How many kinds of tokens a line names. */
const TOKENS = 3;

interface Place {
	sequence: number;
	token: number;
}

const keyOf = ({ sequence, token }: Place) => `${sequence} ${token}`;

/** `all 3 tokens`, `93% (28 of 30) of the tokens`, `the only token`. */
function shareOf(some: number, all: number, noun: string): string {
	if (all === 1) return `the only ${noun}`;
	return some === all
		? `all ${formatNumber(all)} ${noun}s`
		: `${formatShare(some / all)} (${some} of ${all}) of the ${noun}s`;
}

/**
 * Which tokens carry something: position 0, and the texts that most of the others have, of all occurrences or of the first
 * in each sequence.
 */
function tokensInWords({ sequences }: Analysis, places: readonly Place[]): string {
	const carriers = new Set(places.map(keyOf));
	const phrases: string[] = [];
	const starts = sequences.filter((_, sequence) => carriers.has(keyOf({ sequence, token: 0 })));
	if (starts.length > 0) {
		phrases.push(
			sequences.length === 1
				? "token 0"
				: `token 0 of ${shareOf(starts.length, sequences.length, "sequence")}`,
		);
	}
	const others = [...carriers].map((key) => key.split(" ").map(Number) as [number, number])
		.filter(([, token]) => token > 0);
	const byText = [...Map.groupBy(others, ([s, t]) => sequences[s]!.tokenTexts[t]!)]
		.sort(([a, x], [b, y]) => y.length - x.length || (a < b ? -1 : 1));
	for (const [text, some] of byText.slice(0, TOKENS)) {
		let occurrences = 0, having = 0, first = 0;
		sequences.forEach(({ tokenTexts }, sequence) => {
			const tokens = [...tokenTexts.keys()].filter((t) => t > 0 && tokenTexts[t] === text);
			if (tokens.length === 0) return;
			occurrences += tokens.length;
			having++;
			if (carriers.has(keyOf({ sequence, token: tokens[0]! }))) first++;
		});
		const name = `“${visibleText(text, 24)}”`;
		phrases.push(
			first / having > some.length / occurrences
				? `the first ${name} of ${shareOf(first, having, "sequence")} that ${
					having === 1 ? "has" : "have"
				} it`
				: `${shareOf(some.length, occurrences, "token")} ${name}`,
		);
	}
	const more = byText.slice(TOKENS).reduce((sum, [, some]) => sum + some.length, 0);
	if (more > 0) phrases.push(`${formatNumber(more)} more tokens`);
	return join(phrases);
}

/** A line for each feature with outliers; the most extreme first. */
function activationLines(
	analysis: Analysis,
	{ layers }: ActivationAnalysis,
	symbol: string,
): string[] {
	interface Feature {
		ratio: number;
		layer: number;
		layers: Set<number>;
		places: Map<string, Place>;
	}
	const features = new Map<number, Feature>();
	for (const { layer, sequences } of layers) {
		for (const { sequence, mean, outliers } of sequences) {
			for (const { value, token, feature } of outliers) {
				const ratio = Math.abs(value) / mean;
				const seen = features.get(feature) ??
					{ ratio: 0, layer, layers: new Set(), places: new Map() };
				if (ratio > seen.ratio) Object.assign(seen, { ratio, layer });
				seen.layers.add(layer);
				seen.places.set(keyOf({ sequence, token }), { sequence, token });
				features.set(feature, seen);
			}
		}
	}
	const sorted = [...features].sort(([a, x], [b, y]) => y.ratio - x.ratio || a - b);
	const lines = sorted.slice(0, FEATURES).map(([feature, { ratio, layer, layers, places }]) => {
		const where = layers.size === 1
			? `in layer ${layer}`
			: `in layer ${layer}, an outlier in ${layers.size} layers (${formatRanges([...layers])})`;
		return `Feature ${feature} of ${symbol} is up to ${
			formatNumber(ratio)
		} times the mean ${where}, at ` +
			`${tokensInWords(analysis, [...places.values()])}.`;
	});
	const more = sorted.length - lines.length;
	if (more > 0) {
		lines.push(
			`${count(more, "further feature")} of ${symbol} ${more === 1 ? "has" : "have"} outliers.`,
		);
	}
	return lines;
}

function weightLines({ weights, criteria }: Analysis): string[] {
	const flagged = weights.filter(({ outlierCount }) => outlierCount > 0);
	return flagged.map(({ layer, projection, expert, outlierCount, outliers: [first] }) =>
		`${count(outlierCount, "weight")} of the ${projection} projection of layer ${layer}` +
		`${expert === undefined ? "" : `, expert ${expert},`} above τ = ${
			formatNumber(criteria.tau)
		}: the largest, row ` +
		`${first!.row} and column ${first!.column}, is ${
			formatNumber(first!.ratio)
		} times its row's mean.`
	).slice(0, FEATURES);
}

function attentionLines(analysis: Analysis): string[] {
	const { attention, summary, criteria } = analysis;
	if (summary.attention.layers.length === 0) return [];
	// In shorter sequences even uniform attention gives the first key so much.
	const telling = (sequence: number) => {
		const tokens = analysis.sequences[sequence]!.tokenIds.length;
		return evenImportance({ causal: true }, 0, tokens) < criteria.attentionShare;
	};
	const within = attention.filter(({ layer, sequence }) =>
		summary.attention.layers.includes(layer) && telling(sequence)
	);
	const heads = within.flatMap(({ sequence, heads }) =>
		heads.map(({ outliers }) => outliers.map(({ token }) => ({ sequence, token })))
	);
	const sinks = heads.filter((outliers) => outliers.length > 0).length;
	return [
		`In layers ${formatRanges(summary.attention.layers)}, ${
			formatShare(sinks / heads.length)
		} of the heads give ` +
		`one key ${formatShare(criteria.attentionShare)} or more of their attention: ` +
		`${tokensInWords(analysis, heads.flat())}.`,
	];
}

/** What a criterion says, as a line. */
export function detectionLine(
	{ detector, found, count: all, complete, statistic }: Detection,
): string {
	const { name, of, value, at } = statistic;
	const said = found === null
		? ""
		: found
		? `${complete ? "" : "at least "}${formatNumber(all)} found; `
		: "none found; ";
	if (value === null) return `${detector}: nothing could be measured.`;
	const place = at === null
		? ""
		: ` (${at.site}${at.sequence === undefined ? "" : `, sequence ${at.sequence}`})`;
	return `${detector}: ${said}${
		of === "mean" ? "mean over places of " : of === "smallest" ? "smallest " : "largest "
	}` +
		`${name} = ${formatNumber(value)}${place}.`;
}

/** The findings of all layers, a line each; empty if there are none. Layers count from 1, but from 0 in detections. */
export function findingLines(analysis: Analysis): string[] {
	return [
		...activationLines(analysis, analysis.hiddenState, "h"),
		...activationLines(analysis, analysis.downInput, "x_down"),
		...weightLines(analysis),
		...attentionLines(analysis),
		...(analysis.detections ?? []).map(detectionLine),
	];
}
