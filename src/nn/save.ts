// Saves models as `transformers` reads them: config.json and safetensors under the family's names.

import { writeAll, writeWhole } from "../formats/local_file.ts";
import { ConfigJson } from "../formats/config_json.ts";
import { saveSafetensors } from "../formats/safetensors.ts";
import {
	cast,
	contiguous,
	copyInto,
	type FloatType,
	noGrad,
	scope,
	Tensor,
} from "../tensor/mod.ts";
import { locate } from "./checkpoint_weights.ts";
import { FAMILIES } from "./models/families.ts";
import { parameterSpecs } from "./parameters.ts";
import type { Transformer } from "./transformer.ts";

/** Options of {@linkcode saveModel}. */
export interface SaveModelOptions {
	/** Type of the stored numbers. @default {that of each parameter} */
	dtype?: FloatType;
}

/**
 * Saves a model whose parameters are in memory as a folder with `config.json` and `model.safetensors`, which
 * `transformers` and {@linkcode loadModel} read. Each file appears whole or not at all.
 *
 * Biases that the format asks for and the model does not have are saved as 0: GPT-2 without biases is such a model.
 *
 * @param folder made if it is not there
 * @throws {RangeError} if the model is of no family that the format knows, or has an attention of its own
 * @throws {SafetensorsError} if a file cannot be written
 *
 * @example
 * ```ts ignore
 * using model = await gpt2({ layers: 2, hiddenSize: 64, heads: 4 });
 * await saveModel(model, "out/tiny-gpt2");
 * ```
 */
export async function saveModel(
	model: Transformer,
	folder: string,
	options: SaveModelOptions = {},
): Promise<void> {
	const { config, parameters, device } = model;
	if (model.attention.name !== "softmax") {
		throw new RangeError(
			`Cannot save the ${config.family} model with the attention ${model.attention.name}: the format has ` +
				"only softmax attention; a training checkpoint keeps it",
		);
	}
	const family = FAMILIES.find(({ modelTypes }) => modelTypes.includes(config.family));
	const settings = model.settings ?? family?.settings?.(config);
	if (!family || !settings) {
		throw new RangeError(`Cannot save the ${config.family} model: its family has no such format`);
	}
	const saved = family.config(new ConfigJson(`${folder}/config.json`, settings));
	const sources = family.sources(saved), { outside, layer } = parameterSpecs(saved);
	const known = new Set<string>();
	using stack = new DisposableStack();
	const tensors = new Map<string, Tensor<FloatType>>();
	const add = (name: string, shape: readonly number[]) => {
		known.add(name);
		const parameter = parameters.get(name);
		if (!parameter && !name.endsWith(".bias")) {
			throw new RangeError(`Cannot save the ${config.family} model: it has no ${name}`);
		}
		const dtype = options.dtype ?? parameter?.dtype ?? "float32";
		let row = 0;
		for (const piece of locate(sources, name, shape, saved)) {
			let stored = tensors.get(piece.tensor);
			if (!stored) {
				stored = stack.use(Tensor.zeros<FloatType, number>(device, dtype, piece.stored));
				tensors.set(piece.tensor, stored);
			}
			const end = row + piece.shape[0]!, first = row;
			scope(() => {
				if (!parameter) return;
				const into = piece.view?.(stored) ?? stored;
				const all = parameter.size === 1 ? parameter.expand(shape) : parameter; // a norm of one gain
				const values = contiguous(all.slice(first, end)).reshape(into.shape);
				copyInto(into, values.dtype === dtype ? values : convert(values, dtype));
			});
			row = end;
		}
	};
	noGrad(() => {
		for (const { name, shape } of outside) add(name, shape);
		for (let index = 0; index < saved.layers; index++) {
			for (const { name, shape } of layer) add(`layers.${index}.${name}`, shape);
		}
	});
	const foreign = [...parameters.keys()].find((name) => !known.has(name));
	if (foreign) {
		throw new RangeError(
			`Cannot save the ${config.family} model: its parameter ${foreign} has no place in the format; ` +
				"a training checkpoint keeps it",
		);
	}
	await Deno.mkdir(folder, { recursive: true });
	await saveSafetensors(`${folder}/model.safetensors`, Object.fromEntries(tensors));
	const text = new TextEncoder().encode(JSON.stringify(settings, null, 2) + "\n");
	await writeWhole(`${folder}/config.json`, (file) => writeAll(file, text));
}

function convert(x: Tensor<FloatType>, dtype: FloatType): Tensor<FloatType> {
	return dtype === "bfloat16"
		? cast(x as Tensor<"float32">, dtype)
		: cast(x as Tensor<"bfloat16">, dtype);
}
