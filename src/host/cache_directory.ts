// Where things made on the user's machine are kept: the built host driver, compiled kernels, models. What
// is kept ends with its own hash, so that a damaged file counts as missing and is made again. What has not
// been used for longest goes when there is too much.

import { createHash } from "node:crypto";

/** An environment variable, undefined if empty; a missing permission is told once, here. */
export function environment(name: string): string | undefined {
	try {
		return Deno.env.get(name) || undefined;
	} catch (error) {
		throw new Error(
			`Cannot read the environment variable ${name}: Deno needs the permission --allow-env ` +
				`(run with --allow-env, or -A)`,
			{ cause: error },
		);
	}
}

/**
 * The cache directory: `OUTLIERSCOPE_CACHE`, or `outlierscope` under `XDG_CACHE_HOME` or `~/.cache`.
 *
 * @returns its absolute path; it may not exist yet
 */
export function cacheDirectory(): string {
	const chosen = environment("OUTLIERSCOPE_CACHE");
	if (chosen) return chosen;
	const base = environment("XDG_CACHE_HOME");
	if (base) return `${base}/outlierscope`;
	const home = environment("HOME");
	if (!home) {
		throw new Error("Cannot tell where to keep compiled kernels: set HOME or OUTLIERSCOPE_CACHE");
	}
	return `${home}/.cache/outlierscope`;
}

/** The name under which what depends on `parts` is kept: their hash, 32 hexadecimal digits. */
export function cacheKey(parts: readonly string[]): string {
	const digest = createHash("sha256");
	for (const part of parts) digest.update(part).update("\0");
	return digest.digest("hex").slice(0, 32);
}

/** What went wrong with a file of the cache, and the way out. */
function cacheError(error: unknown): unknown {
	if (!(error instanceof Error) || error instanceof Deno.errors.NotCapable) return error;
	return new Error(
		`Cannot keep compiled code in the cache: ${error.message}; ` +
			`name a directory that can be written in OUTLIERSCOPE_CACHE`,
		{ cause: error },
	);
}

/** Makes the directory that `path` shall be in, so that a bad one is told before the work and not after. */
export function makeDirectoryOf(path: string): void {
	try {
		Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
	} catch (error) {
		throw cacheError(error);
	}
}

/**
 * Writes a file of the cache so that others see all of it or nothing: to a temporary name beside it, then
 * renamed. Its hash follows the content, which a shared library does not mind.
 *
 * @param path where the file shall be; its directory is made if missing
 * @param content its content
 */
export function writeCached(path: string, content: Uint8Array): void {
	makeDirectoryOf(path);
	const bytes = new Uint8Array(content.length + HASH_BYTES);
	bytes.set(content);
	bytes.set(hash(content), content.length);
	const temporary = `${path}.${Deno.pid}.${crypto.randomUUID()}`;
	try {
		Deno.writeFileSync(temporary, bytes);
		Deno.renameSync(temporary, path);
		pruneCache(path.slice(0, path.lastIndexOf("/")));
	} catch (error) {
		try {
			Deno.removeSync(temporary);
		} catch { /* it was never made */ }
		throw cacheError(error);
	}
}

/** The content of a file of the cache, or null if it is missing or damaged. */
export function readCached(path: string): Uint8Array<ArrayBuffer> | null {
	let bytes: Uint8Array<ArrayBuffer>;
	try {
		bytes = Deno.readFileSync(path);
	} catch (error) {
		if (error instanceof Deno.errors.NotFound) return null;
		throw cacheError(error);
	}
	const content = bytes.subarray(0, Math.max(0, bytes.length - HASH_BYTES));
	const ending = bytes.subarray(content.length);
	if (ending.length !== HASH_BYTES || !hash(content).equals(ending)) return null;
	touch(path);
	return content;
}

const HASH_BYTES = 32;
const HOUR = 3_600_000; // milliseconds
/** Bytes that the compiled code in one directory of the cache may take: one holds drivers, one kernels. */
const LIMIT = 256 * 2 ** 20;
const COMPILED = /\.(so|bin)$/;
const TEMPORARY = /\.(so|bin)\.\d+\.[-0-9a-f]{36}$/;

/** Milliseconds since a file was used; of one that a wrong clock dates ahead, those until then. */
function age({ mtime }: Deno.FileInfo, now: number): number {
	return Math.abs(now - (mtime?.getTime() ?? 0));
}

/** Notes that a file was used, by the time at which it was last changed. */
function touch(path: string): void {
	try {
		const now = new Date();
		if (age(Deno.statSync(path), now.getTime()) > HOUR) Deno.utimeSync(path, now, now);
	} catch { /* a cache that can only be read, or another process's pruning */ }
}

/**
 * Removes compiled code from a directory of the cache until it takes no more than `limit` bytes: what has
 * not been used for longest first, and nothing that was used within the hour. Also removes what a process
 * that was killed left half-written. Other files stay.
 */
export function pruneCache(directory: string, limit: number = LIMIT): void {
	const files: { path: string; size: number; unused: number }[] = [];
	const remove = (path: string) => {
		try {
			Deno.removeSync(path);
		} catch { /* another process was faster */ }
	};
	const now = Date.now();
	for (const { name } of Deno.readDirSync(directory)) {
		const path = `${directory}/${name}`, temporary = TEMPORARY.test(name);
		if (!temporary && !COMPILED.test(name)) continue;
		try {
			const file = Deno.lstatSync(path), unused = age(file, now);
			if (!file.isFile) continue;
			if (!temporary) files.push({ path, size: file.size, unused });
			else if (unused > HOUR) remove(path);
		} catch { /* gone meanwhile */ }
	}
	let total = files.reduce((sum, { size }) => sum + size, 0);
	files.sort((a, b) => b.unused - a.unused);
	for (const { path, size, unused } of files) {
		if (total <= limit || unused <= HOUR) break;
		remove(path);
		total -= size;
	}
}

function hash(content: Uint8Array) {
	return createHash("sha256").update(content).digest();
}
