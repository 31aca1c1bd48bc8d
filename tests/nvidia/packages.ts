// Where NVIDIA's own headers and libraries are, which `./dev test` puts into the cache from PyPI: the
// compiler always, the libraries for `./dev test nvidia`. Tests that need them fail, rather than skip,
// without them.

import { cacheDirectory } from "../../src/host/cache_directory.ts";
import { root } from "../../tools/project.ts";

/** The directory that holds `include/` and `lib/` of the packages in `tools/nvidia/<name>.txt`. */
export function nvidiaDirectory(name: "compiler" | "libraries"): string {
	const directory = `${cacheDirectory()}/nvidia/${name}`;
	const wanted = Deno.readTextFileSync(`${root}/tools/nvidia/${name}.txt`);
	let installed: string | undefined;
	try {
		installed = Deno.readTextFileSync(`${directory}/packages.txt`);
	} catch (error) {
		if (!(error instanceof Deno.errors.NotFound)) throw error;
	}
	if (installed === wanted) return directory;
	throw new Error(
		`Cannot find the packages of tools/nvidia/${name}.txt in "${directory}": run ./dev test` +
			`${name === "libraries" ? " nvidia" : ""}, which sets them up`,
	);
}
