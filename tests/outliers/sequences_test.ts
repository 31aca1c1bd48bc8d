// Texts become consecutive sequences of tokens with no special tokens.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
	DEFAULT_TEXT,
	GgufFile,
	GgufTokenizer,
	PAPER_SENTENCE,
	type Tokenizer,
	TokenizerJson,
} from "../../mod.ts";
import { cutSequences } from "../../src/outliers/sequences.ts";
import { tinyVocabulary, writeGguf } from "../formats/write_gguf.ts";
import recorded from "../fixtures/minilm_reference.json" with { type: "json" };
import { miniLMPath, smolLM2Path } from "../model.ts";

async function tokenizerOf(path: string): Promise<Tokenizer> {
	using file = await GgufFile.open(path);
	return GgufTokenizer.from(file);
}

const path = await Deno.makeTempFile({ suffix: ".gguf" });
const data = new Uint8Array(4);
writeGguf(path, {
	metadata: { "general.architecture": { kind: "string", value: "llama" }, ...tinyVocabulary() },
	tensors: [{ name: "x", shape: [1], type: "F32", data }],
});
const tokenizer = await tokenizerOf(path);
await Deno.remove(path);

const text = { source: "mine", text: "xyzuvw" }; // no merges: a token a byte

Deno.test("sequences follow each other from the start of the text", () => {
	const sequences = cutSequences(tokenizer, text, 2, 3);
	assertEquals(sequences.map(({ tokenTexts }) => tokenTexts.join("")), ["xy", "zu", "vw"]);
	assertEquals(sequences.flatMap(({ tokenIds }) => tokenIds), tokenizer.encode(text.text));
	assertEquals(sequences.map(({ source }) => source), ["mine", "mine", "mine"]);
	assertEquals(cutSequences(tokenizer, text, 4, 1)[0].tokenTexts.join(""), "xyzu");
});

Deno.test("a text shorter than a sequence is one shorter sequence", () => {
	assertEquals(cutSequences(tokenizer, text, 100, 1).map(({ tokenIds }) => tokenIds.length), [6]);
});

Deno.test("a text too short for so many sequences is refused, with what would do", () => {
	assertThrows(
		() => cutSequences(tokenizer, text, 4, 2),
		RangeError,
		"Cannot cut 2 sequences of 4 tokens from the mine: it has 6 tokens; give a longer text",
	);
	assertThrows(() => cutSequences(tokenizer, text, 100, 2), RangeError, "it has 6 tokens");
});

Deno.test("an empty text, and lengths and numbers that are not whole and positive, are refused", () => {
	assertThrows(
		() => cutSequences(tokenizer, { source: "mine", text: "" }, 4, 1),
		RangeError,
		"Cannot analyze the mine: it is empty",
	);
	for (const wrong of [0, -1, 1.5, NaN, Infinity]) {
		const rule = "it must be a whole number, 1 or more";
		const refuse = (length: number, count: number, name: string) =>
			assertThrows(
				() => cutSequences(tokenizer, text, length, count),
				RangeError,
				`Cannot use ${wrong} as ${name}: ${rule}`,
			);
		refuse(wrong, 1, "length");
		refuse(2, wrong, "sequences");
	}
});

Deno.test("the paper's sentence has the 8 tokens of its figures, the default text over 2,048", async () => {
	const smollm2 = await tokenizerOf(smolLM2Path());
	assertEquals(
		cutSequences(smollm2, PAPER_SENTENCE, 2048, 1)[0].tokenTexts,
		["Summer", " is", " warm", ".", " Winter", " is", " cold", "."],
	);
	const [sequence] = cutSequences(smollm2, DEFAULT_TEXT, 2048, 1);
	assertEquals([sequence.tokenIds.length, sequence.source], [2048, "default text"]);
	assert(sequence.tokenTexts.every((text) => typeof text === "string"));
});

Deno.test("an encoder's sequences are within its special tokens, as transformers has them", async () => {
	const minilm = await TokenizerJson.open(miniLMPath());
	const [whole] = cutSequences(minilm, PAPER_SENTENCE, 512, 1, true);
	assertEquals(whole!.tokenIds, recorded.inputs[0]!.tokenIds);
	assertEquals(whole!.tokenTexts.at(0), "[CLS]");
	const [cls, ...inner] = whole!.tokenIds, sep = inner.pop();
	assertEquals(
		cutSequences(minilm, PAPER_SENTENCE, 6, 2, true).map(({ tokenIds }) => tokenIds),
		[[cls, ...inner.slice(0, 4), sep], [cls, ...inner.slice(4, 8), sep]],
	);
	assertThrows(
		() => cutSequences(minilm, PAPER_SENTENCE, 2, 1, true),
		RangeError,
		"2 of them are special tokens",
	);
	// SmolLM2's tokenizer puts nothing around a text.
	const smollm2 = await tokenizerOf(smolLM2Path());
	assertEquals(
		cutSequences(smollm2, PAPER_SENTENCE, 2048, 1, true),
		cutSequences(smollm2, PAPER_SENTENCE, 2048, 1),
	);
	const tokens = { source: "ids", tokenIds: [1, 2, 3] };
	assertEquals(cutSequences(minilm, tokens, 3, 1, true)[0]!.tokenIds, [1, 2, 3]);
});
