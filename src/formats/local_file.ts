// Files of this machine, as the readers and writers of formats need them.

import { aside } from "../host/clean_up.ts";

/** Opens a regular file for reading, or says in a sentence why that cannot be. */
export async function openLocalFile(
	path: string,
	fail: (problem: string, cause?: unknown) => Error,
): Promise<Deno.FsFile> {
	let file: Deno.FsFile;
	try {
		file = await Deno.open(path);
	} catch (cause) {
		if (cause instanceof Deno.errors.NotFound) throw fail("there is no such file", cause);
		if (cause instanceof Deno.errors.NotCapable) {
			const option = `--allow-read=${JSON.stringify(path)}`;
			throw fail(`Deno has no permission to read it, run with ${option}`, cause);
		}
		throw fail(cause instanceof Error ? cause.message : String(cause), cause);
	}
	if (file.statSync().isFile) return file;
	file.close();
	throw fail("it is not a regular file");
}

/** Reads as much of `into` as the file has from `offset` on, and returns how much that was. */
export function readAt(file: Deno.FsFile, offset: number, into: Uint8Array): number {
	file.seekSync(offset, Deno.SeekMode.Start);
	let got = 0;
	while (got < into.length) {
		const count = file.readSync(into.subarray(got));
		if (!count) break;
		got += count;
	}
	return got;
}

/** Reads a JSON file of at most `most` bytes, or says in a sentence why that cannot be. */
export async function readJsonFile(
	path: string,
	most: number,
	fail: (problem: string, cause?: unknown) => Error,
): Promise<unknown> {
	using file = await openLocalFile(path, fail);
	const { size } = file.statSync();
	if (size > most) throw fail(`it has ${size} bytes, at most ${most} are read`);
	const bytes = new Uint8Array(size);
	if (readAt(file, 0, bytes) < size) throw fail("it cannot be read to its end");
	try {
		return JSON.parse(new TextDecoder().decode(bytes));
	} catch (cause) {
		throw fail(`it is no JSON: ${String((cause as Error).message).slice(0, 200)}`, cause);
	}
}

/** Writes all bytes to a file. */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
	for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

/**
 * Writes a file that appears whole or not at all: under another name first.
 *
 * @param write fills the file
 */
export async function writeWhole(
	path: string,
	write: (file: Deno.FsFile) => Promise<void>,
): Promise<void> {
	using beside = aside(path);
	using file = await Deno.open(beside.temporary, { write: true, createNew: true });
	await write(file);
	await file.sync();
	await Deno.rename(beside.temporary, path);
}
