// The WordPiece vocabulary of a GGUF file, as BERT's have it, put as tokenizer.json would: a token that begins a word
// has "▁" before it there, one that continues a word nothing.

import { GgufError, type GgufFile } from "./gguf.ts";
import { TokenizerJson } from "./tokenizer_json.ts";

const CONTROL = 3, USER_DEFINED = 4;
const WORD = "\u2581"; // "▁"

/**
 * The tokenizer of a file whose `tokenizer.ggml.model` is "bert". Text is lowercased and loses its accents, as BERT's
 * uncased models want it, unless the vocabulary has words with capital letters: the file does not say.
 *
 * @param types the kinds of its tokens
 * @throws {GgufError} if its vocabulary does not hold together
 */
export function ggufWordPiece(file: GgufFile, tokens: string[], types: number[]): TokenizerJson {
	const contents = tokens.map((token, id) =>
		types[id] === CONTROL || /^\[.*\]$/s.test(token)
			? token
			: token.startsWith(WORD)
			? token.slice(WORD.length)
			: types[id] === USER_DEFINED
			? token
			: `##${token}`
	);
	const ids = new Map<string, number>();
	contents.forEach((token, id) => {
		const before = ids.get(token);
		if (token !== "" && before === undefined) return ids.set(token, id);
		throw new GgufError(
			file.path,
			token === "" ? `its token ${id} is empty` : `its tokens ${before} and ${id} are the same`,
		);
	});
	/** The token of a role, by the first key that the file has, or by its usual name. */
	const special = (name: string, ...keys: string[]) => {
		const values = keys.map((key) => file.optionalNumber(`tokenizer.ggml.${key}_token_id`));
		const token = contents[values.find((id) => id !== undefined) ?? ids.get(name) ?? -1];
		if (token !== undefined) return token;
		throw new GgufError(file.path, `its vocabulary has no ${name}, which "bert" needs`);
	};
	const cls = special("[CLS]", "cls", "bos"), sep = special("[SEP]", "seperator"); // spelled so
	const unknown = special("[UNK]", "unknown"), padding = special("[PAD]", "padding");
	const always = new Set([cls, sep, unknown, padding]);
	const isSpecial = (id: number) => types[id] === CONTROL || always.has(contents[id]!);
	const cased = contents.some((token, id) => !isSpecial(id) && /^[A-Z]/.test(token));
	return new TokenizerJson(file.path, {
		model: { type: "WordPiece", unk_token: unknown, vocab: Object.fromEntries(ids) },
		added_tokens: contents
			.map((content, id) => ({ id, content, special: isSpecial(id) }))
			.filter(({ id, special }) => special || types[id] === USER_DEFINED),
		normalizer: {
			type: "BertNormalizer",
			clean_text: true,
			handle_chinese_chars: true,
			strip_accents: null,
			lowercase: !cased,
		},
		pre_tokenizer: { type: "BertPreTokenizer" },
		post_processor: {
			type: "BertProcessing",
			cls: [cls, ids.get(cls)],
			sep: [sep, ids.get(sep)],
		},
		decoder: { type: "WordPiece", prefix: "##", cleanup: true },
	}, { cls_token: cls, sep_token: sep, unk_token: unknown, pad_token: padding });
}
