// Compiled kernels on disk, keyed by all that they depend on, so that a second start compiles nothing.

import { cacheDirectory, cacheKey } from "../host/cache_directory.ts";

export { readCached, writeCached } from "../host/cache_directory.ts";

/** Where the compiled form of a source with these dependencies is kept. */
export function cachePath(dependencies: string[]): string {
	return `${cacheDirectory()}/kernels/${cacheKey(dependencies)}.bin`;
}
