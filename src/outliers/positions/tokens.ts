// Which tokens are outliers: where they appear first in each sequence, what their texts are, and of which class.

import type { AnalyzedSequence, TokenClass } from "../analysis.ts";
import type { Definition } from "../definitions.ts";
import { noTokens, tokenClass } from "../token_class.ts";

/** Positions of a sequence at which outliers appear in a layer and in none before. */
export interface Appearance {
	/** Layer, 0-based. */
	layer: number;
	/** Positions, ascending. */
	tokens: number[];
}

/** The outlier tokens of one sequence. */
export interface SequenceTokens {
	/** Index of the sequence among those given. */
	sequence: number;
	/** The first layer with an outlier, 0-based; null if there is none. */
	firstLayer: number | null;
	/** Where outliers appear, layer by layer: the first entry is of the first layer. */
	appearances: Appearance[];
	/** The positions that count, by the definition's `appearance` and `firstOccurrence`. */
	counted: number[];
}

/** A text on which outliers sit. */
export interface RankedToken {
	/** The token's text. */
	text: string;
	/** Its id. */
	id: number;
	/** How many outlier tokens have it. */
	count: number;
	/** In how many sequences one of them stands. */
	sequences: number;
	/** How many of them are the first of their sequence. */
	initial: number;
}

/** Which tokens: the paper's Fig. 3b (of h) and 6b (of attention), as data. */
export interface TokenPositions {
	/** How many sequences were looked at. */
	sequences: number;
	/** How many have no outlier token that counts, exactly one, two, and so on; the last entry is of the most. */
	tokensPerSequence: number[];
	/** How many outlier tokens there are of each class. */
	classes: Record<TokenClass, number>;
	/** Their texts, the most frequent first; equal ones by id. */
	ranked: RankedToken[];
	/** Each sequence. */
	bySequence: SequenceTokens[];
}

/** Collects outlier tokens, in whichever order layers and sequences come. */
export class TokenCollector {
	/** The first layer of each outlier token, by sequence. */
	readonly #first = new Map<number, Map<number, number>>();
	readonly #definition: Definition;

	/** @param layers in which tokens are sought, 0-based; null for all */
	constructor(
		definition: Definition,
		readonly layers: readonly number[] | null = definition.tokenLayers,
	) {
		this.#definition = definition;
	}

	/** Takes the outlier tokens of a layer of a sequence; also without any, so that the sequence counts. */
	add(sequence: number, layer: number, tokens: readonly number[]): void {
		if (this.layers && !this.layers.includes(layer)) return;
		const first = this.#first.get(sequence) ?? new Map<number, number>();
		this.#first.set(sequence, first);
		for (const token of tokens) first.set(token, Math.min(layer, first.get(token) ?? Infinity));
	}

	/** The sequences seen, and for each the first layer of its outlier tokens, by position. */
	get firstLayers(): ReadonlyMap<number, ReadonlyMap<number, number>> {
		return this.#first;
	}

	/** What the tokens are, by the sequences that were given. */
	result(sequences: readonly AnalyzedSequence[]): TokenPositions {
		const classes = noTokens(), tokensPerSequence: number[] = [];
		const ranked = new Map<number, RankedToken & { last: number }>();
		const bySequence = [...this.#first].sort(([a], [b]) => a - b).map(([sequence, first]) => {
			const { tokenIds, tokenTexts } = sequences[sequence]!;
			const found = this.#ofSequence(sequence, first, tokenIds);
			const count = found.counted.length;
			while (tokensPerSequence.length <= count) tokensPerSequence.push(0);
			tokensPerSequence[count]!++;
			for (const token of found.counted) {
				const id = tokenIds[token]!, text = tokenTexts[token]!;
				classes[tokenClass(token, text)]++;
				const entry = ranked.get(id) ??
					{ text, id, count: 0, sequences: 0, initial: 0, last: -1 };
				ranked.set(id, entry);
				entry.count++;
				if (token === 0) entry.initial++;
				if (entry.last !== sequence) entry.sequences++;
				entry.last = sequence;
			}
			return found;
		});
		return {
			sequences: bySequence.length,
			tokensPerSequence,
			classes,
			ranked: [...ranked.values()].sort((a, b) => b.count - a.count || a.id - b.id)
				.map(({ last: _, ...entry }) => entry),
			bySequence,
		};
	}

	#ofSequence(
		sequence: number,
		first: ReadonlyMap<number, number>,
		tokenIds: readonly number[],
	): SequenceTokens {
		const byLayer = new Map<number, number[]>();
		for (const [token, layer] of first) byLayer.set(layer, [...byLayer.get(layer) ?? [], token]);
		const appearances = [...byLayer].sort(([a], [b]) => a - b)
			.map(([layer, tokens]) => ({ layer, tokens: tokens.sort((a, b) => a - b) }));
		const { appearance, firstOccurrence } = this.#definition;
		const all = (appearance === "first layer" ? appearances.slice(0, 1) : appearances)
			.flatMap(({ tokens }) => tokens).sort((a, b) => a - b);
		const seen = new Set<number>();
		const counted = firstOccurrence
			? all.filter((token) => !seen.has(tokenIds[token]!) && seen.add(tokenIds[token]!))
			: all;
		return { sequence, firstLayer: appearances[0]?.layer ?? null, appearances, counted };
	}
}
