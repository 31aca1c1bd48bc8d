// What a model's tokenizer does, whichever file it came from.

/** How to encode. */
export interface EncodeOptions {
	/** How many ids are wanted at most: the first ones. */
	limit?: number;
	/**
	 * Whether to put the tokens around the text that the model's makers do, such as `<s>` or `[CLS]`.
	 *
	 * @default {false}
	 */
	specialTokens?: boolean;
}

/** Ids of tokens that stand for no text. */
export interface SpecialTokens {
	/** Begins a text: `<s>`, `[CLS]`. */
	begin: number | undefined;
	/** Ends a text, and what is generated: `</s>`, `[SEP]`. */
	end: number | undefined;
	/** Stands for what has no token. */
	unknown: number | undefined;
	/** Fills sequences up. */
	padding: number | undefined;
	/** These and all others. */
	all: ReadonlySet<number>;
}

/** Text to token ids and back. */
export interface Tokenizer {
	/** The number of tokens in the vocabulary: ids are 0 to `size - 1`. */
	readonly size: number;
	/** Tokens that stand for no text. */
	readonly special: SpecialTokens;
	/**
	 * Returns the ids of a text's tokens. Added tokens written in the text (such as `<|im_end|>`) become their ids;
	 * none is put around it unless asked for. Half a surrogate pair is read as U+FFFD.
	 */
	encode(text: string, options?: EncodeOptions): number[];
	/**
	 * Returns the text of ids, special tokens included. Bytes that are not valid UTF-8 become U+FFFD.
	 *
	 * @throws {RangeError} if an id is not one of the vocabulary
	 */
	decode(ids: readonly number[]): string;
	/**
	 * Returns one token as people read it: its text, each byte that is not valid UTF-8 by itself written `<0xNN>`.
	 *
	 * @throws {RangeError} if `id` is not one of the vocabulary
	 */
	tokenText(id: number): string;
}
