// Where things made on the user's machine are kept: the built host driver, compiled kernels, models. What
// is kept ends with its own hash, so that a damaged file counts as missing and is made again.

import { createHash } from "node:crypto";

/** The permission error's advice, worded once. */
function environment(name: string): string | undefined {
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
  return ending.length === HASH_BYTES && hash(content).equals(ending) ? content : null;
}

const HASH_BYTES = 32;

function hash(content: Uint8Array) {
  return createHash("sha256").update(content).digest();
}
