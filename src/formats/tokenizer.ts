// Text to token ids and back, from the vocabulary inside a GGUF file: GPT-2's byte-level byte-pair
// encoding, and SentencePiece's with its byte fallback. Stages: added tokens are found in the text,
// the rest is cut into pieces, a piece is encoded (and remembered), ids come back as bytes.
// Chat templates and tokens put around a text (beginning, end) are not done here.

import { bytePairEncode } from "./bpe.ts";
import { GgufError, type GgufFile } from "./gguf.ts";
import { type PreTokenizer, preTokenizers } from "./pretokenize.ts";

// The kinds of token, `tokenizer.ggml.token_type`.
const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6;

const SPACE = "\u2581"; // "▁", SentencePiece's mark for a space
const MAX_MERGES = 2 ** 20; // as far as `bytePairEncode` ranks
const MAX_CACHED_PIECES = 1 << 16, MAX_CACHED_LENGTH = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

// GPT-2's names for bytes: printable Latin-1 stands for itself, the others follow from U+0100 on.
const byteNames: string[] = [];
const namedBytes = new Map<string, number>();
for (let byte = 0, unnamed = 0; byte < 256; byte++) {
  const printable = byte > 32 && byte < 127 || byte > 160 && byte !== 173;
  byteNames.push(String.fromCharCode(printable ? byte : 256 + unnamed++));
  namedBytes.set(byteNames[byte], byte);
}

/** What differs between the two kinds of vocabulary. */
interface Coding {
  /** The ids of a stretch of text without added tokens. */
  encode(text: string): number[];
  /** The bytes that a token other than an added one stands for. */
  bytes(token: string, type: number): Uint8Array;
  /** Whether `encode` puts a space before the text, which decoding takes away again. */
  spacePrefix: boolean;
}

/**
 * A model's tokenizer. Agrees with Hugging Face's `tokenizers` and with llama.cpp.
 *
 * @example Count the tokens of a text
 * ```ts ignore
 * using file = await GgufFile.open("model.gguf");
 * const tokenizer = Tokenizer.fromGguf(file);
 * console.log(tokenizer.encode("Hello, world").length);
 * ```
 */
export class Tokenizer {
  /** The number of tokens in the vocabulary: ids are 0 to `size - 1`. */
  readonly size: number;
  #tokens: string[];
  #types: number[];
  #added: ReadonlyMap<string, number>;
  #findAdded: RegExp | undefined;
  #coding: Coding;

  private constructor(tokens: string[], types: number[], coding: Coding) {
    this.size = tokens.length;
    this.#tokens = tokens;
    this.#types = types;
    this.#coding = coding;
    const added = new Map<string, number>();
    tokens.forEach((token, id) => {
      if (isAdded(types[id]) && token !== "") added.set(token, id);
    });
    this.#added = added;
    if (added.size > 0) {
      // Longest first: of several that begin at one place, the longest is the one meant.
      const patterns = [...added.keys()].sort((a, b) => b.length - a.length).map(RegExp.escape);
      this.#findAdded = new RegExp(`(${patterns.join("|")})`);
    }
  }

  /**
   * Builds the tokenizer that a GGUF file describes.
   *
   * Supported are `tokenizer.ggml.model` "gpt2" with `tokenizer.ggml.pre` "smollm", "gpt-2",
   * "default", "llama-bpe" or "qwen2", and "llama" (SentencePiece byte-pair encoding with all 256
   * byte tokens).
   *
   * @throws {GgufError} If it is of another kind or its vocabulary does not hold together.
   */
  static fromGguf(file: GgufFile): Tokenizer {
    const model = file.string("tokenizer.ggml.model");
    const tokens = file.strings("tokenizer.ggml.tokens");
    const types = file.optionalNumbers("tokenizer.ggml.token_type") ?? tokens.map(() => NORMAL);
    if (tokens.length === 0) throw new GgufError(file.path, "its vocabulary has no tokens");
    requireLength(file, "tokenizer.ggml.token_type", types, tokens);
    if (model === "gpt2") return new Tokenizer(tokens, types, byteLevel(file, tokens));
    if (model === "llama") return new Tokenizer(tokens, types, sentencePiece(file, tokens, types));
    throw new GgufError(
      file.path,
      `its tokenizer is of kind "${model}": supported are "gpt2" and "llama"`,
    );
  }

  /**
   * Returns the ids of a text's tokens. Added tokens written in the text (such as `<|im_end|>`)
   * become their ids; none is put around it. Half a surrogate pair is read as U+FFFD.
   */
  encode(text: string): number[] {
    if (text === "") return [];
    const ids: number[] = [];
    const parts = this.#findAdded ? text.split(this.#findAdded) : [text];
    parts.forEach((part, i) => { // texts and added tokens in turn
      if (i % 2 === 1) ids.push(this.#added.get(part)!);
      else if (part !== "") {
        for (const id of this.#coding.encode(part.toWellFormed())) ids.push(id);
      }
    });
    return ids;
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
    const bytes = this.#bytes(id);
    let text = "";
    for (let i = 0; i < bytes.length;) {
      const length = bytes[i] < 0x80 ? 1 : bytes[i] < 0xe0 ? 2 : bytes[i] < 0xf0 ? 3 : 4;
      try {
        text += strictDecoder.decode(bytes.subarray(i, i + length));
        i += length;
      } catch {
        text += byteToken(bytes[i++]);
      }
    }
    return text;
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

function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
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
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const ranks = mergeRanks(file, ids);
  const rank = (left: string, right: string) => ranks.get(`${left} ${right}`);
  return {
    spacePrefix: false,
    encode: remembering(pre, (piece) => {
      // A byte that has no token is left out, as the references do.
      const symbols = Array.from(encoder.encode(piece), (byte) => byteNames[byte])
        .filter((symbol) => ids.has(symbol));
      const whole = pre.wholePieces ? ids.get(symbols.join("")) : undefined;
      if (whole !== undefined) return [whole];
      return bytePairEncode(symbols, rank).map((symbol) => ids.get(symbol)!);
    }),
    bytes(token) {
      const bytes = Array.from(token, (name) => namedBytes.get(name) ?? -1);
      return bytes.includes(-1) ? encoder.encode(token) : Uint8Array.from(bytes);
    },
  };
}

// The rank of each merge by its text, "left right".
function mergeRanks(file: GgufFile, ids: ReadonlyMap<string, number>): Map<string, number> {
  const merges = file.strings("tokenizer.ggml.merges");
  if (merges.length > MAX_MERGES) {
    throw new GgufError(
      file.path,
      `it has ${merges.length} merges: at most ${MAX_MERGES} are supported`,
    );
  }
  const ranks = new Map<string, number>();
  for (let i = 0; i < merges.length; i++) {
    const merge = merges[i], cut = merge.indexOf(" ", 1);
    const left = merge.slice(0, cut), right = merge.slice(cut + 1);
    for (const token of cut < 0 ? [merge] : [left, right, left + right]) {
      if (cut > 0 && ids.has(token)) continue;
      throw new GgufError(
        file.path,
        `merge ${i}, ${JSON.stringify(merge)}, ` +
          (cut < 0
            ? "must be two tokens with a space between"
            : `needs ${JSON.stringify(token)}, which is not in the vocabulary`),
      );
    }
    ranks.set(merge, i);
  }
  return ranks;
}

// Encodes a text piece by piece, each piece once.
function remembering(pre: PreTokenizer, encode: (piece: string) => number[]) {
  const known = new Map<string, number[]>();
  return (text: string) => {
    const result: number[] = [];
    for (const piece of (pre.nfc ? text.normalize("NFC") : text).match(pre.pieces) ?? []) {
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
  const ids = new Map<string, number>(), ranks = new Map<string, number>();
  const byteIds = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (types[id] === BYTE) byteIds.set(token, id);
    if (types[id] === NORMAL || types[id] === USER_DEFINED || types[id] === UNUSED) {
      ids.set(token, id);
      ranks.set(token, order.get(scores[id])!);
    }
  });
  for (let byte = 0; byte < 256; byte++) {
    if (byteIds.has(byteToken(byte))) continue;
    throw new GgufError(
      file.path,
      `its vocabulary has no token "${
        byteToken(byte)
      }": only SentencePiece vocabularies with all ` +
        "256 byte tokens are supported",
    );
  }
  const rank = (left: string, right: string) => ranks.get(left + right);
  return {
    spacePrefix,
    encode(text) {
      const symbols = Array.from((spacePrefix ? " " + text : text).replaceAll(" ", SPACE));
      return bytePairEncode(symbols, rank).flatMap((symbol) =>
        ids.get(symbol) ??
          Array.from(encoder.encode(symbol), (byte) => byteIds.get(byteToken(byte))!)
      );
    },
    bytes(token, type) {
      const byte = type === BYTE ? /^<0x([0-9A-F]{2})>$/.exec(token) : null;
      if (byte) return Uint8Array.of(parseInt(byte[1], 16));
      return encoder.encode(token.replaceAll(SPACE, " "));
    },
  };
}
