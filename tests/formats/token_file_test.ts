// Files of tokens: both makers' formats there and back, windows, damage.

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { FileError } from "../../src/formats/file_error.ts";
import { TokenFile, type TokenFormat, writeTokens } from "../../src/formats/token_file.ts";
import { Generator } from "../../src/tensor/random.ts";
import { Random } from "../random.ts";

const random = new Random();

async function inFolder(use: (path: string) => Promise<void>): Promise<void> {
	const folder = await Deno.makeTempDir();
	try {
		await use(`${folder}/tokens.bin`);
		assert([...Deno.readDirSync(folder)].length <= 1, "a temporary file was left behind");
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
}

const randomTokens = (count: number, below: number) =>
	Array.from({ length: count }, () => random.below(below));

for (
	const [format, below] of [["nanogpt", 2 ** 16], ["llm.c", 2 ** 16], [
		"llm.c-32",
		2 ** 31,
	]] as const
) {
	Deno.test(`TokenFile reads what writeTokens() writes: ${format}`, async () => {
		await inFolder(async (path) => {
			const pieces = [7, 0, 1, 500].map((count) => randomTokens(count, below));
			const all = Int32Array.from(pieces.flat());
			assertEquals(await writeTokens(path, pieces, format), 508);
			using file = await TokenFile.open(path);
			assertEquals([file.format, file.length], [format, 508]);
			assertEquals(file.read(0, 508), all);
			for (const [from, count] of [[0, 0], [508, 0], [507, 1], [3, 5], [100, 301]] as const) {
				assertEquals(file.read(from, count), all.slice(from, from + count));
			}
			for (const [from, count] of [[-1, 2], [508, 1], [0, 509], [NaN, 1], [0, -1]] as const) {
				assertThrows(() => file.read(from, count, new Int32Array(Math.max(0, count))), RangeError);
			}
		});
	});
}

Deno.test("the bytes of token files are those that nanoGPT and llm.c define", async () => {
	await inFolder(async (path) => {
		await writeTokens(path, [[1, 0x1234]]);
		assertEquals([...await Deno.readFile(path)], [1, 0, 0x34, 0x12]);
		await writeTokens(path, [[1, 0x1234]], "llm.c");
		const header = new Int32Array((await Deno.readFile(path)).slice(0, 1024).buffer);
		assertEquals([...header.subarray(0, 4)], [20240520, 1, 2, 0]);
		assert(header.subarray(3).every((word) => word === 0));
		await writeTokens(path, [[128000]], "llm.c-32");
		const words = new Int32Array((await Deno.readFile(path)).buffer);
		assertEquals([words[0], words[1], words[2], words[256], words.length], [
			20240801,
			7,
			1,
			128000,
			257,
		]);
	});
});

Deno.test("TokenFile.randomWindows() repeats with the generator and reaches every place", async () => {
	await inFolder(async (path) => {
		await writeTokens(path, [Array.from({ length: 40 }, (_, i) => i)]);
		using file = await TokenFile.open(path);
		const generator = new Generator(random.below(2 ** 32)), { state } = generator;
		const windows = file.randomWindows(500, 32, generator);
		const starts = Array.from({ length: 500 }, (_, i) => windows[32 * i]!);
		for (const [i, start] of starts.entries()) {
			assertEquals(windows[32 * i + 31], start + 31);
		}
		const counts = Array.from({ length: 9 }, (_, at) => starts.filter((s) => s === at).length);
		assertEquals(counts.reduce((a, b) => a + b), 500);
		for (const count of counts) assert(count > 20 && count < 110, `seed ${state.seed}: ${counts}`);
		assert(file.randomWindows(500, 32, generator).join() !== windows.join());
		generator.state = state;
		assertEquals(file.randomWindows(500, 32, generator), windows);
		assertEquals(file.randomWindows(2, 40, generator).length, 80);
		assertThrows(
			() => file.randomWindows(1, 41, generator),
			RangeError,
			"Cannot draw 1 windows of 41 tokens",
		);
	});
});

async function problem(bytes: Uint8Array<ArrayBuffer>, format?: TokenFormat): Promise<string> {
	let message = "";
	await inFolder(async (path) => {
		await Deno.writeFile(path, bytes);
		const error = await assertRejects(
			() => TokenFile.open(path, format ? { format } : {}),
			FileError,
		);
		message = error.message.replace(`Cannot use "${path}": `, "");
	});
	return message;
}

const llmC = (magic: number, version: number, count: number, bytes: number) => {
	const file = new Uint8Array(1024 + bytes);
	new Int32Array(file.buffer, 0, 3).set([magic, version, count]);
	return file;
};

Deno.test("TokenFile.open() tells what is wrong with a file", async () => {
	assertEquals(
		await problem(new Uint8Array(7)),
		"it has 7 bytes, an odd number, and its tokens would be of 2 bytes each",
	);
	assertEquals(
		await problem(llmC(20240520, 1, 5, 8)),
		"it announces 5 tokens, 1034 bytes in all, and has 1032",
	);
	assertMatch(await problem(llmC(20240520, 1, -1, 8)), /^it announces 4294967295 tokens/);
	assertEquals(
		await problem(llmC(20240801, 1, 2, 8)),
		"it is of version 1: version 7 is supported",
	);
	assertEquals(
		await problem(llmC(20240520, 1, 1, 2).slice(0, 100)),
		"it has 100 bytes, and the header of llm.c's files 1024",
	);
	assertEquals(
		await problem(llmC(1, 1, 4, 8), "llm.c"),
		"it begins with 1: files of llm.c have 20240520",
	);
	assertEquals(
		await problem(llmC(20240522, 1, 4, 8)),
		"it holds llm.c's questions with answers, no text",
	);
	await assertRejects(() => TokenFile.open("/nowhere.bin"), FileError, "there is no such file");
});

Deno.test("TokenFile.read() refuses tokens beyond the vocabulary, and files that shrank", async () => {
	await inFolder(async (path) => {
		await writeTokens(path, [[5, 99, 100, 3]]);
		using file = await TokenFile.open(path, { vocabularySize: 100 });
		assertEquals([...file.read(0, 2)], [5, 99]);
		assertThrows(
			() => file.read(1, 3),
			FileError,
			"its token 2 is 100, and the vocabulary has 100: it was made for another model",
		);
		await Deno.truncate(path, 2);
		assertThrows(() => file.read(1, 1), FileError, "it was cut off while open");
		file[Symbol.dispose]();
		assertThrows(() => file.read(0, 1), FileError, "it was closed");
	});
});

Deno.test("writeTokens() leaves nothing behind where a token does not fit", async () => {
	await inFolder(async (path) => {
		for (const token of [65536, -1, 0.5, NaN]) {
			await assertRejects(
				() => writeTokens(path, [[1], [2, token]]),
				FileError,
				`token 2 is ${token}: nanogpt has room for 0 to 65535`,
			);
		}
		await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
		await assertRejects(() => writeTokens("/nowhere/x.bin", [[1]]), FileError, "cannot be written");
	});
});
