// Damages files of every format at random and opens them: each must give a result or a `FileError`, in bounded time
// and memory. `./dev test` does it for a moment, `./dev fuzz` for minutes.

import { assert } from "@std/assert";
import { FileError } from "../../src/formats/file_error.ts";
import { ConfigJson } from "../../src/formats/config_json.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { GgufTokenizer } from "../../src/formats/gguf_tokenizer.ts";
import { PyTorchCheckpoint } from "../../src/formats/pytorch_checkpoint.ts";
import { Safetensors } from "../../src/formats/safetensors.ts";
import { readTexts } from "../../src/formats/text_file.ts";
import { TokenFile } from "../../src/formats/token_file.ts";
import { TokenizerJson } from "../../src/formats/tokenizer_json.ts";
import { root } from "../../tools/project.ts";
import type { Random } from "../random.ts";
import { everyType, metadata } from "./gguf_files.ts";
import { ggufBytes, pieceVocabulary } from "./write_gguf.ts";

/** Longest time for one file, in ms, on a busy machine. */
const LONGEST = 5000;
/** Most memory that may come on top while a format is fuzzed: far more than its files have. */
const MEMORY = 2 ** 30;

/** A format: whole files to damage, and what is done with a damaged one. */
export interface Target {
	/** Its name. */
	name: string;
	/** What paths end in. */
	suffix: string;
	/** Whole files. */
	files: Uint8Array[];
	/** Opens one and reads all of it. */
	use: (path: string) => Promise<void>;
}

const fixture = (path: string) => Deno.readFileSync(`${root}/tests/fixtures/${path}`);
const utf8 = (text: string) => new TextEncoder().encode(text);

function tokenFile(): Uint8Array {
	const bytes = new Uint8Array(1024 + 64);
	new Int32Array(bytes.buffer, 0, 3).set([20240520, 1, 32]);
	return bytes;
}

const settings = {
	hidden_size: 64,
	eps: 1e-5,
	rope_scaling: { factor: 2, type: "x" },
	ids: [1, 2],
	tied: true,
};

/** Every format. */
export const targets: Target[] = [
	{
		name: "safetensors",
		suffix: ".safetensors",
		files: [fixture("safetensors/types.safetensors")],
		use: async (path) => {
			using file = await Safetensors.open(path);
			for (const name of file.tensors.keys()) file.read(name);
		},
	},
	{
		name: "GGUF",
		suffix: ".gguf",
		files: [
			ggufBytes({ metadata, tensors: everyType.slice(0, 3) }),
			ggufBytes({ metadata: pieceVocabulary(), tensors: everyType.slice(0, 1) }),
		],
		use: async (path) => {
			using file = await GgufFile.open(path);
			for (const tensor of file.tensors.values()) file.read(tensor);
			const tokenizer = GgufTokenizer.from(file);
			tokenizer.decode(tokenizer.encode("The 2 don't é<|end|>", { specialTokens: true }));
		},
	},
	{
		name: "tokenizer.json",
		suffix: ".json",
		files: ["byte_level", "sentencepiece", "wordpiece"]
			.map((name) => fixture(`tokenizers/${name}/tokenizer.json`)),
		use: async (path) => {
			const tokenizer = await TokenizerJson.open(path);
			const ids = tokenizer.encode("The 2 don't é€<s> [CLS]", { specialTokens: true });
			tokenizer.decode(ids);
			for (const id of ids) tokenizer.tokenText(id);
		},
	},
	{
		name: "config.json",
		suffix: ".json",
		files: [utf8(JSON.stringify(settings))],
		use: async (path) => {
			const config = await ConfigJson.open(path);
			config.whole("hidden_size");
			config.number("eps", 1);
			config.object("rope_scaling").string("type");
			config.wholes("ids");
			config.numbers("ids");
			config.boolean("tied");
		},
	},
	{
		name: "PyTorch checkpoints",
		suffix: ".pt",
		files: ["ckpt.pt", "pytorch_model.bin"].map((name) => fixture(`pytorch/${name}`)),
		use: async (path) => {
			using file = await PyTorchCheckpoint.open(path);
			for (const name of file.tensors.keys()) file.read(name);
		},
	},
	{
		name: "token files",
		suffix: ".bin",
		files: [tokenFile(), new Uint8Array(64).map((_, i) => i)],
		use: async (path) => {
			using file = await TokenFile.open(path, { vocabularySize: 50257 });
			file.read(0, Math.min(file.length, 32));
		},
	},
	{
		name: "JSON Lines",
		suffix: ".jsonl",
		files: [utf8('{"text": "a\\u00e9"}\n{"id": 2, "text": "😀"}\n')],
		use: async (path) => {
			for await (const text of readTexts(path)) assert(typeof text === "string");
		},
	},
];

/** Numbers that parsers stumble over. */
const NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
const TEXTS = ["-1", "1e308", "null", "[]", "{}", '"x"', "4294967296", "true", "99999999", '""'];

/** A damaged copy. */
export function damage(random: Random, original: Uint8Array): Uint8Array {
	let bytes = original.slice();
	for (let changes = 1 + random.below(4); changes > 0 && bytes.length > 0; changes--) {
		// The beginning and the end, where headers and directories are, more often than what is between.
		const near = Math.min(bytes.length, 2048), place = random.below(3);
		const at = place === 0
			? random.below(near)
			: place === 1
			? bytes.length - 1 - random.below(near)
			: random.below(bytes.length);
		const kind = random.below(7);
		if (kind === 0) bytes[at] = random.below(256);
		else if (kind === 1) bytes[at] = bytes[at]! ^ 1 << random.below(8);
		else if (kind === 2) bytes = bytes.slice(0, at);
		else if (kind === 3) {
			const value = NUMBERS[random.below(NUMBERS.length)]!, size = [1, 2, 4, 8][random.below(4)]!;
			for (let i = 0; i < size && at + i < bytes.length; i++) {
				bytes[at + i] = i < 4 ? value >>> 8 * i : 0;
			}
		} else if (kind === 4) { // a piece again, or left out
			const end = Math.min(bytes.length, at + 1 + random.below(32));
			const from = random.below(2) ? at : end;
			bytes = joined(bytes.subarray(0, from === at ? end : at), bytes.subarray(from));
		} else if (kind === 5) { // a value of JSON instead of another
			const text = new TextDecoder("latin1").decode(bytes.subarray(at, at + 200));
			const match = /(?<=[:,[]\s*)("[^"]*"|-?\d[\d.e-]*|true|false|null|\{\}|\[\])/.exec(text);
			if (!match) continue;
			const begin = at + match.index, value = utf8(TEXTS[random.below(TEXTS.length)]!);
			bytes = joined(bytes.subarray(0, begin), value, bytes.subarray(begin + match[0].length));
		} else {
			const other = random.below(bytes.length), length = 1 + random.below(16);
			bytes.copyWithin(at, other, other + length);
		}
	}
	return bytes;
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
	const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
	let at = 0;
	for (const part of parts) {
		bytes.set(part, at);
		at += part.length;
	}
	return bytes;
}

/**
 * Fuzzes a format.
 *
 * @param more whether to go on, by the number of files so far
 * @param keep where a file that breaks a rule is kept
 * @returns how many files were opened, and how many refused
 */
export async function fuzz(
	{ name, suffix, files, use }: Target,
	random: Random,
	more: (count: number) => boolean,
	keep?: string,
): Promise<{ opened: number; refused: number }> {
	const path = await Deno.makeTempFile({ suffix });
	const before = Deno.memoryUsage().rss;
	let opened = 0, refused = 0;
	try {
		for (; more(opened); opened++) {
			Deno.writeFileSync(path, damage(random, files[random.below(files.length)]!));
			const start = performance.now();
			try {
				try {
					await use(path);
				} catch (error) {
					if (!(error instanceof FileError)) throw error;
					refused++;
					assert(error.message.length < 2000, `a message of ${error.message.length} characters`);
				}
				const ms = performance.now() - start, grown = Deno.memoryUsage().rss - before;
				assert(ms < LONGEST, `it took ${ms} ms`);
				assert(grown < MEMORY, `memory grew by ${grown} bytes`);
			} catch (cause) {
				if (keep !== undefined) Deno.copyFileSync(path, keep + suffix);
				throw new Error(`${name}, file ${opened}: ${cause}`, { cause });
			}
		}
	} finally {
		await Deno.remove(path);
	}
	return { opened, refused };
}
