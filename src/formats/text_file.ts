// Files of text as streams of documents: plain text, and JSON Lines with a text in each line.

import { FileError } from "./file_error.ts";
import { openLocalFile } from "./local_file.ts";

const MAX_DOCUMENT = 2 ** 28; // characters: a string has room for twice as many

/** How to read documents. */
export interface TextOptions {
	/**
	 * What stands between the documents of a plain text, such as `"\n\n"` or `"<|endoftext|>"`. By default the file is
	 * one document.
	 */
	separator?: string;
	/**
	 * Where the text is in the object of a line of JSON Lines.
	 *
	 * @default {"text"}
	 */
	field?: string;
}

/**
 * Reads the documents of a file one after the other; of those that are empty, none.
 *
 * @param path a file `*.jsonl` of JSON Lines, or else a plain text in UTF-8
 * @throws {FileError} if it cannot be read, a line is no object with a text, or a document is longer than 2²⁸
 *
 * @example Turn documents into a file of tokens
 * ```ts ignore
 * async function* tokens() {
 *   for await (const text of readTexts("train.jsonl")) yield tokenizer.encode(text);
 * }
 * await writeTokens("train.bin", tokens());
 * ```
 */
export async function* readTexts(
	path: string,
	{ separator, field = "text" }: TextOptions = {},
): AsyncGenerator<string> {
	const lines = path.endsWith(".jsonl");
	let number = 0;
	for await (const piece of pieces(path, lines ? "\n" : separator)) {
		number++;
		if (!lines) {
			if (piece !== "") yield piece;
		} else if (piece.trim() !== "") {
			const text = textOfLine(path, piece, field, number);
			if (text !== "") yield text;
		}
	}
}

function textOfLine(path: string, line: string, field: string, number: number): string {
	let value: unknown;
	try {
		value = JSON.parse(line);
	} catch (cause) {
		throw new FileError(path, `its line ${number} is no JSON`, { cause });
	}
	const text = typeof value === "object" && value !== null && Object.hasOwn(value, field)
		? (value as Record<string, unknown>)[field]
		: undefined;
	if (typeof text === "string") return text;
	throw new FileError(path, `its line ${number} has no text ${JSON.stringify(field)}`);
}

/** The parts of a file between separators. */
async function* pieces(path: string, separator: string | undefined): AsyncGenerator<string> {
	const fail = (problem: string, cause?: unknown) => new FileError(path, problem, { cause });
	if (separator === "") throw new RangeError("Cannot separate documents by an empty text");
	const file = await openLocalFile(path, fail);
	const decoder = new TextDecoder("utf-8", { fatal: true }); // leaves out a byte order mark
	const buffer = new Uint8Array(2 ** 18);
	try {
		let rest = "", searched = 0;
		for (let done = false; !done;) {
			const got = await file.read(buffer);
			done = got === null;
			try {
				rest += decoder.decode(buffer.subarray(0, got ?? 0), { stream: !done });
			} catch (cause) {
				throw fail("it is not valid UTF-8", cause);
			}
			if (separator !== undefined) {
				let begin = 0, at: number;
				while ((at = rest.indexOf(separator, Math.max(begin, searched))) >= 0) {
					yield rest.slice(begin, at);
					begin = at + separator.length;
				}
				rest = rest.slice(begin);
				searched = Math.max(0, rest.length - separator.length + 1);
			}
			if (rest.length > MAX_DOCUMENT) {
				throw fail(
					`a document is longer than ${MAX_DOCUMENT} characters: give what separates them`,
				);
			}
		}
		yield rest;
	} finally {
		file.close();
	}
}
