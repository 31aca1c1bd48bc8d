// How text is cut into pieces before byte-pair encoding: one pattern for each pre-tokenizer that a
// GGUF file can name. Hugging Face's patterns (Rust) rewritten for JavaScript, where `\s` is another
// set of characters (it has U+FEFF and lacks U+0085) and is therefore spelled out.

/** How one pre-tokenizer prepares text. */
export interface PreTokenizer {
	/** Matches the pieces, one after the other: together they are the whole text. */
	pieces: RegExp;
	/** Whether text is first brought to Unicode's normal form C. */
	nfc: boolean;
	/** Whether a piece that is itself a token is taken whole, before any merge. */
	wholePieces: boolean;
}

const S = String.raw`\p{White_Space}`;
const contraction = "'s|'t|'re|'ve|'m|'ll|'d";
const space = String.raw`${S}+(?!\P{White_Space})|${S}+`;
const other = String.raw` ?[^${S}\p{L}\p{N}]+`;
const byteLevel = String.raw`${contraction}| ?\p{L}+| ?\p{N}+|${other}|${space}`;

// Digits are cut out one by one first, so for the spaces before one the text ends there.
const digitsThenByteLevel = String.raw`\p{N}|${contraction}| ?\p{L}+|${other}|` +
	String.raw`${S}+(?![^${S}\p{N}])|${S}+`;

const llama3 = (digits: string) =>
	String.raw`(?i:${contraction})|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}|${other}[\r\n]*|` +
	String.raw`${S}*[\r\n]+|${space}`;

// Runs of punctuation are cut out first, so spaces before one are at an end; digits go by threes from the first on.
const P = "\\p{P}$+<=>^~|`";
const falcon = String.raw`[${P}]+| ?\p{L}+|[0-9]{3}| (?=[0-9]{3})| ?(?:(?![0-9]{3})\p{N})+|` +
	String.raw` ?[^${S}\p{L}\p{N}${P}]+|${S}+(?![^${S}${P}])|${S}+`;

function preTokenizer(pattern: string, nfc = false, wholePieces = false): PreTokenizer {
	return { pieces: new RegExp(pattern, "gu"), nfc, wholePieces };
}

/** The pre-tokenizers by the name that `tokenizer.ggml.pre` gives them. */
export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map([
	["default", preTokenizer(byteLevel)],
	["gpt-2", preTokenizer(byteLevel)],
	["phi-2", preTokenizer(byteLevel)],
	["mpt", preTokenizer(byteLevel, true)],
	["olmo", preTokenizer(byteLevel, true)], // also of GPT-NeoX and Pythia
	["falcon", preTokenizer(falcon)],
	["smollm", preTokenizer(digitsThenByteLevel)],
	["llama-bpe", preTokenizer(llama3(String.raw`\p{N}{1,3}`), false, true)],
	["qwen2", preTokenizer(llama3(String.raw`\p{N}`), true)],
]);
