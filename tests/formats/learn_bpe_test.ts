// Learning a tokenizer, against what Rust `tokenizers` learns (tests/fixtures/record_learn_bpe.py).

import { assert, assertEquals, assertRejects } from "@std/assert";
import { learnBpe } from "../../src/formats/learn_bpe.ts";
import { TokenizerJson } from "../../src/formats/tokenizer_json.ts";
import { root } from "../../tools/project.ts";
import learned from "../fixtures/learned_bpe.json" with { type: "json" };
import smolLM2 from "../fixtures/tokenizer_smollm2.json" with { type: "json" };

const texts = smolLM2.cases.map(({ text }) => text);
const book = Deno.readTextFileSync(`${root}/src/outliers/texts/default.txt`);

Deno.test("learnBpe() learns what Rust tokenizers learn, and it is read alike", async () => {
	const { tokenizer, config } = await learnBpe([book, ...texts], { size: learned.size });
	assertEquals(tokenizer, learned.tokenizer);
	const read = new TokenizerJson("tokenizer.json", tokenizer, config);
	assertEquals(read.size, learned.size);
	assertEquals(read.special.begin, 0);
	assertEquals(read.special.end, 0);
	for (const [i, text] of texts.entries()) {
		assertEquals(read.encode(text), learned.ids[i], `on ${JSON.stringify(text)}`);
		assertEquals(read.decode(learned.ids[i]!), text.toWellFormed());
	}
});

Deno.test("learnBpe() stops when there is nothing left to merge", async () => {
	const { tokenizer } = await learnBpe(["abcabc"], { size: 1000, special: "<s>" });
	const { vocab, merges } = tokenizer.model as { vocab: Record<string, number>; merges: unknown };
	assertEquals(merges, [["a", "b"], ["ab", "c"], ["abc", "abc"]]);
	assertEquals(Object.keys(vocab).length, 1 + 256 + 3);
	assertEquals(vocab["<s>"], 0);
});

Deno.test("learnBpe() counts neighbours that overlap as Rust tokenizers do", async () => {
	const { tokenizer } = await learnBpe(["aaaaa aaaa"], { size: 259 });
	assertEquals((tokenizer.model as { merges: unknown }).merges, [["a", "a"], ["aa", "aa"]]);
});

Deno.test("learnBpe() refuses a size without room for all bytes", async () => {
	for (const size of [256, 300.5, NaN, 2 ** 25]) {
		const error = await assertRejects(() => learnBpe(["a"], { size }), RangeError);
		assert(error.message.includes(`Cannot learn ${size} tokens`));
	}
});
