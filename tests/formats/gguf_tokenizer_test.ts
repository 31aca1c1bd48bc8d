// The tokenizer against recorded references (tests/fixtures/record_tokenizer.py made them from
// llama.cpp, Rust `tokenizers` and SentencePiece), round trips of random text, and bad vocabularies.

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { GgufError, GgufFile } from "../../src/formats/gguf.ts";
import { preTokenizers } from "../../src/formats/pretokenize.ts";
import { GgufTokenizer } from "../../src/formats/gguf_tokenizer.ts";
import type { Tokenizer } from "../../src/formats/tokenizer.ts";
import { smolLM2Path } from "../model.ts";
import { tinyVocabulary, type TypedValue, writeGguf } from "./write_gguf.ts";
import pretokenized from "../fixtures/pretokenizers.json" with { type: "json" };
import sentencePiece from "../fixtures/tokenizer_sentencepiece.json" with { type: "json" };
import smolLM2 from "../fixtures/tokenizer_smollm2.json" with { type: "json" };

async function build(metadata: Record<string, TypedValue>): Promise<Tokenizer> {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		writeGguf(path, { metadata, tensors: [] });
		using file = await GgufFile.open(path);
		return GgufTokenizer.from(file);
	} finally {
		await Deno.remove(path);
	}
}

async function buildError(changes: Record<string, TypedValue | undefined>): Promise<string> {
	const metadata = Object.entries<TypedValue | undefined>({ ...tinyVocabulary(), ...changes })
		.filter((entry): entry is [string, TypedValue] => entry[1] !== undefined);
	try {
		await build(Object.fromEntries(metadata));
	} catch (error) {
		assert(error instanceof GgufError, `Expected a GgufError, got ${error}`);
		assertStringIncludes(error.message, `Cannot use "${error.path}": `);
		return error.message.slice(`Cannot use "${error.path}": `.length);
	}
	throw new Error("Expected the tokenizer not to be built");
}

let smol: Tokenizer | undefined;
async function smolTokenizer(): Promise<Tokenizer> {
	if (smol) return smol;
	using file = await GgufFile.open(smolLM2Path());
	return smol = GgufTokenizer.from(file);
}

const sentencePieceMetadata: Record<string, TypedValue> = {
	"tokenizer.ggml.model": { kind: "string", value: "llama" },
	"tokenizer.ggml.tokens": { kind: "string", value: sentencePiece.tokens },
	"tokenizer.ggml.scores": { kind: "float32", value: sentencePiece.scores },
	"tokenizer.ggml.token_type": { kind: "int32", value: sentencePiece.types },
};

// Random valid Unicode of all planes, with the characters that matter most often among them.
function randomText(random: () => number): string {
	const ranges = [[0, 0x7f], [0x20, 0x7e], [0, 0x7ff], [0x800, 0xd7ff], [0xe000, 0xffff], [
		0x10000,
		0x10ffff,
	]];
	const common = [" ", "  ", "\n", "\t", "'s", "the", "1", "é", "\u00a0", "<|im_end|>", "\ufeff"];
	let text = "";
	for (let i = Math.floor(random() * 40); i > 0; i--) {
		const [low, high] = ranges[Math.floor(random() * ranges.length)];
		text += random() < 0.4
			? common[Math.floor(random() * common.length)]
			: String.fromCodePoint(low + Math.floor(random() * (high - low + 1)));
	}
	return text;
}

function seeded(seed: number): () => number { // mulberry32
	return () => {
		seed = (seed + 0x6d2b79f5) | 0;
		let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}

function assertRoundTrips(tokenizer: Tokenizer): void {
	const seed = Math.floor(Math.random() * 2 ** 31);
	const random = seeded(seed);
	for (let i = 0; i < 2000; i++) {
		// SentencePiece takes "▁" for a space, and so cannot give it back.
		const text = randomText(random).replaceAll("▁", "");
		const back = tokenizer.decode(tokenizer.encode(text));
		if (back !== text) {
			const show = (text: string) =>
				JSON.stringify(text).replace(
					/[^ -~]/g,
					(c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
				);
			throw new Error(`Seed ${seed}, text ${i}: ${show(text)} came back as ${show(back)}`);
		}
	}
}

Deno.test("GgufTokenizer.encode() gives the first ids of a text as those of all of it", async () => {
	for (const tokenizer of [await smolTokenizer(), await build(sentencePieceMetadata)]) {
		const seed = Math.floor(Math.random() * 2 ** 31);
		const random = seeded(seed);
		for (let i = 0; i < 200; i++) {
			const text = randomText(random);
			const ids = tokenizer.encode(text);
			for (const limit of [0, 1, 2, Math.floor(random() * 30), ids.length, ids.length + 1]) {
				const expected = ids.slice(0, limit);
				assertEquals(
					tokenizer.encode(text, { limit }),
					expected,
					`seed ${seed}, text ${i}, ${limit}`,
				);
			}
		}
	}
});

Deno.test("GgufTokenizer.encode() agrees with llama.cpp and with tokenizers on SmolLM2's vocabulary", async () => {
	const tokenizer = await smolTokenizer();
	assert(smolLM2.cases.length >= 120);
	for (const { text, ids } of smolLM2.cases) {
		assertEquals(tokenizer.encode(text), ids, `on ${JSON.stringify(text)}`);
	}
});

Deno.test("GgufTokenizer.decode() gives back every recorded text", async () => {
	const tokenizer = await smolTokenizer();
	for (const { text, ids } of smolLM2.cases) {
		// This vocabulary lacks the bytes of six control characters and of planes 4 to 11 (unused).
		// deno-lint-ignore no-control-regex
		if (/[\x04\x06\x13\x14\x16\x1d\u{40000}-\u{bffff}]/u.test(text)) continue;
		assertEquals(tokenizer.decode(ids), text, `on ${JSON.stringify(text)}`);
	}
});

Deno.test("GgufTokenizer.decode() gives back any text over all 256 bytes", async () => {
	for (const pre of preTokenizers.keys()) {
		if (preTokenizers.get(pre)!.nfc) continue; // a normal form is not undone
		assertRoundTrips(await build(tinyVocabulary(undefined, pre)));
	}
});

Deno.test("GgufTokenizer.encode() brings text to normal form C for qwen2, mpt and olmo", async () => {
	for (const pre of ["qwen2", "mpt", "olmo"]) {
		const tokenizer = await build(tinyVocabulary([], pre));
		assertEquals(tokenizer.encode("e\u0301"), tokenizer.encode("\u00e9"));
	}
});

Deno.test("GgufTokenizer.encode() takes a piece that is a token whole for llama-bpe", async () => {
	// "abc" cannot be reached by merges: with "b c" first, "a b" has nothing left to join.
	const merges = ["b c", "a b", "ab c"];
	const whole = await build(tinyVocabulary(merges, "llama-bpe"));
	assertEquals(whole.encode("abc").map((id) => whole.tokenText(id)), ["abc"]);
	const merged = await build(tinyVocabulary(merges, "gpt-2"));
	assertEquals(merged.encode("abc").map((id) => merged.tokenText(id)), ["a", "bc"]);
});

Deno.test("GgufTokenizer.encode() puts the special tokens around a text that the file asks for", async () => {
	const id = (value: number): TypedValue => ({ kind: "uint32", value });
	const flag = (value: boolean): TypedValue => ({ kind: "bool", value });
	const around = async (metadata: Record<string, TypedValue>) => {
		const tokenizer = await build(metadata);
		const inner = tokenizer.encode("an"), all = tokenizer.encode("an", { specialTokens: true });
		const at = all.join().indexOf(inner.join());
		assert(at >= 0);
		assertEquals(tokenizer.encode("an", { specialTokens: true, limit: 1 }), all.slice(0, 1));
		return [all.join().slice(0, at), all.join().slice(at + inner.join().length)];
	};
	const ids = { "tokenizer.ggml.bos_token_id": id(1), "tokenizer.ggml.eos_token_id": id(2) };
	const both = {
		"tokenizer.ggml.add_bos_token": flag(true),
		"tokenizer.ggml.add_eos_token": flag(true),
	};
	assertEquals(await around({ ...tinyVocabulary(), ...ids }), ["", ""]);
	assertEquals(await around({ ...tinyVocabulary([], "llama-bpe"), ...ids }), ["1,", ""]);
	assertEquals(await around({ ...tinyVocabulary(), ...ids, ...both }), ["1,", ",2"]);
	assertEquals(await around({ ...sentencePieceMetadata, ...ids }), ["1,", ""]);
	const { special } = await build({ ...tinyVocabulary(), ...ids });
	assertEquals([special.begin, special.end, special.unknown], [1, 2, undefined]);
	assertEquals([...special.all].sort(), [0, 1, 2]);
	const beyond = { "tokenizer.ggml.padding_token_id": id(4_294_967_295) };
	assertEquals((await build({ ...tinyVocabulary(), ...beyond })).special.padding, undefined);
});

Deno.test("GgufTokenizer.encode() reads half a surrogate pair as U+FFFD", async () => {
	const tokenizer = await smolTokenizer();
	assertEquals(tokenizer.encode("a\ud83d b\ude00"), tokenizer.encode("a\ufffd b\ufffd"));
});

Deno.test("GgufTokenizer.encode() gives nothing for an empty text", async () => {
	const tokenizer = await smolTokenizer();
	assertEquals(tokenizer.encode(""), []);
	assertEquals(tokenizer.decode([]), "");
});

Deno.test("GgufTokenizer.encode() takes the longest added token", async () => {
	const tokenizer = await build({
		"tokenizer.ggml.model": { kind: "string", value: "gpt2" },
		"tokenizer.ggml.tokens": { kind: "string", value: ["<a", "<a>", "x", "<a>>"] },
		"tokenizer.ggml.token_type": { kind: "int32", value: [4, 3, 1, 4] },
		"tokenizer.ggml.merges": { kind: "string", value: [] },
	});
	assertEquals(tokenizer.encode("x<a>>x<a>x<ax"), [2, 3, 2, 1, 2, 0, 2]);
});

Deno.test("GgufTokenizer.from() takes the tokens of merges in any order", async () => {
	const tokenizer = await build({
		"tokenizer.ggml.model": { kind: "string", value: "gpt2" },
		"tokenizer.ggml.tokens": { kind: "string", value: ["a", "b", "c", "d", "ab", "ad", "ac"] },
		"tokenizer.ggml.merges": { kind: "string", value: ["a b", "a c", "a d"] },
	});
	assertEquals(tokenizer.encode("abacad"), [4, 6, 5]);
});

Deno.test("GgufTokenizer.encode() handles a text of one endless word", async () => {
	const tokenizer = await smolTokenizer();
	const word = "ab".repeat(50_000);
	assertEquals(tokenizer.decode(tokenizer.encode(word)), word);
});

Deno.test("GgufTokenizer.tokenText() writes bytes that are no text as <0xNN>", async () => {
	const tokenizer = await smolTokenizer();
	assertEquals(tokenizer.size, 49152);
	const texts = tokenizer.encode("Hello \u{1d55c}\n<|im_end|>").map((id) =>
		tokenizer.tokenText(id)
	);
	assertEquals(texts, ["Hello", " ", "<0xF0><0x9D>", "<0x95>", "<0x9C>", "\n", "<|im_end|>"]);
});

Deno.test("GgufTokenizer.decode() names an id outside of the vocabulary", async () => {
	const tokenizer = await smolTokenizer();
	for (const id of [-1, 49152, 0.5, NaN]) {
		assertThrows(() => tokenizer.decode([id]), RangeError, `token ${id}: ids are whole numbers`);
		assertThrows(() => tokenizer.tokenText(id), RangeError, "from 0 to 49151");
	}
});

Deno.test("preTokenizers cut text where Hugging Face's patterns do", () => {
	for (const [name, all] of Object.entries(pretokenized.lengths)) {
		pretokenized.texts.forEach((text, i) => {
			const pieces = text.match(preTokenizers.get(name)!.pieces) ?? [];
			const lengths = pieces.map((piece) => Array.from(piece).length);
			assertEquals(lengths, all[i], `${name} on ${JSON.stringify(text)}`);
		});
	}
});

Deno.test("GgufTokenizer.encode() agrees with SentencePiece on a vocabulary with byte fallback", async () => {
	const tokenizer = await build(sentencePieceMetadata);
	for (const { text, ids } of sentencePiece.cases) {
		assertEquals(tokenizer.encode(text), ids, `on ${JSON.stringify(text)}`);
		assertEquals(tokenizer.decode(ids), text);
	}
});

Deno.test("GgufTokenizer.decode() gives back any text of a SentencePiece vocabulary", async () => {
	assertRoundTrips(await build(sentencePieceMetadata));
	const bare = { kind: "bool", value: false } as const;
	const tokenizer = await build({
		...sentencePieceMetadata,
		"tokenizer.ggml.add_space_prefix": bare,
	});
	assertRoundTrips(tokenizer);
});

Deno.test("GgufTokenizer.from() names an unknown kind of tokenizer", async () => {
	assertEquals(
		await buildError({ "tokenizer.ggml.model": { kind: "string", value: "t5" } }),
		'its tokenizer is of kind "t5": supported are "bert", "gpt2" and "llama"',
	);
});

Deno.test("GgufTokenizer.from() names an unknown pre-tokenizer", async () => {
	assertEquals(
		await buildError({ "tokenizer.ggml.pre": { kind: "string", value: "viking" } }),
		'its pre-tokenizer is "viking": supported are "default", "gpt-2", "phi-2", "mpt", "olmo", ' +
			'"falcon", "smollm", "llama-bpe", "qwen2"',
	);
});

Deno.test("GgufTokenizer.from() names a missing part of the vocabulary", async () => {
	for (const part of ["model", "tokens", "merges"]) {
		assertStringIncludes(
			await buildError({ [`tokenizer.ggml.${part}`]: undefined }),
			`metadata key "tokenizer.ggml.${part}" is missing`,
		);
	}
});

Deno.test("GgufTokenizer.from() names a merge of unknown tokens", async () => {
	const merges = (value: string[]) => ({
		"tokenizer.ggml.merges": { kind: "string", value } as const,
	});
	assertEquals(
		await buildError(merges(["t h", "q zz"])),
		'merge 1, "q zz", needs the token "zz", which is not in the vocabulary',
	);
	assertEquals(
		await buildError(merges(["q z"])),
		'merge 0, "q z", needs the token "qz", which is not in the vocabulary',
	);
	assertEquals(
		await buildError(merges(["th"])),
		'merge 0, "th", must be two tokens with a space between',
	);
});

Deno.test("GgufTokenizer.from() names lists whose lengths differ", async () => {
	assertEquals(
		await buildError({ "tokenizer.ggml.token_type": { kind: "int32", value: [1, 1] } }),
		'metadata key "tokenizer.ggml.token_type" has 2 entries for 264 tokens',
	);
});

Deno.test("GgufTokenizer.from() refuses a SentencePiece vocabulary without all bytes", async () => {
	const tokens = sentencePiece.tokens.map((token) => token === "<0x41>" ? "<0x4>" : token);
	assertStringIncludes(
		await buildError({
			...sentencePieceMetadata,
			"tokenizer.ggml.tokens": { kind: "string", value: tokens },
		}),
		'its vocabulary has no token "<0x41>"',
	);
});

Deno.test("GgufTokenizer.from() refuses an added token too long to search for", async () => {
	assertEquals(
		await buildError({
			"tokenizer.ggml.tokens": { kind: "string", value: ["x".repeat(100_000)] },
			"tokenizer.ggml.token_type": { kind: "int32", value: [3] },
			"tokenizer.ggml.merges": { kind: "string", value: [] },
		}),
		"its added tokens, 1, are too many or too long to be searched for",
	);
});

Deno.test("GgufTokenizer.from() refuses an empty vocabulary", async () => {
	assertEquals(
		await buildError({ "tokenizer.ggml.tokens": { kind: "string", value: [] } }),
		"its vocabulary has no tokens",
	);
});
