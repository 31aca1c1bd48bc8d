// Text to token ids and back, from the vocabulary inside a GGUF file: GPT-2's byte-level byte-pair
// encoding, and SentencePiece's with its byte fallback. Stages: added tokens are found in the text,
// the rest is cut into pieces, a piece is encoded (and remembered), ids come back as bytes.
// Chat templates are not done here.

import { bytePairEncode, joining, MAX_RANKS, MergeTable } from "./bpe.ts";
import { GgufError, type GgufFile } from "./gguf.ts";
import { ggufWordPiece } from "./gguf_word_piece.ts";
import { type PreTokenizer, preTokenizers } from "./pretokenize.ts";
import { byteNames, byteOfToken, bytesOfNames, byteToken, textOfBytes } from "./token_text.ts";
import type { EncodeOptions, SpecialTokens, Tokenizer } from "./tokenizer.ts";

// The kinds of token, `tokenizer.ggml.token_type`.
const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6;

const SPACE = "\u2581"; // "▁", SentencePiece's mark for a space
const MAX_CACHED_PIECES = 1 << 16, MAX_CACHED_LENGTH = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What differs between the two kinds of vocabulary. */
interface Coding {
	/** The ids of a stretch of text without added tokens; may stop once there are `limit`. */
	encode(text: string, limit: number): number[];
	/** The bytes that a token other than an added one stands for. */
	bytes(token: string, type: number): Uint8Array;
	/** Whether `encode` puts a space before the text, which decoding takes away again. */
	spacePrefix: boolean;
}

/**
 * The tokenizer that a GGUF file describes. Gives the ids that Hugging Face's `tokenizers` and llama.cpp give, but for
 * `tokenizer.ggml.pre` "default", read as GPT-2's, where llama.cpp has a guess of its own.
 *
 * Decoding undoes encoding for every valid text, but for bytes that have no token in the
 * vocabulary, the normal form that "qwen2", "mpt" and "olmo" ask for, and SentencePiece's "▁", which is a space.
 *
 * @example Count the tokens of a text
 * ```ts ignore
 * using file = await GgufFile.open("model.gguf");
 * const tokenizer = GgufTokenizer.from(file);
 * console.log(tokenizer.encode("Hello, world").length);
 * ```
 */
export class GgufTokenizer implements Tokenizer {
	/** The number of tokens in the vocabulary: ids are 0 to `size - 1`. */
	readonly size: number;
	/** Tokens that stand for no text. */
	readonly special: SpecialTokens;
	readonly #around: { before: number[]; after: number[] };
	#tokens: string[];
	#types: number[];
	#added: ReadonlyMap<string, number>;
	#findAdded: RegExp | undefined;
	#coding: Coding;

	private constructor(file: GgufFile, tokens: string[], types: number[], coding: Coding) {
		this.size = tokens.length;
		this.#tokens = tokens;
		this.#types = types;
		this.#coding = coding;
		this.special = readSpecial(file, types);
		this.#around = readAround(file, this.special);
		const added = new Map<string, number>();
		for (let id = 0; id < tokens.length; id++) {
			if (isAdded(types[id]) && tokens[id] !== "") added.set(tokens[id], id);
		}
		this.#added = added;
		if (added.size > 0) {
			// Longest first: of several that begin at one place, the longest is the one meant.
			const patterns = [...added.keys()].sort((a, b) => b.length - a.length).map(RegExp.escape);
			this.#findAdded = new RegExp(`(${patterns.join("|")})`);
			try {
				this.#findAdded.test(""); // compiles it
			} catch { // its message quotes the whole pattern
				throw new GgufError(
					file.path,
					`its added tokens, ${added.size}, are too many or too long to be searched for`,
				);
			}
		}
	}

	/**
	 * Builds the tokenizer of a file.
	 *
	 * Supported are `tokenizer.ggml.model` "gpt2" with `tokenizer.ggml.pre` "smollm", "gpt-2", "phi-2",
	 * "default", "llama-bpe", "qwen2", "falcon", "mpt" or "olmo", "llama" (SentencePiece byte-pair encoding with all 256
	 * byte tokens), and "bert" (WordPiece).
	 *
	 * @throws {GgufError} If it is of another kind or its vocabulary does not hold together.
	 */
	static from(file: GgufFile): Tokenizer {
		const model = file.string("tokenizer.ggml.model");
		const tokens = file.strings("tokenizer.ggml.tokens");
		const types = file.optionalNumbers("tokenizer.ggml.token_type") ?? tokens.map(() => NORMAL);
		if (tokens.length === 0) throw new GgufError(file.path, "its vocabulary has no tokens");
		requireAtMost(file, tokens, "tokens");
		requireLength(file, "tokenizer.ggml.token_type", types, tokens);
		if (model === "gpt2") return new GgufTokenizer(file, tokens, types, byteLevel(file, tokens));
		if (model === "llama") {
			return new GgufTokenizer(file, tokens, types, sentencePiece(file, tokens, types));
		}
		if (model === "bert") return ggufWordPiece(file, tokens, types);
		throw new GgufError(
			file.path,
			`its tokenizer is of kind "${model}": supported are "bert", "gpt2" and "llama"`,
		);
	}

	/** Returns the ids of a text's tokens: see `Tokenizer`. */
	encode(text: string, { limit = Infinity, specialTokens = false }: EncodeOptions = {}): number[] {
		const { before, after } = specialTokens ? this.#around : { before: [], after: [] };
		const ids = [...before];
		const parts = this.#findAdded ? text.split(this.#findAdded) : [text];
		for (let i = 0; i < parts.length && ids.length < limit; i++) { // texts and added tokens in turn
			const part = parts[i]!;
			if (i % 2 === 1) ids.push(this.#added.get(part)!);
			else if (part !== "") {
				const some = this.#coding.encode(part.toWellFormed(), limit - ids.length);
				for (const id of some) ids.push(id);
			}
		}
		ids.push(...after);
		return ids.length > limit ? ids.slice(0, limit) : ids;
	}

	/**
	 * Returns the text of ids, added tokens included. Bytes that are not valid UTF-8 become U+FFFD.
	 *
	 * @throws {RangeError} If an id is not one of the vocabulary.
	 */
	decode(ids: readonly number[]): string {
		const bytes: number[] = [];
		let first = true; // of its stretch of text
		for (const id of ids) {
			const token = this.#bytes(id);
			const skip = first && this.#coding.spacePrefix && token[0] === 32 ? 1 : 0;
			first = isAdded(this.#types[id]);
			for (let i = first ? 0 : skip; i < token.length; i++) bytes.push(token[i]);
		}
		return decoder.decode(Uint8Array.from(bytes));
	}

	/**
	 * Returns one token as people read it: its text, each byte that is not valid UTF-8 by itself
	 * written `<0xNN>`.
	 *
	 * @throws {RangeError} If `id` is not one of the vocabulary.
	 */
	tokenText(id: number): string {
		return textOfBytes(this.#bytes(id));
	}

	#bytes(id: number): Uint8Array {
		const token = this.#tokens[id];
		if (token === undefined) {
			throw new RangeError(
				`Cannot decode token ${id}: ids are whole numbers from 0 to ${this.size - 1}`,
			);
		}
		const type = this.#types[id];
		return isAdded(type) ? encoder.encode(token) : this.#coding.bytes(token, type);
	}
}

function isAdded(type: number): boolean {
	return type === CONTROL || type === USER_DEFINED || type === UNKNOWN;
}

function readSpecial(file: GgufFile, types: number[]): SpecialTokens {
	const id = (name: string) => { // llama.cpp, too, takes one that is not in the vocabulary for none
		const value = file.optionalNumber(`tokenizer.ggml.${name}_token_id`);
		return value !== undefined && value in types ? value : undefined;
	};
	const special = {
		begin: id("bos"),
		end: id("eos"),
		unknown: id("unknown"),
		padding: id("padding"),
	};
	const all = new Set(Object.values(special).filter((id) => id !== undefined));
	types.forEach((type, id) => {
		if (type === CONTROL || type === UNKNOWN) all.add(id);
	});
	return { ...special, all };
}

/** The tokens that go around a text; what a file leaves open is as llama.cpp has it. */
function readAround(file: GgufFile, { begin, end }: SpecialTokens) {
	const begins = file.optionalString("tokenizer.ggml.model") === "llama" ||
		file.optionalString("tokenizer.ggml.pre") === "llama-bpe";
	const wants = (name: string, otherwise: boolean, id: number | undefined) =>
		id !== undefined && (file.optionalBoolean(`tokenizer.ggml.add_${name}_token`) ?? otherwise)
			? [id]
			: [];
	return { before: wants("bos", begins, begin), after: wants("eos", false, end) };
}

function requireAtMost(file: GgufFile, list: unknown[], what: string): void {
	if (list.length <= MAX_RANKS) return;
	throw new GgufError(
		file.path,
		`it has ${list.length} ${what}: at most ${MAX_RANKS} are supported`,
	);
}

function requireLength(file: GgufFile, key: string, list: unknown[], tokens: string[]): void {
	if (list.length === tokens.length) return;
	throw new GgufError(
		file.path,
		`metadata key "${key}" has ${list.length} entries for ${tokens.length} tokens`,
	);
}

function byteLevel(file: GgufFile, tokens: string[]): Coding {
	const name = file.optionalString("tokenizer.ggml.pre") ?? "default";
	const pre = preTokenizers.get(name);
	if (!pre) {
		throw new GgufError(
			file.path,
			`its pre-tokenizer is "${name}": supported are ` +
				[...preTokenizers.keys()].map((name) => `"${name}"`).join(", "),
		);
	}
	if (file.optionalBoolean("tokenizer.ggml.add_space_prefix")) {
		throw new GgufError(
			file.path,
			`metadata key "tokenizer.ggml.add_space_prefix" is true, which is not supported for "gpt2"`,
		);
	}
	const ids = new Map<string, number>();
	for (let id = 0; id < tokens.length; id++) ids.set(tokens[id], id);
	const merges = readMerges(file, tokens, ids);
	const join = (left: number, right: number) => merges.join(left, right);
	const byteIds = byteNames.map((name) => ids.get(name) ?? -1);
	return {
		spacePrefix: false,
		encode: remembering(pre, (piece) => {
			const bytes = encoder.encode(piece);
			if (pre.wholePieces) {
				const whole = ids.get(Array.from(bytes, (byte) => byteNames[byte]).join(""));
				if (whole !== undefined) return [whole];
			}
			const symbols: number[] = [];
			for (const byte of bytes) {
				// A byte that has no token is left out, as the references do.
				if (byteIds[byte] >= 0) symbols.push(byteIds[byte]);
			}
			return bytePairEncode(symbols, join);
		}),
		bytes: (token) => bytesOfNames(token) ?? encoder.encode(token),
	};
}

function readMerges(
	file: GgufFile,
	tokens: string[],
	ids: ReadonlyMap<string, number>,
): MergeTable {
	const merges = file.strings("tokenizer.ggml.merges");
	requireAtMost(file, merges, "merges");
	const table = new MergeTable(merges.length);
	let id: number | undefined = 0;
	for (let rank = 0; rank < merges.length; rank++) {
		const merge = merges[rank], cut = merge.indexOf(" ", 1);
		const left = merge.slice(0, cut), right = merge.slice(cut + 1);
		const leftId = ids.get(left), rightId = ids.get(right);
		// The token made is nearly always the one after the last merge's: no need to look it up.
		const following: string = tokens[id! + 1] ?? "";
		if (
			following.length === merge.length - 1 && following.startsWith(left) &&
			following.endsWith(right)
		) id = id! + 1;
		else id = ids.get(left + right);
		if (cut < 0 || leftId === undefined || rightId === undefined || id === undefined) {
			const missing = leftId === undefined ? left : rightId === undefined ? right : left + right;
			throw new GgufError(
				file.path,
				`merge ${rank}, ${JSON.stringify(merge)}, ` +
					(cut < 0
						? "must be two tokens with a space between"
						: `needs the token ${JSON.stringify(missing)}, which is not in the vocabulary`),
			);
		}
		table.add(leftId, rightId, rank, id);
	}
	return table;
}

// Encodes a text piece by piece, each piece once.
function remembering(pre: PreTokenizer, encode: (piece: string) => number[]) {
	const known = new Map<string, number[]>();
	return (text: string, limit: number) => {
		const result: number[] = [];
		for (const [piece] of (pre.nfc ? text.normalize("NFC") : text).matchAll(pre.pieces)) {
			if (result.length >= limit) break;
			let ids = known.get(piece);
			if (!ids) {
				ids = encode(piece);
				if (known.size >= MAX_CACHED_PIECES) known.clear();
				if (piece.length <= MAX_CACHED_LENGTH) known.set(piece, ids);
			}
			for (const id of ids) result.push(id);
		}
		return result;
	};
}

function sentencePiece(file: GgufFile, tokens: string[], types: number[]): Coding {
	const scores = file.numbers("tokenizer.ggml.scores");
	requireLength(file, "tokenizer.ggml.scores", scores, tokens);
	for (const key of ["precompiled_charsmap", "remove_extra_whitespaces"]) {
		if (file.metadata.get(`tokenizer.ggml.${key}`)) {
			throw new GgufError(file.path, `metadata key "tokenizer.ggml.${key}" is not supported`);
		}
	}
	const spacePrefix = file.optionalBoolean("tokenizer.ggml.add_space_prefix") ?? true;

	// The pair whose joined text has the highest score is joined first; equal scores are equal ranks.
	const order = new Map(
		Float64Array.from(new Set(scores)).sort().reverse().entries().map((
			[rank, score],
		) => [score, rank]),
	);
	const joins = new Map<string, number>(), ids = new Map<string, number>();
	tokens.forEach((token, id) => {
		if (types[id] === NORMAL || types[id] === USER_DEFINED || types[id] === UNUSED) {
			joins.set(token, joining(order.get(scores[id])!, id));
			ids.set(token, id);
		} else if (types[id] === BYTE) ids.set(token, id);
	});
	const byteIds = Array.from({ length: 256 }, (_, byte) => {
		const id = ids.get(byteToken(byte));
		if (id !== undefined && types[id] === BYTE) return id;
		throw new GgufError(
			file.path,
			`its vocabulary has no token "${
				byteToken(byte)
			}": only SentencePiece vocabularies with all ` +
				"256 byte tokens are supported",
		);
	});
	// A character that is no token has the id `size + code point` until all joins are made.
	const size = tokens.length;
	const text = (id: number) => id < size ? tokens[id] : String.fromCodePoint(id - size);
	const join = (left: number, right: number) => joins.get(text(left) + text(right)) ?? -1;
	return {
		spacePrefix,
		encode(text) {
			const marked = (spacePrefix ? " " + text : text).replaceAll(" ", SPACE);
			const symbols = Array.from(marked, (char) => ids.get(char) ?? size + char.codePointAt(0)!);
			return bytePairEncode(symbols, join).flatMap((id) =>
				id < size
					? id
					: Array.from(encoder.encode(String.fromCodePoint(id - size)), (byte) => byteIds[byte])
			);
		},
		bytes(token, type) {
			const byte = type === BYTE ? byteOfToken(token) : undefined;
			if (byte !== undefined) return Uint8Array.of(byte);
			return encoder.encode(token.replaceAll(SPACE, " "));
		},
	};
}
