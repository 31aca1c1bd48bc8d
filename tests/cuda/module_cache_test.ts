// The keys of cached modules: another source, name, option or compiler is another file.

import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { cachePath } from "../../src/cuda/module_cache.ts";
import { cacheDirectory } from "../../src/host/cache_directory.ts";

Deno.test("the same dependencies give the same path, in the cache", () => {
	assertEquals(cachePath(["a", "b"]), cachePath(["a", "b"]));
	const path = cachePath(["a"]);
	assertEquals(path.slice(0, cacheDirectory().length + 9), `${cacheDirectory()}/kernels/`);
	assertMatch(path, /\/[0-9a-f]{32}\.bin$/);
});

Deno.test("any difference gives another path, also where one text ends and the next begins", () => {
	const paths = [["a", "b"], ["b", "a"], ["ab"], ["ab", ""], ["a", "b", ""], ["a", "b "]].map(
		cachePath,
	);
	assertEquals(new Set(paths).size, paths.length);
	assertNotEquals(cachePath([]), cachePath([""]));
});
