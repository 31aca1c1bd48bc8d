// What an analysis found, in sentences: the report's headline and the notes on what its tests can
// reach. Plain text; whoever puts it into a page escapes it.

import type { ActivationSummary, Analysis, Reachability, TokenClass } from "../analysis.ts";
import { TOKEN_CLASSES } from "./attention_figures.ts";
import {
	count,
	formatNumber,
	formatRanges,
	formatShare,
	join,
	plainText,
	visibleText,
} from "./text.ts";

/** One sentence: where outliers were found, and where not. */
export function headline({ summary, criteria }: Analysis): string {
	const kinds = [
		["hidden states", summary.hiddenState.layers.length],
		["down-projection inputs", summary.downInput.layers.length],
		["weights", summary.weights.outlierCount],
		["attention", summary.attention.layers.length],
	] as const;
	const found = kinds.filter(([, number]) => number > 0).map(([name]) => name);
	const absent = kinds.filter(([, number]) => number === 0).map(([name]) => name);
	if (found.length === 0) {
		return `No outliers: nothing exceeds τ = ${
			formatNumber(criteria.tau)
		} times the mean, and no key ` +
			`receives ${formatShare(criteria.attentionShare)} of a head's attention.`;
	}
	return `Outliers found in ${join(found)}${absent.length ? `; none in ${join(absent)}` : ""}.`;
}

/** The findings, a kind of outlier each: its name and what was found. */
export function findings(analysis: Analysis): { kind: string; text: string }[] {
	const { summary, criteria, model } = analysis;
	const { weights, attention } = summary;
	const row = weights.largestRowRatio, column = weights.largestDownColumnRatio;
	const weightPlace = `${formatNumber(row.ratio)} times its row's mean, in the ${row.projection} ` +
		`projection of layer ${row.layer} (row ${row.row}, column ${row.column})`;
	const share = attention.largestShare;
	const largestShare =
		`${formatShare(share.share)}, in head ${share.head} of layer ${share.layer} on ` +
		tokenPlace(analysis, share.sequence, share.token);
	return [
		{ kind: "Hidden states", text: activation(analysis, summary.hiddenState, "|h|") },
		{ kind: "Down-projection inputs", text: activation(analysis, summary.downInput, "|x_down|") },
		{
			kind: "Weights",
			text:
				(weights.outlierCount
					? `${count(weights.outlierCount, "weight")} above τ = ${
						formatNumber(criteria.tau)
					} times the ` +
						`row's mean; the largest is ${weightPlace}.`
					: `None exceeds τ = ${formatNumber(criteria.tau)} times its row's mean; the largest is ` +
						`${weightPlace}.`) +
				` The largest column ratio of a down projection is ${
					formatNumber(column.ratio)
				}, in layer ` +
				`${column.layer} (column ${column.index}).`,
		},
		{
			kind: "Attention",
			text: attention.layers.length
				? `In ${layers(attention.layers, model.layers)}, some head gives one key ` +
					`${formatShare(criteria.attentionShare)} or more of its cumulative attention: ` +
					`${
						formatShare(attention.headFraction)
					} of all heads do, over layers and sequences. These ` +
					`keys are ${classes(attention.tokenClasses)}. The largest share is ${largestShare}.`
				: attention.sequences === 0
				? `The texts are too short to tell: with so few tokens, even uniform attention gives one key ` +
					`${formatShare(criteria.attentionShare)} or more. The largest share is ${largestShare}.`
				: `No head gives one key ${
					formatShare(criteria.attentionShare)
				} of its cumulative attention; ` +
					`the largest share is ${largestShare}.`,
		},
	];
}

function activation(analysis: Analysis, summary: ActivationSummary, symbol: string): string {
	const { largestRatio: largest } = summary;
	const tau = formatNumber(analysis.criteria.tau);
	const place =
		`${formatNumber(largest.ratio)} times the mean (${formatNumber(largest.value)}), in ` +
		`layer ${largest.layer}, feature ${largest.feature}, ` +
		tokenPlace(analysis, largest.sequence, largest.token);
	if (summary.layers.length === 0) {
		return `No ${symbol} exceeds τ = ${tau} times the mean; the largest is ${place}.`;
	}
	const features = summary.features.slice(0, 6).map(({ feature }) => String(feature));
	const more = summary.features.length - features.length;
	if (more > 0) features.push(`${more} more`);
	return `Outliers in ${layers(summary.layers, analysis.model.layers)}, in ` +
		`${summary.features.length === 1 ? "feature" : "features"} ${
			join(features)
		}. The tokens that ` +
		`carry them are ${classes(summary.tokenClasses)}. The largest ${symbol} is ${place}.`;
}

function layers(numbers: number[], all: number): string {
	return numbers.length === 1
		? `layer ${numbers[0]} of ${all}`
		: `${numbers.length} of ${all} layers (${formatRanges(numbers)})`;
}

function classes(counts: Record<TokenClass, number>): string {
	const plural = (name: TokenClass, number: number) =>
		name === "other"
			? `${formatNumber(number)} other ${number === 1 ? "token" : "tokens"}`
			: name === "weak semantic"
			? `${formatNumber(number)} weak semantic ${number === 1 ? "token" : "tokens"}`
			: count(number, name);
	const present = TOKEN_CLASSES.filter((name) => counts[name] > 0);
	return join(present.map((name) => plural(name, counts[name]))) || "of no class";
}

/** A token with its text and place: `“.” (position 3 of paper sentence)`. */
export function tokenPlace({ sequences }: Analysis, sequence: number, token: number): string {
	const text = sequences[sequence]?.tokenTexts[token];
	return `${
		text === undefined ? "token" : `token “${visibleText(text, 24)}”`
	} (position ${token} of ` +
		`${plainText(sequences[sequence]?.source ?? `sequence ${sequence}`)})`;
}

/** A test's name in words. */
export function testName(test: string): string {
	const [kind, projection] = test.split(".");
	switch (kind) {
		case "hiddenState":
			return "hidden state";
		case "downInput":
			return "down-projection input";
		case "attention":
			return "attention by τ";
		case "weights":
			return projection ? `${plainText(projection)} weights` : "weights";
		default:
			return plainText(test);
	}
}

/** Which tests cannot fire, and why. */
export function reachabilityNote(tests: Reachability[], tau: number): string {
	const out = tests.filter(({ reachable }) => !reachable);
	if (out.length === 0) {
		return `Every test can exceed τ = ${formatNumber(tau)}: to find none is a finding.`;
	}
	const byLimit = [...Map.groupBy(out, ({ limit }) => limit)].map(([limit, tests]) =>
		`${join(tests.map(({ test }) => testName(test)))} (at most ${formatNumber(limit)})`
	);
	return `At τ = ${
		formatNumber(tau)
	} these tests cannot fire, whatever the model's values, because ` +
		`max/mean of N numbers is at most N: ${byLimit.join("; ")}. For these, look at the ratios ` +
		`themselves, or lower τ.`;
}
