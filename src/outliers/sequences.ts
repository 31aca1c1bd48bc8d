// Turns texts into the token sequences of an analysis.

import type { Tokenizer } from "../formats/tokenizer.ts";
import type { Transformer } from "../nn/transformer.ts";
import type { AnalyzedSequence } from "./analysis.ts";
import defaultText from "./texts/default.txt" with { type: "text" };

/** A text to analyze. */
export interface SourceText {
	/** Where it came from, for the report. */
	source: string;
	/** The text. */
	text: string;
}

/** Tokens to analyze, for models without a tokenizer or texts that were tokenized before. */
export interface SourceTokens {
	/** Where they came from, for the report. */
	source: string;
	/** Their ids. */
	tokenIds: readonly number[];
}

/** The text that the paper's figures use. */
export const PAPER_SENTENCE: SourceText = {
	source: "paper sentence",
	text: "Summer is warm. Winter is cold.",
};
/** English prose that comes with this library, long enough for 2,048 tokens. */
export const DEFAULT_TEXT: SourceText = { source: "default text", text: defaultText };

function encodeWith(
	tokenizer: Tokenizer | null,
	{ source, text }: SourceText,
	limit: number,
	specialTokens = false,
) {
	if (tokenizer) return tokenizer.encode(text, { limit, specialTokens });
	throw new Error(
		`Cannot analyze the ${source}: the model came without a tokenizer; give token ids, or put its ` +
			"tokenizer.json beside it",
	);
}

/** The tokens that a tokenizer's makers put before and after a text. */
function tokensAround(tokenizer: Tokenizer): { before: number[]; after: number[] } {
	const plain = tokenizer.encode("a"), full = tokenizer.encode("a", { specialTokens: true });
	const at = full.findIndex((_, i) => plain.every((id, j) => full[i + j] === id));
	return { before: full.slice(0, at), after: full.slice(at + plain.length) };
}

/**
 * Cuts a text into consecutive sequences of tokens. No special tokens are added (as in the paper), unless asked for:
 * encoders were never trained without [CLS] and [SEP].
 *
 * @param tokenizer may be null for tokens, whose texts are then their ids
 * @param length tokens of a sequence; a shorter text gives one shorter sequence
 * @param count how many sequences to take from its start
 * @param specialTokens whether each sequence gets those that the tokenizer puts around a text; they count
 * @throws {RangeError} if the text is empty, or too short for so many
 */
export function cutSequences(
	tokenizer: Tokenizer | null,
	given: SourceText | SourceTokens,
	length: number,
	count: number,
	specialTokens = false,
): AnalyzedSequence[] {
	for (const [name, value] of [["length", length], ["sequences", count]] as const) {
		if (!Number.isSafeInteger(value) || value < 1) {
			throw new RangeError(`Cannot use ${value} as ${name}: it must be a whole number, 1 or more`);
		}
	}
	const { source } = given;
	const { before, after } = specialTokens && tokenizer && !("tokenIds" in given)
		? tokensAround(tokenizer)
		: { before: [], after: [] };
	const room = length - before.length - after.length, limit = room * count;
	if (room < 1) {
		throw new RangeError(
			`Cannot analyze sequences of ${length} tokens: ${length - room} of them are special tokens`,
		);
	}
	const ids = "tokenIds" in given
		? given.tokenIds.slice(0, limit)
		: encodeWith(tokenizer, given, limit);
	if (ids.length === 0) throw new RangeError(`Cannot analyze the ${source}: it is empty`);
	if (count > Math.max(1, Math.floor(ids.length / room))) {
		throw new RangeError(
			`Cannot cut ${count} sequences of ${room} tokens from the ${source}: it has ` +
				`${ids.length} tokens; give a longer text, or a smaller length or number`,
		);
	}
	const textOf = (id: number) => tokenizer?.tokenText(id) ?? `#${id}`;
	return Array.from({ length: count }, (_, i) => {
		const tokenIds = [...before, ...ids.slice(i * room, (i + 1) * room), ...after];
		return { source, tokenIds, tokenTexts: tokenIds.map(textOf) };
	});
}

/** What an analysis takes as a sequence: token ids, with or without their texts, or a text to be one sequence. */
export type GivenSequence =
	| readonly number[]
	| string
	| SourceText
	| SourceTokens
	| AnalyzedSequence;

/**
 * Sequences with their tokens' texts, each cut to the model's context length.
 *
 * @param specialTokens whether to put the tokens around a text that the model's makers do
 * @throws {RangeError} if there is none, or one is empty
 */
export function sequencesOf(
	model: Transformer,
	given: readonly GivenSequence[],
	specialTokens = false,
): AnalyzedSequence[] {
	if (given.length === 0) throw new RangeError("Cannot analyze: there is no sequence");
	const limit = model.config.contextLength;
	const tokenizer = model.hasTokenizer ? model.tokenizer : null;
	return given.map((each, index) => {
		const named: SourceText | SourceTokens | AnalyzedSequence = typeof each === "string"
			? { source: "text", text: each }
			: isIds(each)
			? { source: `sequence ${index}`, tokenIds: each }
			: each;
		const { source } = named;
		const tokenIds = "text" in named
			? encodeWith(tokenizer, named, limit, specialTokens)
			: named.tokenIds.slice(0, limit);
		if (tokenIds.length === 0) throw new RangeError(`Cannot analyze the ${source}: it is empty`);
		const tokenTexts = "tokenTexts" in named
			? (named as AnalyzedSequence).tokenTexts.slice(0, limit)
			: tokenIds.map((id) => tokenizer?.tokenText(id) ?? `#${id}`);
		return { source, tokenIds, tokenTexts };
	});
}

const isIds = (given: GivenSequence): given is readonly number[] => Array.isArray(given);
