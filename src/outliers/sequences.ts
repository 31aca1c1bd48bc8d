// Turns texts into the token sequences of an analysis.

import type { Tokenizer } from "../formats/tokenizer.ts";
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

function encodeWith(tokenizer: Tokenizer | null, { source, text }: SourceText, limit: number) {
  if (tokenizer) return tokenizer.encode(text, { limit });
  throw new Error(
    `Cannot analyze the ${source}: the model came without a tokenizer; give token ids, or put its ` +
      "tokenizer.json beside it",
  );
}

/**
 * Cuts a text into consecutive sequences of tokens, with no special tokens added (as the paper does).
 *
 * @param tokenizer may be null for tokens, whose texts are then their ids
 * @param length tokens of a sequence; a shorter text gives one shorter sequence
 * @param count how many sequences to take from its start
 * @throws {RangeError} if the text is empty, or too short for so many
 */
export function cutSequences(
  tokenizer: Tokenizer | null,
  given: SourceText | SourceTokens,
  length: number,
  count: number,
): AnalyzedSequence[] {
  for (const [name, value] of [["length", length], ["sequences", count]] as const) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`Cannot use ${value} as ${name}: it must be a whole number, 1 or more`);
    }
  }
  const { source } = given, limit = length * count;
  const ids = "tokenIds" in given
    ? given.tokenIds.slice(0, limit)
    : encodeWith(tokenizer, given, limit);
  if (ids.length === 0) throw new RangeError(`Cannot analyze the ${source}: it is empty`);
  if (count > Math.max(1, Math.floor(ids.length / length))) {
    throw new RangeError(
      `Cannot cut ${count} sequences of ${length} tokens from the ${source}: it has ` +
        `${ids.length} tokens; give a longer text, or a smaller length or number`,
    );
  }
  const textOf = (id: number) => tokenizer?.tokenText(id) ?? `#${id}`;
  return Array.from({ length: count }, (_, i) => {
    const tokenIds = ids.slice(i * length, (i + 1) * length);
    return { source, tokenIds, tokenTexts: tokenIds.map(textOf) };
  });
}
