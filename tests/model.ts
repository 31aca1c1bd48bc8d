// Where the tests' real models are, which `./dev test` puts into the cache: SmolLM2-135M-Instruct as one GGUF
// file, and all-MiniLM-L6-v2 as a folder. Tests that need one fail, rather than skip, without it.

function inCache(name: string, variable: string): string {
	const home = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME")}/.cache`;
	const cache = Deno.env.get("OUTLIERSCOPE_CACHE") || `${home}/outlierscope`;
	const path = Deno.env.get(variable) || `${cache}/models/${name}`;
	try {
		Deno.statSync(path);
		return path;
	} catch (error) {
		if (!(error instanceof Deno.errors.NotFound)) throw error;
		throw new Error(
			`Cannot find the test model at "${path}": run ./dev test, which sets it up, or give the path ` +
				`of a copy in ${variable}`,
		);
	}
}

/** The path of SmolLM2-135M-Instruct.Q4_1.gguf; throws if the file is not there. */
export function smolLM2Path(): string {
	return inCache("SmolLM2-135M-Instruct.Q4_1.gguf", "OUTLIERSCOPE_MODEL");
}

/** The folder of all-MiniLM-L6-v2; throws if it is not there. */
export function miniLMPath(): string {
	return inCache("all-MiniLM-L6-v2", "OUTLIERSCOPE_MINILM");
}
