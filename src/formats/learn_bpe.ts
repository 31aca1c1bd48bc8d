// Learns a byte-level BPE vocabulary from texts. Gives the merges that Hugging Face's `tokenizers` learns from them.

import { preTokenizers } from "./pretokenize.ts";
import { byteNames } from "./token_text.ts";

const END_OF_TEXT = "<|endoftext|>";

/** Options of {@linkcode learnBpe}. */
export interface LearnBpeOptions {
	/** How many tokens to learn, with the 256 bytes and the special token, which has the id 0. */
	size: number;
	/** The special token, which no text becomes and which begins and ends documents. @default {"<|endoftext|>"} */
	special?: string;
}

/** What the files of a tokenizer say, as `transformers` reads them. */
export interface TokenizerFiles {
	/** tokenizer.json */
	tokenizer: Record<string, unknown>;
	/** tokenizer_config.json */
	config: Record<string, unknown>;
}

/** A pair of neighbours and how often it was counted when it was queued. */
interface Candidate {
	pair: number;
	count: number;
}

/**
 * Learns a byte-level BPE tokenizer as GPT-2's is: again and again the most frequent pair of neighbours becomes a
 * token. Of pairs that are equally frequent the one of the lowest ids comes first. Texts that repeat too little give
 * fewer tokens than asked for.
 *
 * @param texts documents; no token reaches from one into the next
 * @throws {RangeError} if the size has no room for all bytes
 *
 * @example
 * ```ts
 * import { learnBpe, TokenizerJson } from "jsr:@outlierscope/outlierscope";
 *
 * const { tokenizer } = await learnBpe(["low lower lowest", "new newer newest"], { size: 262 });
 * console.log(new TokenizerJson("tokenizer.json", tokenizer).encode("slow").length);
 * ```
 */
export async function learnBpe(
	texts: Iterable<string> | AsyncIterable<string>,
	{ size, special = END_OF_TEXT }: LearnBpeOptions,
): Promise<TokenizerFiles> {
	const names = [...byteNames].sort(), tokens = [special, ...names];
	if (!(Number.isInteger(size) && size >= tokens.length && size <= 2 ** 24)) {
		throw new RangeError(
			`Cannot learn ${size} tokens: the bytes and the special token are ${tokens.length}`,
		);
	}
	const words = await countWords(texts);
	const ids = new Map(tokens.map((token, id) => [token, id]));
	const byteIds = byteNames.map((name) => ids.get(name)!);
	const encoder = new TextEncoder();
	const merges = learnMerges(
		[...words.keys()].map((word) => Array.from(encoder.encode(word), (byte) => byteIds[byte]!)),
		[...words.values()],
		tokens,
		ids,
		size,
	);
	return {
		tokenizer: {
			version: "1.0",
			truncation: null,
			padding: null,
			added_tokens: [{
				id: 0,
				content: special,
				single_word: false,
				lstrip: false,
				rstrip: false,
				normalized: false,
				special: true,
			}],
			normalizer: null,
			pre_tokenizer: {
				type: "ByteLevel",
				add_prefix_space: false,
				trim_offsets: true,
				use_regex: true,
			},
			post_processor: null,
			decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
			model: {
				type: "BPE",
				dropout: null,
				unk_token: null,
				continuing_subword_prefix: null,
				end_of_word_suffix: null,
				fuse_unk: false,
				byte_fallback: false,
				ignore_merges: false,
				vocab: Object.fromEntries(ids),
				merges,
			},
		},
		config: {
			tokenizer_class: "PreTrainedTokenizerFast",
			bos_token: special,
			eos_token: special,
			clean_up_tokenization_spaces: false,
		},
	};
}

/** How often each piece occurs that no merge reaches out of. */
async function countWords(texts: Iterable<string> | AsyncIterable<string>) {
	const { pieces } = preTokenizers.get("gpt-2")!, words = new Map<string, number>();
	for await (const text of texts) {
		for (const [word] of text.toWellFormed().matchAll(pieces)) {
			words.set(word, (words.get(word) ?? 0) + 1);
		}
	}
	return words;
}

/** Merges pairs until there are `size` tokens; `tokens` and `ids` grow. */
function learnMerges(
	words: number[][],
	counts: number[],
	tokens: string[],
	ids: Map<string, number>,
	size: number,
): [string, string][] {
	const keyOf = (left: number, right: number) => left * 2 ** 24 + right;
	const frequency = new Map<number, number>(), places = new Map<number, Set<number>>();
	const queue = new Queue(), merges: [string, string][] = [];
	/** Counts a word's pairs, `sign` 1, or takes them back, -1. Returns the pairs. */
	const count = (word: number, sign: 1 | -1): number[] => {
		const symbols = words[word]!, pairs: number[] = [];
		for (let i = 1; i < symbols.length; i++) {
			const pair = keyOf(symbols[i - 1]!, symbols[i]!);
			frequency.set(pair, (frequency.get(pair) ?? 0) + sign * counts[word]!);
			pairs.push(pair);
		}
		return pairs;
	};
	const add = (word: number, changed: Set<number>) => {
		for (const pair of count(word, 1)) {
			const found = places.get(pair);
			if (found) found.add(word);
			else places.set(pair, new Set([word]));
			changed.add(pair);
		}
	};
	const queueAll = (pairs: Set<number>) => {
		for (const pair of pairs) queue.push({ pair, count: frequency.get(pair)! });
	};

	const initial = new Set<number>();
	for (let word = 0; word < words.length; word++) add(word, initial);
	queueAll(initial);
	while (ids.size < size) {
		const best = queue.pop();
		if (!best) break;
		const { pair } = best, now = frequency.get(pair)!;
		if (now <= 0) continue;
		if (now !== best.count) { // it has lost some to other pairs since it was queued
			queue.push({ pair, count: now });
			continue;
		}
		const left = Math.floor(pair / 2 ** 24), right = pair % 2 ** 24;
		const token = tokens[left]! + tokens[right]!;
		const id = ids.get(token) ?? tokens.length;
		if (id === tokens.length) {
			tokens.push(token);
			ids.set(token, id);
		}
		merges.push([tokens[left]!, tokens[right]!]);
		const changed = new Set<number>();
		for (const word of places.get(pair)!) {
			count(word, -1);
			words[word] = merge(words[word]!, left, right, id);
			add(word, changed);
		}
		frequency.delete(pair);
		places.delete(pair);
		// Only pairs with the new token have become more frequent.
		queueAll(
			new Set(
				[...changed].filter((key) => Math.floor(key / 2 ** 24) === id || key % 2 ** 24 === id),
			),
		);
	}
	return merges;
}

/** The symbols with each `left`, `right` made into `id`. */
function merge(symbols: number[], left: number, right: number, id: number): number[] {
	const merged: number[] = [];
	for (let i = 0; i < symbols.length; i++) {
		if (symbols[i] === left && symbols[i + 1] === right) {
			merged.push(id);
			i++;
		} else merged.push(symbols[i]!);
	}
	return merged;
}

const isBefore = (a: Candidate, b: Candidate) =>
	a.count > b.count || a.count === b.count && a.pair < b.pair;

/** A binary heap: the most frequent first. */
class Queue {
	readonly #heap: Candidate[] = [];

	push(candidate: Candidate): void {
		const heap = this.#heap;
		let i = heap.push(candidate) - 1;
		for (let up; i > 0 && isBefore(candidate, heap[up = (i - 1) >> 1]!); i = up) {
			heap[i] = heap[up]!;
		}
		heap[i] = candidate;
	}

	pop(): Candidate | undefined {
		const heap = this.#heap, first = heap[0], last = heap.pop();
		if (!last || heap.length === 0) return first;
		let i = 0;
		for (let down; (down = 2 * i + 1) < heap.length; i = down) {
			if (down + 1 < heap.length && isBefore(heap[down + 1]!, heap[down]!)) down++;
			if (!isBefore(heap[down]!, last)) break;
			heap[i] = heap[down]!;
		}
		heap[i] = last;
		return first;
	}
}
