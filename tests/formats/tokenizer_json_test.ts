// tokenizer.json against values recorded from Rust `tokenizers` (tests/fixtures/record_tokenizer_json.py), and bad files.

import {
	assert,
	assertEquals,
	assertRejects,
	assertStringIncludes,
	assertThrows,
} from "@std/assert";
import { TokenizerError, TokenizerJson } from "../../src/formats/tokenizer_json.ts";
import { root } from "../../tools/project.ts";
import expected from "../fixtures/tokenizers/expected.json" with { type: "json" };
import smolLM2 from "../fixtures/tokenizer_smollm2.json" with { type: "json" };

const folder = `${root}/tests/fixtures/tokenizers`;
const texts = smolLM2.cases.map(({ text }) => text);

// deno-lint-ignore no-explicit-any
type Json = any;
const read = (path: string): Json => JSON.parse(Deno.readTextFileSync(`${folder}/${path}`));

interface Recorded {
	ids: number[][] | Record<string, number[]>;
	special: number[];
	decoded?: string[];
	changes?: Record<string, unknown>;
}

function build(name: string, changes: Record<string, unknown> = {}): TokenizerJson {
	const json = { ...read(`${name}/tokenizer.json`), ...changes };
	return new TokenizerJson("tokenizer.json", json, read(`${name}/tokenizer_config.json`));
}

for (const [name, recorded] of Object.entries<Recorded>(expected as Record<string, Recorded>)) {
	Deno.test(`TokenizerJson.encode() agrees with Rust tokenizers: ${name}`, () => {
		const base = name.split(" ")[0]!;
		const tokenizer = build(base, recorded.changes);
		const before = (expected as unknown as Record<string, Recorded>)[base]!.ids as number[][];
		assert(texts.length >= 200);
		for (const [i, text] of texts.entries()) {
			const ids = (recorded.ids as Record<number, number[]>)[i] ?? before[i]!;
			assertEquals(tokenizer.encode(text), ids, `on ${JSON.stringify(text)}`);
			const limit = Math.floor(ids.length / 2);
			assertEquals(tokenizer.encode(text, { limit }), ids.slice(0, limit));
		}
		assertEquals(tokenizer.encode(texts[0]!, { specialTokens: true }), recorded.special);
	});
}

Deno.test("TokenizerJson.decode() agrees with Rust tokenizers", () => {
	for (const name of ["byte_level", "sentencepiece", "wordpiece"] as const) {
		const tokenizer = build(name);
		for (const [i, text] of expected[name].decoded.entries()) {
			const ids = expected[name].ids[8 * i]!;
			assertEquals(tokenizer.decode(ids), text, `${name} on ${JSON.stringify(text)}`);
		}
	}
});

Deno.test("TokenizerJson.open() reads a folder and its special tokens", async () => {
	const tokenizer = await TokenizerJson.open(`${folder}/wordpiece`);
	const { begin, end, unknown, padding, all } = tokenizer.special;
	assertEquals([begin, end, unknown, padding], [2, 3, 1, 0]);
	assertEquals([...all].sort(), [0, 1, 2, 3, 4]);
	const level = await TokenizerJson.open(`${folder}/byte_level/tokenizer.json`);
	assertEquals([level.special.begin, level.special.end, level.special.padding], [0, 0, undefined]);
	assertEquals([tokenizer.size, level.size], [333, 423]);
});

Deno.test("TokenizerJson.tokenText() writes spaces and bytes as people read them", () => {
	const show = (name: string, text: string) => {
		const tokenizer = build(name);
		return tokenizer.encode(text).map((id) => tokenizer.tokenText(id));
	};
	assertEquals(show("byte_level", "is the €<|im_end|>"), [
		"is",
		" the",
		" ",
		"<0xE2>",
		"<0x82>",
		"<0xAC>",
		"<|im_end|>",
	]);
	assertEquals(show("sentencepiece", "Winter\n€").slice(-4), [
		"\n",
		"<0xE2>",
		"<0x82>",
		"<0xAC>",
	]);
	assertEquals(show("wordpiece", "times?"), ["times", "?"]);
});

Deno.test("TokenizerJson.decode() names an id outside of the vocabulary", () => {
	const tokenizer = build("byte_level");
	for (const id of [-1, tokenizer.size, 0.5, NaN]) {
		assertThrows(() => tokenizer.decode([id]), RangeError, `token ${id}: ids are whole numbers`);
		assertThrows(() => tokenizer.tokenText(id), RangeError, `from 0 to ${tokenizer.size - 1}`);
	}
	assertEquals(tokenizer.decode([]), "");
	assertEquals(tokenizer.encode(""), []);
});

Deno.test("TokenizerJson.encode() takes a long text and a word without end", () => {
	for (const name of ["byte_level", "sentencepiece", "wordpiece"]) {
		const tokenizer = build(name), start = performance.now();
		const text = "the quick brown fox ".repeat(20_000);
		assert(tokenizer.encode(text).length >= 20_000 * 4, name);
		assert(tokenizer.encode("ab".repeat(50_000)).length >= 1);
		assert(performance.now() - start < 20_000, name);
	}
});

Deno.test("TokenizerJson.encode() reads half a surrogate pair as U+FFFD", () => {
	const tokenizer = build("byte_level");
	assertEquals(tokenizer.encode("a\ud83d b\ude00"), tokenizer.encode("a\ufffd b\ufffd"));
});

Deno.test("TokenizerJson.requireVocabulary() tells a tokenizer of another model", () => {
	const tokenizer = build("byte_level"); // 420 tokens of the model, three added ones behind them
	tokenizer.requireVocabulary(512);
	tokenizer.requireVocabulary(420);
	assertThrows(
		() => tokenizer.requireVocabulary(419),
		TokenizerError,
		"it has 423 tokens, and the model's vocabulary is 419: it belongs to another model",
	);
});

async function inFolder(files: Record<string, string>): Promise<string> {
	const path = await Deno.makeTempDir();
	try {
		for (const [name, text] of Object.entries(files)) {
			await Deno.writeTextFile(`${path}/${name}`, text);
		}
		const error = await assertRejects(() => TokenizerJson.open(path), Error);
		return error.message.replaceAll(path, "DIR");
	} finally {
		await Deno.remove(path, { recursive: true });
	}
}

Deno.test("TokenizerJson.open() tells what is missing and what helps", async () => {
	assertEquals(await inFolder({}), 'Cannot use "DIR": it has no tokenizer.json');
	const old = await inFolder({ "tokenizer.model": "" });
	assertStringIncludes(old, "a tokenizer of an old kind, tokenizer.model");
	assertStringIncludes(old, 'A.from_pretrained("DIR").save_pretrained("DIR")');
	assertStringIncludes(await inFolder({ "tokenizer.json": "{" }), "it is no JSON: ");
	const text = JSON.stringify(read("wordpiece/tokenizer.json"));
	assertStringIncludes(
		await inFolder({ "tokenizer.json": text, "tokenizer_config.json": "[]" }),
		'tokenizer_config.json": it must hold a JSON object',
	);
});

Deno.test("TokenizerJson.open() refuses a file of more than 128 MiB", async () => {
	const path = await Deno.makeTempFile({ suffix: ".json" });
	try {
		await Deno.truncate(path, 2 ** 31); // a hole: it takes no room on the disk
		await assertRejects(
			() => TokenizerJson.open(path),
			TokenizerError,
			"it has 2147483648 bytes, at most 134217728 are read",
		);
	} finally {
		await Deno.remove(path);
	}
});

Deno.test("TokenizerJson takes what a WordPiece model leaves out as the Rust library does", () => {
	const json = read("wordpiece/tokenizer.json"), whole = build("wordpiece");
	const { type, vocab } = json.model;
	const bare = new TokenizerJson("t.json", { ...json, model: { type, vocab } });
	for (const text of texts) assertEquals(bare.encode(text), whole.encode(text));
});

Deno.test("TokenizerJson lives with ids that no token has", () => {
	const json = read("wordpiece/tokenizer.json");
	const tokenizer = new TokenizerJson("t.json", {
		...json,
		added_tokens: [...json.added_tokens, { id: 1000, content: "<far>", special: true }],
	});
	assertEquals([tokenizer.size, tokenizer.encode("<far>")], [1001, [1000]]);
	assertThrows(() => tokenizer.decode([999]), RangeError, "Cannot decode token 999");
});

Deno.test("TokenizerJson names what does not hold together", () => {
	const json = read("byte_level/tokenizer.json");
	const problem = (changes: Record<string, unknown>) =>
		assertThrows(
			() => new TokenizerJson("t.json", { ...json, ...changes }),
			TokenizerError,
		).message.replace('Cannot use "t.json": ', "");
	const model = (changes: Json) => problem({ model: { ...json.model, ...changes } });
	assertThrows(() => new TokenizerJson("t.json", []), TokenizerError, "must hold a JSON object");
	assertEquals(problem({ model: 1 }), 'its "model" is 1: an object is needed');
	assertEquals(
		model({ type: "WordLevel" }),
		'its kind is "WordLevel": supported are BPE, WordPiece and Unigram',
	);
	assertEquals(model({ vocab: [] }), 'its "model.vocab" is []: a BPE model has another');
	assertEquals(
		model({ vocab: { a: -1 } }),
		'its token "a" has the id -1: a whole number is needed',
	);
	assertEquals(model({ vocab: { a: 2 ** 31 } }).slice(0, 33), 'its token "a" has the id 21474836');
	assertEquals(model({ vocab: { a: 9, b: 9 } }), 'its tokens "a" and "b" have the same id, 9');
	assertEquals(model({ merges: ["a"] }), 'its merge 0 is "a": two tokens are needed');
	assertEquals(model({ merges: null }), 'its "model.merges" is null');
	assertEquals(problem({ added_tokens: [{ id: 500, content: "" }] }), "an added token is empty");
	assertEquals(
		problem({ added_tokens: [{ id: 5, content: "x" }] }).slice(0, 11),
		"its tokens ",
	);
	assertEquals(
		problem({ pre_tokenizer: { type: "Odd" } }),
		"it cannot be understood: Unknown PreTokenizer type: Odd",
	);
	assertEquals(
		problem({ normalizer: { type: "Replace", pattern: { Odd: " " }, content: "_" } }),
		'its "normalizer" has the pattern {"Odd":" "}: it is of no known kind',
	);
	const deep = JSON.parse(`${'{"a":'.repeat(200_000)}1${"}".repeat(200_000)}`);
	assertEquals(problem({ normalizer: deep }), "its parts are nested too deeply");
	assertEquals(problem({ decoder: "x" }), 'its "decoder" is "x"');
});
