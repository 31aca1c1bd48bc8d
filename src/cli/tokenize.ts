// The command `tokenize`: turns text into a file of token ids, and learns a tokenizer from text.

import { parseArgs } from "@std/cli/parse-args";
import {
	FileError,
	learnBpe,
	readTexts,
	type TextOptions,
	type TokenFormat,
	TokenizerJson,
	writeTokens,
} from "../../mod.ts";
import { writeAll, writeWhole } from "../formats/local_file.ts";
import { Progress } from "./progress.ts";
import { reason, UsageError } from "./usage.ts";

const HELP = `Turns text into token ids, to train or evaluate models on.

Usage: outlierscope tokenize [OPTIONS] FILE...

FILEs are plain text, each one document, or JSON Lines (*.jsonl) with one in each line.

Options:
  --tokenizer DIR      The tokenizer.json of a model's folder
  --learn N            Learn a byte-level BPE tokenizer of N tokens from the FILEs and put it
                       into DIR, as transformers reads it; the token <|endoftext|> has the id 0
  --out FILE           Where to write the ids                       (default: out/tokens.bin)
  --format NAME        nanogpt (16 bits each), llm.c, or llm.c-32 for vocabularies above 65,536
                                                                    (default: nanogpt)
  --no-end             Put no end-of-text token behind each document
  --separator TEXT     What stands between the documents of a plain text
  --field NAME         Where the text is in a line of JSON Lines    (default: text)
  -h, --help           Show this help

Examples:
  outlierscope tokenize --learn 2048 --tokenizer out/bpe --out out/train.bin book.txt
  outlierscope tokenize --tokenizer out/bpe --out out/validation.bin other.txt
  outlierscope train --data out/train.bin --vocabulary 2048
`;

const FORMATS: readonly TokenFormat[] = ["nanogpt", "llm.c", "llm.c-32"];

interface TokenizeArguments {
	files: string[];
	folder: string;
	learn: number | null;
	out: string;
	format: TokenFormat;
	end: boolean;
	text: TextOptions;
}

function parseTokenize(args: string[]): TokenizeArguments | "help" {
	const flags = parseArgs(args, {
		string: ["tokenizer", "learn", "out", "format", "separator", "field", "_"],
		boolean: ["end", "help"],
		negatable: ["end"],
		default: { end: true },
		alias: { h: "help" },
		unknown: (argument) => {
			if (!argument.startsWith("-")) return;
			throw new UsageError(`Unknown option ${argument}; --help lists the options`);
		},
	});
	if (flags.help) return "help";
	for (const name of ["tokenizer", "learn", "out", "separator", "field"] as const) {
		if (flags[name] === "") throw new UsageError(`The option --${name} needs a value`);
	}
	const files = flags._.map(String), format = flags.format as TokenFormat ?? "nanogpt";
	if (files.length === 0) throw new UsageError("Give the files of text to read");
	if (flags.tokenizer === undefined) {
		throw new UsageError("Give the folder of a tokenizer.json with --tokenizer");
	}
	if (!FORMATS.includes(format)) {
		throw new UsageError(`Cannot use "${format}" as --format: it must be ${FORMATS.join(" or ")}`);
	}
	if (flags.learn !== undefined && !/^[1-9]\d{0,7}$/.test(flags.learn)) {
		throw new UsageError(`Cannot use "${flags.learn}" as --learn: it must be a whole number`);
	}
	return {
		files,
		folder: flags.tokenizer.replace(/\/$/, ""),
		learn: flags.learn === undefined ? null : Number(flags.learn),
		out: flags.out ?? "out/tokens.bin",
		format,
		end: flags.end,
		text: {
			...flags.separator !== undefined && { separator: flags.separator },
			...flags.field !== undefined && { field: flags.field },
		},
	};
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

/** Learns a tokenizer and puts it into the folder. */
async function learn({ files, folder, text }: TokenizeArguments, size: number): Promise<void> {
	if (await exists(`${folder}/tokenizer.json`)) {
		throw new UsageError(`"${folder}" has a tokenizer.json already; choose another --tokenizer`);
	}
	async function* texts() {
		for (const file of files) yield* readTexts(file, text);
	}
	let learned: Awaited<ReturnType<typeof learnBpe>>;
	try {
		learned = await learnBpe(texts(), { size });
	} catch (error) {
		if (error instanceof RangeError) throw new UsageError(error.message, { cause: error });
		throw error;
	}
	await Deno.mkdir(folder, { recursive: true });
	const write = (name: string, json: unknown) =>
		writeWhole(
			`${folder}/${name}`,
			(file) => writeAll(file, new TextEncoder().encode(JSON.stringify(json) + "\n")),
		);
	await write("tokenizer_config.json", learned.config);
	await write("tokenizer.json", learned.tokenizer);
}

/** The ids of each document of some files. */
async function* encodeFiles(
	files: readonly string[],
	options: TextOptions,
	encode: (document: string) => number[],
	onFile: (done: number) => void,
): AsyncGenerator<number[]> {
	for (const [i, file] of files.entries()) {
		for await (const document of readTexts(file, options)) yield encode(document);
		onFile(i + 1);
	}
}

/** Runs the command `tokenize`. */
export async function tokenize(args: string[]): Promise<number> {
	const options = parseTokenize(args);
	if (options === "help") {
		console.log(HELP);
		return 0;
	}
	const { files, folder, out, format, text, end: separated } = options;
	const progress = new Progress();
	try {
		if (options.learn !== null) {
			progress.say(`Learning ${options.learn} tokens`);
			await learn(options, options.learn);
		}
		const tokenizer = await TokenizerJson.open(folder), end = tokenizer.special.end;
		if (separated && end === undefined) {
			throw new UsageError(
				`The tokenizer of "${folder}" names no end-of-text token to put behind documents; --no-end puts none`,
			);
		}
		progress.say("Tokenizing");
		const read = { documents: 0, bytes: 0 };
		const tokens = encodeFiles(files, text, (document) => {
			read.documents++;
			read.bytes += new TextEncoder().encode(document).length;
			const ids = tokenizer.encode(document);
			if (separated) ids.push(end!);
			return ids;
		}, (done) => progress.update("Tokenizing", done, files.length));
		await Deno.mkdir(out.includes("/") ? out.replace(/\/[^/]*$/, "") || "/" : ".", {
			recursive: true,
		});
		const count = await writeTokens(out, tokens, format);
		progress.end();
		const number = (value: number) => value.toLocaleString("en-US");
		console.log(
			`${number(count)} tokens of ${number(read.documents)} documents, ` +
				`${(read.bytes / Math.max(1, count)).toFixed(2)} bytes each: ${out}`,
		);
		return 0;
	} catch (error) {
		if (error instanceof FileError) throw new UsageError(reason(error), { cause: error });
		throw error;
	} finally {
		progress.end();
	}
}
