// Where the tests' real model is: SmolLM2-135M-Instruct as one GGUF file, which `./dev test` puts
// into the cache. Tests that need it call `smolLM2Path()` and fail, rather than skip, without it.

/** The path of SmolLM2-135M-Instruct.Q4_1.gguf; throws if the file is not there. */
export function smolLM2Path(): string {
  const home = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME")}/.cache`;
  const cache = Deno.env.get("OUTLIERSCOPE_CACHE") || `${home}/outlierscope`;
  const path = Deno.env.get("OUTLIERSCOPE_MODEL") ||
    `${cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf`;
  try {
    if (Deno.statSync(path).isFile) return path;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  throw new Error(
    `Cannot find the test model at "${path}": run ./dev test, which sets it up, or give the path ` +
      "of a copy in OUTLIERSCOPE_MODEL",
  );
}
