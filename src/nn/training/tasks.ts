// Synthetic data that make attention sinks within a minute of training: pairs of symbols as in a text, and after
// some symbols, the triggers, one that must be looked up. All other queries have nothing to attend to.

import { drawWords } from "../../tensor/philox.ts";
import type { DataSource } from "./data.ts";

/** Options of synthetic tasks. */
export interface TaskOptions {
	/** Decides the sequences, and the pairs of symbols where no text is given. @default {1337} */
	seed?: number;
	/** How many symbols there are, with the start symbol 0. @default {64} */
	vocabularySize?: number;
	/** After which symbols one is looked up. @default the second to the fourth most frequent */
	triggers?: readonly number[];
	/** A text whose most frequent bytes are the symbols and whose pairs are theirs; by default pairs are drawn. */
	text?: string;
}

/** A synthetic task. */
export interface SyntheticTask extends DataSource {
	/** The symbols behind which one is looked up. */
	readonly triggers: readonly number[];
}

const TRIGGERS = [2, 3, 4];

/** For symbols 1 and up: how likely each is by itself, and after another, summed up. */
interface Pairs {
	single: Float64Array;
	after: Float64Array[];
}

const cumulate = (weights: ArrayLike<number>) => {
	let sum = 0;
	const sums = Float64Array.from(weights, (weight) => sum += weight);
	return sums.map((value) => value / sum);
};

/** Pairs of symbols whose entropy is near that of bytes of English. */
function drawnPairs(symbols: number, seed: number): Pairs {
	const words = drawWords({ seed, offset: 0 }, 2 * symbols * symbols);
	const single = Float64Array.from({ length: symbols }, (_, i) => 1 / (i + 3));
	const after = Array.from({ length: symbols }, (_, i) =>
		cumulate(single.map((weight, j) => {
			const at = 2 * (i * symbols + j);
			const radius = Math.sqrt(-2 * Math.log((words[at]! + 1) / 2 ** 32));
			return weight * Math.exp(2 * radius * Math.cos(2 * Math.PI * words[at + 1]! / 2 ** 32));
		})));
	return { single: cumulate(single), after };
}

/** Pairs of the most frequent bytes of a text, the most frequent first; others are left out. */
function pairsOf(text: string, symbols: number): Pairs {
	const bytes = new TextEncoder().encode(text), counts = new Float64Array(256);
	for (const byte of bytes) counts[byte]!++;
	const byCount = [...counts.keys()].sort((a, b) => counts[b]! - counts[a]! || a - b)
		.slice(0, symbols).filter((byte) => counts[byte]! > 0);
	if (byCount.length < symbols) {
		throw new RangeError(
			`Cannot make a task of this text: it has ${byCount.length} different bytes, and ${symbols} are needed`,
		);
	}
	const symbolOf = new Map(byCount.map((byte, i) => [byte, i]));
	const after = byCount.map(() => new Float64Array(symbols));
	let before: number | undefined;
	for (const byte of bytes) {
		const symbol = symbolOf.get(byte);
		if (symbol === undefined) continue;
		if (before !== undefined) after[before]![symbol]!++;
		before = symbol;
	}
	const single = Float64Array.from(byCount, (byte) => counts[byte]!);
	return {
		single: cumulate(single),
		after: after.map((row) => cumulate(row.some(Boolean) ? row : single)),
	};
}

function pick(sums: Float64Array, word: number): number {
	const at = (word + 0.5) / 2 ** 32;
	let low = 0, high = sums.length - 1;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (sums[middle]! > at) high = middle;
		else low = middle + 1;
	}
	return low + 1;
}

/**
 * @param lookUp what follows a trigger behind the symbol `before`, if it is looked up there
 */
function task(
	name: string,
	{ seed = 1337, vocabularySize = 64, triggers = TRIGGERS, text }: TaskOptions,
	lookUp: (before: number, trigger: number, own: (trigger: number) => number) => number | null,
): SyntheticTask {
	const wrong = triggers.find((id) => !(Number.isInteger(id) && id > 0 && id < vocabularySize));
	if (!Number.isInteger(vocabularySize) || vocabularySize < 6 || wrong !== undefined) {
		throw new RangeError(
			`Cannot make the ${name} task: ` +
				(wrong === undefined
					? `it has ${vocabularySize} symbols, and 6 are the fewest`
					: `its trigger ${wrong} is no symbol from 1 to ${vocabularySize - 1}`),
		);
	}
	const symbols = vocabularySize - 1;
	const pairs = text === undefined ? drawnPairs(symbols, seed) : pairsOf(text, symbols);
	const others = Array.from({ length: symbols }, (_, i) => i + 1)
		.filter((id) => !triggers.includes(id));
	return {
		description: `${name} task of ${vocabularySize} symbols, triggers ${triggers.join(" ")}, ` +
			`${
				text === undefined ? "drawn pairs" : `pairs of a text of ${text.length} characters`
			}, seed ${seed}`,
		vocabularySize,
		triggers,
		fill(split, index, inputs, targets) {
			const length = inputs.length + 1;
			// Draw 0 made the pairs.
			const offset = 1 + 2 * index + Number(split === "validation");
			const words = drawWords({ seed, offset }, length + triggers.length);
			const own = (trigger: number) =>
				others[words[length + triggers.indexOf(trigger)]! % others.length]!;
			const sequence = new Int32Array(length);
			for (let i = 1; i < length; i++) {
				const before = sequence[i - 1]!;
				const found = triggers.includes(before) ? lookUp(sequence[i - 2] ?? 0, before, own) : null;
				sequence[i] = found ?? pick(i === 1 ? pairs.single : pairs.after[before - 1]!, words[i]!);
			}
			inputs.set(sequence.subarray(0, -1));
			targets.set(sequence.subarray(1));
			targets[0] = -1; // nothing tells the first symbol
		},
	};
}

/**
 * The copy task: after a trigger the symbol before it comes again, unless that is a trigger too or the start symbol
 * (two triggers would repeat each other for good). One layer with one head learns it, and attends to the start symbol
 * everywhere else.
 */
export function copyTask(options: TaskOptions = {}): SyntheticTask {
	const { triggers = TRIGGERS } = options;
	return task(
		"copy",
		options,
		(before) => before === 0 || triggers.includes(before) ? null : before,
	);
}

/**
 * The induction task: after a trigger comes a symbol that is drawn once for each sequence and trigger, so it must be
 * looked up at an earlier place. It takes two layers or more.
 */
export function inductionTask(options: TaskOptions = {}): SyntheticTask {
	return task("induction", options, (_, trigger, own) => own(trigger));
}
