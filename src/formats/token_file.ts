// Files of token ids to train on: nanoGPT's (16-bit numbers, nothing else) and llm.c's (a header, then numbers of
// 16 or 32 bits), little-endian. Only what is asked for is read.

import { drawBlock } from "../tensor/philox.ts";
import type { Generator } from "../tensor/random.ts";
import { FileError } from "./file_error.ts";
import { openLocalFile, readAt, writeAll, writeWhole } from "./local_file.ts";

/** Who reads such files: `nanogpt`, `llm.c` with tokens of 16 bits, or `llm.c-32` with 32. */
export type TokenFormat = "nanogpt" | "llm.c" | "llm.c-32";

const HEADER_BYTES = 256 * 4;
/** Bytes of a token; llm.c's first word and version. */
const FORMATS: Record<TokenFormat, { bytes: 2 | 4; magic?: number; version?: number }> = {
	"nanogpt": { bytes: 2 },
	"llm.c": { bytes: 2, magic: 20240520, version: 1 },
	"llm.c-32": { bytes: 4, magic: 20240801, version: 7 },
};
const MAX_LLM_C_TOKENS = 2 ** 31 - 1; // its count is an int32
const EXAMPLES_MAGIC = 20240522; // llm.c's files of questions with answers to choose from

/** How to open a file of tokens. */
export interface TokenFileOptions {
	/** The format; by default the file's beginning tells. */
	format?: TokenFormat;
	/** If given, tokens from here on are refused when they are read. */
	vocabularySize?: number;
}

/**
 * An open file of tokens.
 *
 * @example Read a batch of windows at random places
 * ```ts ignore
 * using file = await TokenFile.open("train.bin", { vocabularySize: 50257 });
 * const tokens = file.randomWindows(8, 1025, new Generator(1)); // 8 windows, one after the other
 * ```
 */
export class TokenFile implements Disposable {
	/** The path it was opened by. */
	readonly path: string;
	/** Its format. */
	readonly format: TokenFormat;
	/** How many tokens it has. */
	readonly length: number;
	readonly #vocabularySize: number;
	#file: Deno.FsFile | undefined;

	private constructor(path: string, file: Deno.FsFile, options: TokenFileOptions) {
		const { size } = file.statSync();
		this.path = path;
		this.#vocabularySize = options.vocabularySize ?? 2 ** 32;
		const head = new DataView(new ArrayBuffer(12));
		const got = readAt(file, 0, new Uint8Array(head.buffer));
		const magic = got < 4 ? 0 : head.getUint32(0, true);
		const known = Object.entries(FORMATS).find(([, format]) => got >= 4 && format.magic === magic);
		this.format = options.format ?? known?.[0] as TokenFormat ?? "nanogpt";
		const { bytes, version, magic: wanted } = FORMATS[this.format];
		if (wanted === undefined) {
			if (magic === EXAMPLES_MAGIC) this.#fail("it holds llm.c's questions with answers, no text");
			if (size % bytes !== 0) {
				this.#fail(`it has ${size} bytes, an odd number, and its tokens would be of 2 bytes each`);
			}
			this.length = size / bytes;
		} else {
			if (size < HEADER_BYTES) {
				this.#fail(`it has ${size} bytes, and the header of llm.c's files ${HEADER_BYTES}`);
			}
			if (magic !== wanted) this.#fail(`it begins with ${magic}: files of llm.c have ${wanted}`);
			if (head.getUint32(4, true) !== version) {
				this.#fail(`it is of version ${head.getUint32(4, true)}: version ${version} is supported`);
			}
			this.length = head.getUint32(8, true);
			const end = HEADER_BYTES + this.length * bytes;
			if (end !== size) {
				this.#fail(`it announces ${this.length} tokens, ${end} bytes in all, and has ${size}`);
			}
		}
		this.#file = file;
	}

	/**
	 * Opens a file.
	 *
	 * @throws {FileError} if it cannot be read or its length does not fit
	 */
	static async open(path: string, options: TokenFileOptions = {}): Promise<TokenFile> {
		const file = await openLocalFile(
			path,
			(problem, cause) => new FileError(path, problem, { cause }),
		);
		try {
			return new TokenFile(path, file, options);
		} catch (error) {
			file.close();
			throw error;
		}
	}

	/**
	 * Reads tokens.
	 *
	 * @param from the first one
	 * @param count how many
	 * @param into where to put them; a new array if left out
	 */
	read(
		from: number,
		count: number,
		into: Int32Array<ArrayBuffer> = new Int32Array(count),
	): Int32Array<ArrayBuffer> {
		if (!(from >= 0 && count >= 0 && from + count <= this.length) || into.length !== count) {
			throw new RangeError(
				`Cannot read ${count} tokens from ${from} on into ${into.length} of "${this.path}", which has ${this.length}`,
			);
		}
		if (!this.#file) this.#fail("it was closed");
		const { bytes, magic } = FORMATS[this.format], raw = new Uint8Array(count * bytes);
		const begin = (magic === undefined ? 0 : HEADER_BYTES) + from * bytes;
		if (readAt(this.#file, begin, raw) < raw.length) this.#fail("it was cut off while open");
		const tokens = bytes === 2 ? new Uint16Array(raw.buffer) : new Uint32Array(raw.buffer);
		const limit = Math.min(this.#vocabularySize, 2 ** 31);
		for (let i = 0; i < count; i++) {
			if (tokens[i]! >= limit) {
				this.#fail(
					`its token ${from + i} is ${
						tokens[i]
					}, and the vocabulary has ${limit}: it was made for another model`,
				);
			}
			into[i] = tokens[i]!;
		}
		return into;
	}

	/**
	 * Reads windows at random places, one after the other: the same for the same state of the generator.
	 *
	 * @param count how many
	 * @param length tokens of each
	 */
	randomWindows(count: number, length: number, generator: Generator): Int32Array<ArrayBuffer> {
		const places = this.length - length + 1;
		if (!(count >= 0 && length >= 1 && places >= 1)) {
			throw new RangeError(
				`Cannot draw ${count} windows of ${length} tokens from "${this.path}", which has ${this.length}`,
			);
		}
		const draw = generator.draw(), into = new Int32Array(count * length);
		for (let i = 0; i < count; i++) {
			const [high, low] = drawBlock(draw, i) as [number, number];
			const from = Math.floor((high * 2 ** 21 + (low >>> 11)) / 2 ** 53 * places);
			this.read(from, length, into.subarray(i * length, (i + 1) * length));
		}
		return into;
	}

	/** Closes the file. */
	[Symbol.dispose](): void {
		this.#file?.close();
		this.#file = undefined;
	}

	#fail(problem: string): never {
		throw new FileError(this.path, problem);
	}
}

/**
 * Writes tokens to a file, which appears whole or not at all.
 *
 * @param tokens pieces of any length, such as the ids of each document
 * @returns how many tokens were written
 * @throws {FileError} if it cannot be written, or the format has no room for a token
 */
export async function writeTokens(
	path: string,
	tokens: Iterable<ArrayLike<number>> | AsyncIterable<ArrayLike<number>>,
	format: TokenFormat = "nanogpt",
): Promise<number> {
	const { bytes, magic, version } = FORMATS[format];
	let count = 0;
	try {
		await writeWhole(path, async (file) => {
			if (magic !== undefined) await writeAll(file, new Uint8Array(HEADER_BYTES));
			for await (const piece of tokens) {
				const stored = bytes === 2 ? new Uint16Array(piece.length) : new Uint32Array(piece.length);
				for (let i = 0; i < piece.length; i++) {
					stored[i] = piece[i]!;
					if (stored[i] !== piece[i]) {
						throw new FileError(
							path,
							`token ${count + i} is ${piece[i]}: ${format} has room for 0 to ${256 ** bytes - 1}`,
						);
					}
				}
				await writeAll(file, new Uint8Array(stored.buffer));
				count += piece.length;
			}
			if (magic === undefined) return;
			if (count > MAX_LLM_C_TOKENS) {
				throw new FileError(
					path,
					`${count} tokens are too many for ${format}: ${MAX_LLM_C_TOKENS} fit`,
				);
			}
			await file.seek(0, Deno.SeekMode.Start);
			await writeAll(file, new Uint8Array(Uint32Array.of(magic, version!, count).buffer));
		});
	} catch (cause) {
		if (cause instanceof FileError) throw cause;
		const problem = cause instanceof Error ? cause.message : cause;
		throw new FileError(path, `it cannot be written: ${problem}`, { cause });
	}
	return count;
}
