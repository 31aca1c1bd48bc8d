// WordPiece vocabularies of GGUF files: MiniLM's, written as llama.cpp's converter does, gives the ids of its
// tokenizer.json; bad ones are named.

import { assertEquals, assertRejects } from "@std/assert";
import { GgufError, GgufFile, GgufTokenizer, type Tokenizer, TokenizerJson } from "../../mod.ts";
import { miniLMPath } from "../model.ts";
import { type TypedValue, writeGguf } from "./write_gguf.ts";

async function build(
	tokens: string[],
	control: readonly string[],
	more: Record<string, TypedValue> = {},
): Promise<Tokenizer> {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		writeGguf(path, {
			metadata: {
				"tokenizer.ggml.model": { kind: "string", value: "bert" },
				"tokenizer.ggml.tokens": { kind: "string", value: tokens },
				"tokenizer.ggml.token_type": {
					kind: "int32",
					value: tokens.map((token) => control.includes(token) ? 3 : 1),
				},
				...more,
			},
			tensors: [],
		});
		using file = await GgufFile.open(path);
		return GgufTokenizer.from(file);
	} finally {
		await Deno.remove(path);
	}
}

const CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/** A token as llama.cpp's converter writes it. */
const written = (token: string) =>
	CONTROL.includes(token) ? token : token.startsWith("##") ? token.slice(2) : `\u2581${token}`;

Deno.test("MiniLM's vocabulary in a GGUF file gives what its tokenizer.json does", async () => {
	const json = JSON.parse(await Deno.readTextFile(`${miniLMPath()}/tokenizer.json`));
	const tokens: string[] = [];
	for (const [token, id] of Object.entries(json.model.vocab)) tokens[id as number] = token;
	const theirs = await TokenizerJson.open(miniLMPath());
	const keys = { unknown: "[UNK]", seperator: "[SEP]", padding: "[PAD]", bos: "[CLS]" };
	const ids = Object.entries(keys).map(([key, token]): [string, TypedValue] => [
		`tokenizer.ggml.${key}_token_id`,
		{ kind: "uint32", value: tokens.indexOf(token) },
	]);
	// Older files do not have the ids, and have what is in brackets as it is.
	const older = tokens.map((token) => /^\[.+\]$/.test(token) ? token : written(token));
	for (
		const ours of [
			await build(tokens.map(written), CONTROL, Object.fromEntries(ids)),
			await build(older, CONTROL),
		]
	) {
		assertEquals(ours.size, theirs.size);
		assertEquals({ ...ours.special, all: [...ours.special.all].sort() }, {
			...theirs.special,
			all: [...theirs.special.all].sort(),
		});
		for (
			const text of [
				"Summer is warm. Winter is cold.",
				"Ünïcödé, naïve café; 東京タワー! [MASK] e-mail: a_b@c.de 3.14159 \t\n",
				"antidisestablishmentarianism ##ing [unused7] 🙂 \u2581x",
				"",
			]
		) {
			for (const specialTokens of [false, true]) {
				const wanted = theirs.encode(text, { specialTokens });
				assertEquals(ours.encode(text, { specialTokens }), wanted);
				assertEquals(ours.decode(wanted), theirs.decode(wanted));
				assertEquals(
					wanted.map((id) => ours.tokenText(id)),
					wanted.map((id) => theirs.tokenText(id)),
				);
			}
		}
	}
});

Deno.test("words with capital letters keep them where the vocabulary has some", async () => {
	const uncased = await build([...CONTROL, "\u2581a", "b"], CONTROL);
	assertEquals(uncased.encode("AB Äb", { specialTokens: true }), [2, 5, 6, 5, 6, 3]);
	const cased = await build([...CONTROL, "\u2581a", "b", "\u2581A"], CONTROL);
	assertEquals(cased.encode("Ab ab Äb"), [7, 6, 5, 6, 1]);
});

Deno.test("vocabularies that do not hold together are refused", async () => {
	const refused = async (tokens: string[], problem: string) => {
		await assertRejects(() => build(tokens, CONTROL), GgufError, problem);
	};
	await refused(
		["[PAD]", "[UNK]", "[CLS]", "\u2581a"],
		'its vocabulary has no [SEP], which "bert"',
	);
	await refused([...CONTROL, "\u2581a", "b", "\u2581a"], "its tokens 5 and 7 are the same");
	await refused([...CONTROL, "\u2581"], "its token 5 is empty");
	await assertRejects(
		() =>
			build([...CONTROL, "a"], CONTROL, {
				"tokenizer.ggml.seperator_token_id": { kind: "uint32", value: 77 },
			}),
		GgufError,
		"its vocabulary has no [SEP]",
	);
});
