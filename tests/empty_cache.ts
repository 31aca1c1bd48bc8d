// A cache of compiled code with nothing in it, for tests of what is compiled when.

import { inDirectory } from "./subprocess.ts";

/** Runs `body` with an empty cache, whose directory it is told. */
export async function withEmptyCache(body: (directory: string) => Promise<void>): Promise<void> {
	const before = Deno.env.get("OUTLIERSCOPE_CACHE");
	await inDirectory(async (directory) => {
		Deno.env.set("OUTLIERSCOPE_CACHE", directory);
		try {
			await body(directory);
		} finally {
			if (before === undefined) Deno.env.delete("OUTLIERSCOPE_CACHE");
			else Deno.env.set("OUTLIERSCOPE_CACHE", before);
		}
	});
}
