// The paper's classes of tokens on which outliers sit: the first, delimiters, words of weak meaning.

import type { TokenClass } from "./analysis.ts";

const STRONG_DELIMITERS = new Set(
	[..."`.,;:!?-'\"()[]{}/\\|*&^%$#@~", "--", "---", "<0x0A>", "\n"],
);
const WEAK_WORDS = new Set(
	("and from of 1 2 3 4 5 6 7 8 9 the a an in on at for with is was are were to by as that this it but " +
		"or if not").split(" "),
);

/**
 * The class of a token (reference code of the paper, position scripts): the first of a sequence; a strong
 * delimiter (punctuation, and a newline); a word of weak meaning, a digit or white space; or another.
 *
 * @param position 0-based position in its sequence
 * @param text the token's text
 */
export function tokenClass(position: number, text: string): TokenClass {
	if (position === 0) return "initial token";
	const bare = text.trim();
	if (STRONG_DELIMITERS.has(bare) || (bare === "" && text.includes("\n"))) {
		return "strong delimiter";
	}
	return bare === "" || WEAK_WORDS.has(bare.toLowerCase()) ? "weak semantic" : "other";
}

/** A count of zero for each class. */
export function noTokens(): Record<TokenClass, number> {
	return { "initial token": 0, "strong delimiter": 0, "weak semantic": 0, "other": 0 };
}
