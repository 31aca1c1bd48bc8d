// The tokenizer of a folder as `transformers` saves it: tokenizer.json, and tokenizer_config.json where there is one.
// @huggingface/tokenizers does the work; what it does not check, or does otherwise than the Rust library that the
// models were trained with, is done here.

import { Tokenizer as Encoder } from "@huggingface/tokenizers";
import { FileError } from "./file_error.ts";
import { ConfigJson } from "./config_json.ts";
import { readJsonFile } from "./local_file.ts";
import { byteOfToken, bytesOfNames, textOfBytes } from "./token_text.ts";
import type { EncodeOptions, SpecialTokens, Tokenizer } from "./tokenizer.ts";

const MAX_BYTES = 128 * 2 ** 20; // four times the largest known
const MAX_TOKENS = 2 ** 24;
const SPACE = "\u2581"; // "▁", SentencePiece's mark for a space

/** What is wrong with a tokenizer file, or why it cannot be used. */
export class TokenizerError extends FileError {
	/** The class's name, for printing. */
	override name = "TokenizerError";
}

type Json = Record<string, unknown>;

/** What the Rust library takes for what a WordPiece model leaves out. */
const WORD_PIECE = {
	unk_token: "[UNK]",
	continuing_subword_prefix: "##",
	max_input_chars_per_word: 100,
};

const isObject = (value: unknown): value is Json =>
	typeof value === "object" && value !== null && !Array.isArray(value);
const quoted = (value: unknown) => (JSON.stringify(value) ?? "undefined").slice(0, 60);

/**
 * The tokenizer of a model's folder. Gives the ids that Hugging Face's `tokenizers` gives; BPE (byte-level, and
 * SentencePiece's with byte fallback), WordPiece and Unigram vocabularies are supported.
 *
 * @example Count the tokens of a text
 * ```ts ignore
 * const tokenizer = await TokenizerJson.open("models/gpt2");
 * console.log(tokenizer.encode("Hello, world").length);
 * ```
 */
export class TokenizerJson implements Tokenizer {
	/** The number of tokens in the vocabulary: ids are 0 to `size - 1`. */
	readonly size: number;
	/** Tokens that stand for no text. */
	readonly special: SpecialTokens;
	readonly #path: string;
	readonly #encoder: Encoder;
	readonly #tokens: string[];
	readonly #added: ReadonlySet<number>;
	readonly #bytesOf: (token: string) => Uint8Array | undefined;

	/**
	 * Builds a tokenizer.
	 *
	 * @param path the file, for errors
	 * @param json what tokenizer.json says
	 * @param config what tokenizer_config.json says
	 * @throws {TokenizerError} if it does not hold together
	 */
	constructor(path: string, json: unknown, config: unknown = {}) {
		this.#path = path;
		let parts: ReturnType<typeof check>;
		try {
			parts = check(path, json);
		} catch (cause) { // out of stack
			if (!(cause instanceof RangeError)) throw cause;
			throw new TokenizerError(path, "its parts are nested too deeply", { cause });
		}
		const { checked, tokens, added } = parts;
		this.#tokens = tokens;
		this.size = tokens.length;
		this.#added = new Set(added.map(({ id }) => id));
		this.#bytesOf = namesBytes(checked.decoder);
		const settings = isObject(config) ? config : {};
		try {
			// Of the settings none may change how text is read: that is what tokenizer.json says.
			this.#encoder = new Encoder(checked, {});
		} catch (cause) {
			throw new TokenizerError(path, `it cannot be understood: ${messageOf(cause)}`, { cause });
		}
		const ids = new Map<string, number>();
		tokens.forEach((token, id) => ids.set(token, id)); // leaves out ids that no token has
		const named = (...names: string[]) => {
			for (const name of names) {
				const value = settings[`${name}_token`];
				const text = isObject(value) ? value.content : value;
				if (typeof text === "string" && ids.has(text)) return ids.get(text);
			}
		};
		const special = {
			begin: named("bos", "cls"),
			end: named("eos", "sep"),
			unknown: named("unk"),
			padding: named("pad"),
		};
		const all = new Set(Object.values(special).filter((id) => id !== undefined));
		for (const { id, special } of added) if (special) all.add(id);
		this.special = { ...special, all };
	}

	/**
	 * Opens the tokenizer of a folder.
	 *
	 * @param path the folder, or its tokenizer.json
	 * @throws {TokenizerError} if there is none, or it does not hold together
	 */
	static async open(path: string): Promise<TokenizerJson> {
		const folder = path.endsWith(".json") ? path.replace(/[^/]*$/, "") || "." : path;
		const file = path.endsWith(".json") ? path : `${path}/tokenizer.json`;
		if (file !== path && !await exists(file)) throw await missing(folder);
		const settings = `${folder}/tokenizer_config.json`;
		const config = await exists(settings) ? (await ConfigJson.open(settings)).values : {};
		const fail = (problem: string, cause?: unknown) => new TokenizerError(file, problem, { cause });
		return new TokenizerJson(file, await readJsonFile(file, MAX_BYTES, fail), config);
	}

	/**
	 * Makes sure that a model has an embedding for every token.
	 *
	 * @param vocabularySize the model's; it may be larger, as many are padded. Special tokens beyond it are let
	 * through: models were saved with tokenizers that have some that they never saw.
	 * @throws {TokenizerError} if other tokens are beyond it
	 */
	requireVocabulary(vocabularySize: number): void {
		for (let id = vocabularySize; id < this.size; id++) {
			if (this.#added.has(id) || this.#tokens[id] === undefined) continue;
			throw new TokenizerError(
				this.#path,
				`it has ${this.size} tokens, and the model's vocabulary is ${vocabularySize}: it belongs to another model`,
			);
		}
	}

	/** Returns the ids of a text's tokens: see `Tokenizer`. */
	encode(text: string, { limit = Infinity, specialTokens = false }: EncodeOptions = {}): number[] {
		let ids: number[];
		try {
			ids = this.#encoder.encode(text.toWellFormed(), { add_special_tokens: specialTokens }).ids;
		} catch (cause) {
			throw new TokenizerError(this.#path, `it failed on a text: ${messageOf(cause)}`, { cause });
		}
		if (ids.length > limit) ids = ids.slice(0, limit);
		if (ids.some((id) => !Number.isInteger(id))) {
			throw new TokenizerError(
				this.#path,
				"it has no token for a part of the text, nor one for what is unknown",
			);
		}
		return ids;
	}

	/** Returns the text of ids: see `Tokenizer`. */
	decode(ids: readonly number[]): string {
		for (const id of ids) this.#token(id);
		if (ids.length === 0) return "";
		try {
			return this.#encoder.decode([...ids], { clean_up_tokenization_spaces: false });
		} catch (cause) {
			throw new TokenizerError(this.#path, `it failed on ids: ${messageOf(cause)}`, { cause });
		}
	}

	/** Returns one token as people read it: see `Tokenizer`. WordPiece's keep their `##`. */
	tokenText(id: number): string {
		const token = this.#token(id);
		if (this.#added.has(id)) return token;
		const bytes = this.#bytesOf(token);
		return bytes ? textOfBytes(bytes) : token.replaceAll(SPACE, " ");
	}

	#token(id: number): string {
		const token = this.#tokens[id];
		if (token !== undefined) return token;
		throw new RangeError(
			`Cannot decode token ${id}: ids are whole numbers from 0 to ${this.size - 1}`,
		);
	}
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);
const messageOf = (cause: unknown) =>
	(cause instanceof Error ? cause.message : String(cause)).slice(0, 200);

async function missing(folder: string): Promise<TokenizerError> {
	for (const other of ["tokenizer.model", "vocab.json", "vocab.txt", "spiece.model"]) {
		if (!await exists(`${folder}/${other}`)) continue;
		return new TokenizerError(
			folder,
			`it has a tokenizer of an old kind, ${other}, and no tokenizer.json; this makes one: python -c ` +
				`'from transformers import AutoTokenizer as A; A.from_pretrained("${folder}").save_pretrained("${folder}")'`,
		);
	}
	return new TokenizerError(folder, "it has no tokenizer.json");
}

/** An entry of "added_tokens". */
interface AddedToken {
	id: number;
	content: string;
	special: boolean;
}

/** Checks what the library takes on trust. */
function check(path: string, json: unknown) {
	const fail = (problem: string): never => {
		throw new TokenizerError(path, problem);
	};
	if (!isObject(json)) return fail("it must hold a JSON object");
	const { model } = json;
	if (!isObject(model)) return fail(`its "model" is ${quoted(model)}: an object is needed`);
	const { vocab, merges } = model;
	// Old files do not name the kind.
	const type = model.type ??
		(merges !== undefined ? "BPE" : Array.isArray(vocab) ? "Unigram" : "WordPiece");
	if (type !== "BPE" && type !== "WordPiece" && type !== "Unigram") {
		return fail(`its kind is ${quoted(type)}: supported are BPE, WordPiece and Unigram`);
	}
	if (type === "Unigram" ? !Array.isArray(vocab) : !isObject(vocab)) {
		return fail(`its "model.vocab" is ${quoted(vocab)}: a ${type} model has another`);
	}
	const tokens: string[] = [];
	const put = (token: unknown, id: unknown) => {
		if (typeof token !== "string") return fail(`its token ${quoted(id)} is ${quoted(token)}`);
		if (!Number.isInteger(id) || id as number < 0 || id as number >= MAX_TOKENS) {
			return fail(`its token ${quoted(token)} has the id ${quoted(id)}: a whole number is needed`);
		}
		const before = tokens[id as number];
		if (before !== undefined && before !== token) {
			return fail(`its tokens ${quoted(before)} and ${quoted(token)} have the same id, ${id}`);
		}
		tokens[id as number] = token;
	};
	if (Array.isArray(vocab)) {
		vocab.forEach((entry, id) => {
			const [token, score] = Array.isArray(entry) ? entry : [];
			if (typeof score !== "number") return fail(`its token ${id} is ${quoted(entry)}`);
			put(token, id);
		});
	} else for (const [token, id] of Object.entries(vocab as Json)) put(token, id);

	if (type === "BPE") {
		if (!Array.isArray(merges)) return fail(`its "model.merges" is ${quoted(merges)}`);
		merges.forEach((merge, i) => {
			const pair = typeof merge === "string" ? merge.split(" ") : merge;
			if (
				!Array.isArray(pair) || pair.length !== 2 || pair.some((part) => typeof part !== "string")
			) fail(`its merge ${i} is ${quoted(merge)}: two tokens are needed`);
		});
	}
	const added = json.added_tokens ?? [];
	if (!Array.isArray(added)) return fail(`its "added_tokens" is ${quoted(added)}`);
	for (const token of added) {
		if (!isObject(token)) return fail(`its added token is ${quoted(token)}`);
		put(token.content, token.id);
		if (token.content === "") return fail("an added token is empty");
	}
	if (tokens.length === 0) return fail("its vocabulary has no tokens");
	const parts = ["normalizer", "pre_tokenizer", "post_processor", "decoder"];
	const checked: Json = {
		model: { ...(type === "WordPiece" ? WORD_PIECE : {}), ...model, type },
		added_tokens: added,
		...Object.fromEntries(parts.map((name) => [name, json[name] ?? null])),
	};
	for (const name of parts) {
		const part = checked[name];
		if (part !== null && !isObject(part)) return fail(`its "${name}" is ${quoted(part)}`);
		const pattern = badPattern(part);
		if (pattern) {
			return fail(`its "${name}" has the pattern ${quoted(pattern)}: it is of no known kind`);
		}
	}
	checked.pre_tokenizer = withDigitsAsRust(checked.pre_tokenizer);
	return { checked, tokens, added: added as AddedToken[] };
}

/** A pattern within a part that the library would leave out with a warning. */
function badPattern(part: unknown): unknown {
	if (typeof part !== "object" || part === null) return undefined;
	for (const [key, value] of Object.entries(part)) {
		if (key === "pattern" && isObject(value)) {
			if (typeof value.Regex !== "string" && typeof value.String !== "string") return value;
		} else {
			const found = badPattern(value);
			if (found) return found;
		}
	}
}

/** Digits to the Rust library are all numeric characters, to the JavaScript one 0 to 9. */
function withDigitsAsRust(part: unknown): unknown {
	if (!isObject(part)) return part;
	if (part.type === "Digits") {
		const Regex = part.individual_digits ? "\\p{N}" : "\\p{N}+";
		return { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false };
	}
	if (!Array.isArray(part.pretokenizers)) return part;
	return { ...part, pretokenizers: part.pretokenizers.map(withDigitsAsRust) };
}

/** How tokens name bytes, by the parts of the decoder. */
function namesBytes(decoder: unknown): (token: string) => Uint8Array | undefined {
	if (!isObject(decoder)) return () => undefined;
	const parts = Array.isArray(decoder.decoders) ? decoder.decoders : [decoder];
	if (parts.some((part) => part?.type === "ByteLevel")) return bytesOfNames;
	if (!parts.some((part) => part?.type === "ByteFallback")) return () => undefined;
	return (token) => {
		const byte = byteOfToken(token);
		return byte === undefined ? undefined : Uint8Array.of(byte);
	};
}
