// Downloads one file of a model into the cache: resumed where an earlier download stopped, checked against the
// Hub's checksum, and given its name only then.

import { createHash } from "node:crypto";
import { type HubCache, HubError, type HubFile } from "./hub_cache.ts";
import { backOff, type HubClient } from "./hub_client.ts";

const ATTEMPTS = 5; // without a byte between them

/** What to download, and who follows it. */
interface Download {
	client: HubClient;
	cache: HubCache;
	commit: string;
	file: HubFile;
	/** Is told how many bytes of the file are there. */
	onBytes: (bytes: number) => void;
	/** Milliseconds without a byte after which the connection is taken for dead. */
	patience: number;
	signal: AbortSignal | undefined;
}

/**
 * Downloads a file unless its blob is there. What arrives is kept in a file `.incomplete` beside the blob, from
 * where the next call goes on, in this process or another.
 */
export async function downloadFile(download: Download): Promise<void> {
	const { cache, file } = download;
	using _lock = await cache.lock(file, download.signal);
	const blob = cache.blob(file), partial = `${blob}.incomplete`;
	const existing = await Deno.stat(blob).catch(() => undefined);
	if (existing?.isFile && existing.size === file.size) return download.onBytes(file.size);
	cache.refuseLink(partial);
	using target = await Deno.open(partial, { read: true, write: true, create: true });
	try {
		await fill(target, download);
		await target.sync();
		await Deno.rename(partial, blob);
	} finally { // Nothing arrived: nothing to go on from.
		if ((await target.stat()).size === 0) await Deno.remove(partial).catch(() => {});
	}
}

/** Makes the file whole and right, or empty if it arrives damaged. */
async function fill(target: Deno.FsFile, download: Download): Promise<void> {
	const { client, cache, file, patience, signal } = download;
	let resumed = (await target.stat()).size > 0;
	for (let attempt = 0;; attempt++) {
		const { size } = await target.stat();
		download.onBytes(Math.min(size, file.size));
		try {
			if (size < file.size) await receive(target, size, download);
		} catch (error) {
			if ((await target.stat()).size > size) attempt = -1; // It went on: all attempts are open again.
			if (attempt + 1 >= ATTEMPTS || !client.isTransient(error)) throw error;
			await backOff(Math.max(attempt, 0), patience, signal);
			resumed = true;
			continue;
		}
		const got = await checksum(target, file, signal);
		if (got === file.checksum) return;
		await target.truncate(0);
		if (!resumed) {
			throw new HubError(
				cache.model,
				`what arrived as ${file.path} has the checksum ${got}, but the Hub lists ` +
					`${file.checksum}; a proxy may have changed it: try again, or by another network`,
			);
		}
		resumed = false; // What was resumed may have been at fault: once more from the start.
	}
}

/** Appends what is missing from byte `at` on, for as long as the connection lasts. */
async function receive(target: Deno.FsFile, at: number, download: Download): Promise<void> {
	const { client, cache, commit, file: { path, size }, onBytes, patience, signal } = download;
	const broken = (but: string) =>
		client.explain(new Error(`${path} has ${size} bytes, and ${but}`));
	const stalled = new AbortController();
	const giveUp = () => stalled.abort(new DOMException("No data arrives", "TimeoutError"));
	let timer = setTimeout(giveUp, patience);
	try {
		const ends = AbortSignal.any(signal ? [signal, stalled.signal] : [stalled.signal]);
		const { status, headers, body } = await client.open(commit, path, at, ends);
		const isPart = status === 206 && headers.get("content-range")?.startsWith(`bytes ${at}-`);
		const from = isPart ? at : 0; // A server may send all of it instead.
		const length = headers.has("content-encoding") ? null : headers.get("content-length");
		const end = length === null ? size : from + Number(length);
		if (end !== size || !body) {
			await body?.cancel();
			throw broken(`up to byte ${end} is offered`);
		}
		if (from < at) await target.truncate(at = 0);
		await target.seek(at, Deno.SeekMode.Start);
		for await (const bytes of client.arrivals(body)) {
			clearTimeout(timer);
			timer = setTimeout(giveUp, patience);
			if (at + bytes.length > size) throw broken("more arrive");
			await append(target, bytes).catch((cause) => {
				throw new HubError(cache.model, `${path} cannot be written: ${cause.message}`, { cause });
			});
			onBytes(at += bytes.length);
		}
		if (at < size) throw broken(`${at} arrived`);
	} finally {
		clearTimeout(timer);
	}
}

async function append(target: Deno.FsFile, bytes: Uint8Array): Promise<void> {
	for (let done = 0; done < bytes.length;) done += await target.write(bytes.subarray(done));
}

/** The checksum of what is on the disk, as the Hub makes it: of a large file SHA-256, else that of git. */
async function checksum(
	target: Deno.FsFile,
	{ checksum, size }: HubFile,
	signal: AbortSignal | undefined,
): Promise<string> {
	const hash = createHash(checksum.length === 64 ? "sha256" : "sha1");
	if (checksum.length === 40) hash.update(`blob ${size}\0`);
	await target.seek(0, Deno.SeekMode.Start);
	const buffer = new Uint8Array(4 << 20);
	for (let count; (count = await target.read(buffer));) {
		signal?.throwIfAborted();
		hash.update(buffer.subarray(0, count));
	}
	return hash.digest("hex");
}
