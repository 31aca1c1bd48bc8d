// Compiled kernels on disk, keyed by all that they depend on, so that a second start compiles nothing.
// Each entry is written aside and renamed: a crash or a second process leaves no half of one.

import { createHash } from "node:crypto";
import { cacheDirectory, writeFileAtomically } from "../host/cache_directory.ts";

/** Where the compiled form of a source with these dependencies is kept. */
export function cachePath(dependencies: string[]): string {
  const digest = createHash("sha256");
  for (const part of dependencies) digest.update(part).update("\0");
  return `${cacheDirectory()}/kernels/${digest.digest("hex").slice(0, 32)}.bin`;
}

/** The cached bytes, or null. An entry ends with its own hash, so a damaged one counts as missing. */
export function readCached(path: string): Uint8Array<ArrayBuffer> | null {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const content = bytes.subarray(0, Math.max(0, bytes.length - HASH_BYTES));
  const ending = bytes.subarray(content.length);
  return ending.length === HASH_BYTES && hash(content).equals(ending) ? content : null;
}

/** Stores compiled bytes. */
export function writeCached(path: string, content: Uint8Array): void {
  const bytes = new Uint8Array(content.length + HASH_BYTES);
  bytes.set(content);
  bytes.set(hash(content), content.length);
  writeFileAtomically(path, bytes);
}

const HASH_BYTES = 32;

function hash(content: Uint8Array) {
  return createHash("sha256").update(content).digest();
}
