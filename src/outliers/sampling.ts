// Samples of text to analyze, drawn as the paper's code draws from RedPajama: some documents by a seed, joined into one
// stream, cut into windows of equal length.

import { FileError, readTexts, type TextOptions } from "../formats/mod.ts";
import type { Transformer } from "../nn/transformer.ts";
import type { AnalyzedSequence } from "./analysis.ts";
import { type DefinitionChoice, definitionOf } from "./definitions.ts";
import { numpyChoice } from "./numpy_choice.ts";

/** Options of {@linkcode sampleSequences}. */
export interface SampleOptions extends TextOptions {
	/** What gives the number of sequences and tokens where they are not named. @default {"default"} */
	definition?: DefinitionChoice;
	/** How many sequences. @default {the definition's: 100} */
	sequences?: number;
	/** Tokens of each. @default {the definition's, 2048, or the model's context length if that is smaller} */
	length?: number;
	/** How many documents are drawn. @default {500, or all if there are fewer} */
	documents?: number;
	/** Seed of the draw, 0 to 2³² - 1; the paper's code has 1. @default {1} */
	seed?: number;
	/** Which draw after seeding; the paper's code draws anew for each figure. @default {0} */
	draw?: number;
}

/** A sample of text. */
export interface Sample {
	/** The sequences, windows of one stream that follow each other. */
	sequences: AnalyzedSequence[];
	/** The documents of the stream, in its order. */
	documents: {
		/** The file. */
		path: string;
		/** Which of the file's documents, 0-based. */
		number: number;
	}[];
	/** From how many documents they were drawn. */
	drawnFrom: number;
	/** The seed of the draw. */
	seed: number;
}

const TEXTS = /\.(txt|text|md|jsonl)$/;

/** The text files below a folder, or the file that the path is of, in a stable order. */
async function textFiles(path: string): Promise<string[]> {
	let isDirectory: boolean;
	try {
		({ isDirectory } = await Deno.stat(path));
	} catch (cause) {
		throw new FileError(path, "there is no such file or folder", { cause });
	}
	if (!isDirectory) return [path];
	const found: string[] = [];
	for await (const entry of Deno.readDir(path)) {
		const inside = `${path.replace(/\/$/, "")}/${entry.name}`;
		if (entry.isDirectory) found.push(...await textFiles(inside));
		else if (TEXTS.test(entry.name)) found.push(inside);
	}
	return found.sort();
}

function checkWhole(name: string, value: number, least: number, most = Infinity): number {
	if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
	const range = most === Infinity ? `${least} or more` : `from ${least} to ${most}`;
	throw new RangeError(`Cannot use ${value} as ${name}: it must be a whole number, ${range}`);
}

/**
 * Draws sequences of tokens from a folder of text files, as the paper's code does from RedPajama: `documents` of all
 * documents by a seed, none twice, joined by empty lines, turned into tokens at once without special tokens, and cut
 * into windows that follow each other. The draw is that of NumPy's `random.choice` after `random.seed`.
 *
 * A file `*.jsonl` has a document in each line, another (`*.txt`, `*.md`) is one, or several with a `separator`. Files
 * are ordered by path. They are read twice, document by document; only those drawn are kept.
 *
 * @param model whose tokenizer and context length count
 * @param path a folder, with those in it, or one file
 * @throws {FileError} if there is no text, or a file cannot be read
 * @throws {RangeError} if the documents drawn are too short for so many sequences
 *
 * @example The paper's numbers
 * ```ts ignore
 * const { sequences } = await sampleSequences(model, "redpajama/"); // 100 of 2,048 tokens
 * ```
 */
export async function sampleSequences(
	model: Transformer,
	path: string,
	options: SampleOptions = {},
): Promise<Sample> {
	const definition = definitionOf(options.definition), { contextLength } = model.config;
	const { tokenizer } = model;
	const count = checkWhole("sequences", options.sequences ?? definition.sequences, 1);
	const length = checkWhole(
		"length",
		options.length ?? Math.min(definition.length, contextLength),
		1,
		contextLength,
	);
	const wanted = checkWhole("documents", options.documents ?? 500, 1);
	const seed = checkWhole("seed", options.seed ?? 1, 0, 2 ** 32 - 1);
	const draw = checkWhole("draw", options.draw ?? 0, 0);

	const files = await textFiles(path), sizes: number[] = [];
	for (const file of files) {
		let size = 0;
		for await (const _ of readTexts(file, options)) size++;
		sizes.push(size);
	}
	const total = sizes.reduce((sum, size) => sum + size, 0);
	if (total === 0) throw new FileError(path, "there is no text in it (*.txt, *.md, *.jsonl)");
	if (wanted > total && options.documents !== undefined) {
		throw new RangeError(`Cannot draw ${wanted} documents from ${path}: it has ${total}`);
	}
	const drawn = numpyChoice(total, Math.min(wanted, total), seed, draw);
	const { texts, places } = await readDrawn(files, sizes, drawn, options);

	const begin = definition.specialTokens ? tokenizer.special.begin : undefined;
	if (definition.specialTokens && begin === undefined) {
		throw new Error(`Cannot begin sequences with a special token: ${model.name} has none`);
	}
	const before = begin === undefined ? [] : [begin], taken = length - before.length;
	const limit = count * taken;
	const ids = tokenizer.encode(texts.join("\n\n"), { limit });
	if (ids.length < limit || taken === 0) {
		throw new RangeError(
			`Cannot cut ${count} sequences of ${length} tokens from ${drawn.length} documents of ` +
				`${path}: they have ${ids.length} tokens; give more documents, or a smaller length or number`,
		);
	}
	const name = path.replace(/\/$/, "").replace(/.*\//, "");
	const sequences = Array.from({ length: count }, (_, i) => {
		const tokenIds = [...before, ...ids.slice(i * taken, (i + 1) * taken)];
		const tokenTexts = tokenIds.map((id) => tokenizer.tokenText(id));
		return { source: `${name}, window ${i}`, tokenIds, tokenTexts };
	});
	return { sequences, documents: places, drawnFrom: total, seed };
}

/** The texts of the documents with these numbers, in their order, and where they are. */
async function readDrawn(
	files: readonly string[],
	sizes: readonly number[],
	drawn: readonly number[],
	options: TextOptions,
): Promise<{ texts: string[]; places: Sample["documents"] }> {
	const rank = new Map(drawn.map((number, i) => [number, i]));
	const texts: string[] = [], places: Sample["documents"] = [];
	let first = 0;
	for (const [i, path] of files.entries()) {
		let number = 0;
		if (drawn.some((each) => each >= first && each < first + sizes[i]!)) {
			for await (const text of readTexts(path, options)) {
				const at = rank.get(first + number);
				if (at !== undefined) {
					texts[at] = text;
					places[at] = { path, number };
				}
				number++;
			}
		}
		first += sizes[i]!;
	}
	return { texts, places };
}
