// Compiled kernels on disk, keyed by all that they depend on, so that a second start compiles nothing.

import { createHash } from "node:crypto";
import { cacheDirectory } from "../host/cache_directory.ts";

export { readCached, writeCached } from "../host/cache_directory.ts";

/** Where the compiled form of a source with these dependencies is kept. */
export function cachePath(dependencies: string[]): string {
  const digest = createHash("sha256");
  for (const part of dependencies) digest.update(part).update("\0");
  return `${cacheDirectory()}/kernels/${digest.digest("hex").slice(0, 32)}.bin`;
}
