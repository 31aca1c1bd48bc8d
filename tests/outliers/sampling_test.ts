// Samples of text: which documents are drawn, in which order they are joined, where windows begin, and what is refused.

import { assertEquals, assertRejects } from "@std/assert";
import { FileError, sampleSequences, type Transformer } from "../../mod.ts";
import { numpyChoice } from "../../src/outliers/numpy_choice.ts";
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { inDirectory } from "../subprocess.ts";
import { deviceTest } from "../tensor/on_device.ts";

/** Seven documents in three files: 2 of JSON Lines, 4 of a text with separators, 1 of another. */
async function withTexts(use: (folder: string, model: Transformer) => Promise<void>) {
	await inDirectory(async (folder) => {
		const lines = ["zero zz", "one oo\nmore"].map((text) => JSON.stringify({ text }));
		await Deno.writeTextFile(`${folder}/a.jsonl`, lines.join("\n\n") + "\n");
		await Deno.mkdir(`${folder}/deep`);
		await Deno.writeTextFile(
			`${folder}/deep/b.txt`,
			"two\n---\nthree\n---\n\n---\nfour\n---\nfive",
		);
		await Deno.writeTextFile(`${folder}/z.md`, "six");
		await Deno.writeTextFile(`${folder}/picture.png`, "no text");
		await withModel(randomContents(), (model) => use(folder, model));
	});
}

// The empty one between two separators is none.
const DOCUMENTS = ["zero zz", "one oo\nmore", "two", "three", "four", "five", "six"];
const options = { separator: "\n---\n", length: 4 };

deviceTest(
	"documents are drawn as NumPy does, joined in that order and cut into windows",
	async () => {
		await withTexts(async (folder, model) => {
			for (const [seed, draw] of [[1, 0], [9, 0], [1, 1]]) {
				const sample = await sampleSequences(model, `${folder}/`, {
					...options,
					sequences: 5,
					documents: 6,
					seed,
					draw,
				});
				const drawn = numpyChoice(7, 6, seed, draw);
				const documents = DOCUMENTS.filter((text) => text !== "\n"); // "" between separators is none
				const stream = drawn.map((number) => documents[number]).join("\n\n");
				const ids = model.tokenizer.encode(stream);
				assertEquals(
					sample.sequences.map(({ tokenIds }) => tokenIds),
					Array.from({ length: 5 }, (_, i) => ids.slice(4 * i, 4 * i + 4)),
				);
				assertEquals(sample.sequences[2]!.tokenTexts.length, 4);
				const files = ["a.jsonl", "a.jsonl", ...Array(4).fill("deep/b.txt"), "z.md"];
				assertEquals(
					sample.documents.map(({ path, number }) => [path, number]),
					drawn.map((number) => [`${folder}/${files[number]}`, [0, 1, 0, 1, 2, 3, 0][number]]),
				);
				assertEquals([sample.drawnFrom, sample.seed], [7, seed]);
			}
		});
	},
);

deviceTest("numbers come from the definition, and a file may be given alone", async () => {
	await withTexts(async (folder, model) => {
		const definition = { sequences: 2, length: 3 };
		const { sequences, documents } = await sampleSequences(model, `${folder}/a.jsonl`, {
			definition,
		});
		assertEquals(sequences.map(({ tokenIds }) => tokenIds.length), [3, 3]);
		assertEquals(documents.length, 2); // all there are
		const special = { ...definition, specialTokens: true };
		const { begin } = model.tokenizer.special;
		const marked = sampleSequences(model, `${folder}/a.jsonl`, { definition: special });
		if (begin === undefined) await assertRejects(() => marked, Error, "has none");
		else assertEquals((await marked).sequences.map(({ tokenIds }) => tokenIds[0]), [begin, begin]);
	});
});

deviceTest("what cannot be sampled is refused, with what would do", async () => {
	await withTexts(async (folder, model) => {
		const refused = async (change: object, message: string) => {
			await assertRejects(
				() => sampleSequences(model, folder, { ...options, sequences: 2, ...change }),
				RangeError,
				message,
			);
		};
		await refused(
			{ sequences: 1000 },
			"Cannot cut 1000 sequences of 4 tokens from 7 documents of ",
		);
		await refused({ documents: 8 }, "it has 7");
		await refused(
			{ sequences: 0 },
			"Cannot use 0 as sequences: it must be a whole number, 1 or more",
		);
		await refused(
			{ length: 513 },
			"Cannot use 513 as length: it must be a whole number, from 1 to 512",
		);
		await refused({ seed: -1 }, "Cannot use -1 as seed: ");
		await assertRejects(
			() => sampleSequences(model, `${folder}/none`),
			FileError,
			"there is no such file or folder",
		);
		await Deno.mkdir(`${folder}/empty`);
		await assertRejects(
			() => sampleSequences(model, `${folder}/empty`),
			FileError,
			"there is no text in it",
		);
	});
});
