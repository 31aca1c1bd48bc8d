// Every model family against transformers: tiny random checkpoints in tests/fixtures/families with what it computes
// from them (tests/fixtures/record_families.py): logits, hidden states, x_down, attention maps, gradients.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	ConfigError,
	loadModel,
	type Probe,
	Safetensors,
	SafetensorsError,
	type TapContext,
	Tensor,
	type Transformer,
} from "../../../mod.ts";
import { device, deviceTest, difference } from "../../tensor/on_device.ts";

const folder = new URL("../../fixtures/families", import.meta.url).pathname;
const sequences: number[][] = JSON.parse(Deno.readTextFileSync(`${folder}/sequences.json`));
const names = [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory)
	.map(({ name }) => name).sort();

/** max|error| / max|x|; both sides round some twenty steps at 2⁻²⁴. Measured: 3e-6 at most, of gradients 1e-5. */
const TOLERANCE = 2e-5;

/** Keeps what it gets. */
class Copies implements Probe {
	readonly data = new Map<string, Float32Array>();
	readonly positions = new Map<string, readonly number[]>();
	constructor(readonly taps: readonly string[]) {}
	receive(tensor: Tensor<"float32">, { name, sequence, positions }: TapContext): void {
		this.data.set(`${sequence} ${name}`, tensor.dataSync());
		if (positions) this.positions.set(`${sequence} ${name}`, positions);
	}
}

/** The recorded tensors of a model. */
async function read(name: string): Promise<Map<string, Float32Array>> {
	using file = await Safetensors.open(`${folder}/${name}/recorded.safetensors`);
	const values = new Map<string, Float32Array>();
	for (const { name, type } of file.tensors.values()) {
		const { buffer } = file.read(name);
		values.set(
			name,
			type === "I32" ? Float32Array.from(new Int32Array(buffer)) : new Float32Array(buffer),
		);
	}
	return values;
}

const PLACES: [recorded: string, tap: string][] = [
	["hidden", "output"],
	["down_input", "mlp.down.input"],
	["attention", "attn.weights"],
];

/** Compares everything that was recorded of a forward pass, and returns how much. */
async function compare(model: Transformer, name: string): Promise<number> {
	const recorded = await read(name);
	const experts = Array.from(
		{ length: model.config.mlp.experts?.count ?? 0 },
		(_, expert) => `mlp.experts.${expert}.down.input`,
	);
	const probe = new Copies(
		[...PLACES.map(([, tap]) => tap), ...experts].map((tap) => `layers.*.${tap}`),
	);
	const hidden = await model.forward(sequences, { probes: [probe] });
	let compared = 0;
	const check = (what: string, actual: Float32Array | undefined) => {
		const expected = recorded.get(what);
		if (!expected) return;
		assert(actual, `${what} was not given`);
		const { largest } = difference(actual, expected);
		assert(largest <= TOLERANCE, `${name}: ${what} is off by ${largest}`);
		compared++;
	};
	for (const [sequence, h] of hidden.entries()) {
		using last = h;
		if (model.config.head.kind !== "none") {
			using logits = model.logits(last);
			check(`${sequence}.logits`, logits.dataSync());
		}
		for (let layer = 0; layer < model.config.layers; layer++) {
			for (const [place, tap] of PLACES) {
				const actual = probe.data.get(`${sequence} layers.${layer}.${tap}`);
				check(`${sequence}.${place}.${layer}`, actual);
			}
			for (const [expert, tap] of experts.entries()) {
				const key = `${sequence} layers.${layer}.${tap}`, where = `${layer}.${expert}`;
				const positions = [...recorded.get(`${sequence}.positions.${where}`)!];
				assertEquals(probe.positions.get(key) ?? [], positions);
				if (positions.length > 0) check(`${sequence}.down_input.${where}`, probe.data.get(key));
			}
		}
	}
	return compared;
}

for (const name of names) {
	deviceTest(`${name} computes what transformers does`, async () => {
		using model = await loadModel(`${folder}/${name}`);
		// Of two sequences logits, and three places of two layers, but for those without one of them. Mixtral has x_down
		// of the experts that got tokens: of 16 in all, 3 got none.
		const expected = { bert: 12, bert_pretraining: 12, falcon_rw: 10, mixtral: 10 + 13 }[name] ??
			14;
		assertEquals(await compare(model, name), expected);
		assertEquals(model.name, name);
	});

	deviceTest(`${name} computes the same with its parameters in memory`, async () => {
		using model = await loadModel(`${folder}/${name}`, { resident: "float32" });
		await compare(model, name);
	});
}

/** Where transformers' gradients of a model are in ours: the parameter, the row, and whether transposed. */
const GRADIENTS: Record<string, (name: string, config: Transformer["config"]) => Place> = {
	gpt2: (name) => {
		const own = name.replace("transformer.", "")
			.replace("wte", "embed").replace("wpe", "positions").replace("ln_f", "norm")
			.replace(/h\.(\d+)\./, "layers.$1.").replace("ln_1", "attn.norm").replace("ln_2", "mlp.norm")
			.replace("attn.c_attn", "attn.qkv").replace("attn.c_proj", "attn.output")
			.replace("mlp.c_fc", "mlp.up").replace("mlp.c_proj", "mlp.down");
		return { own, row: 0, transposed: /c_(attn|proj|fc)\.weight$/.test(name) };
	},
	llama: (name, { heads, keyValueHeads, headDimension: d, intermediateSize }) => {
		const rows: Record<string, number> = {
			k_proj: heads * d,
			v_proj: (heads + keyValueHeads) * d,
			up_proj: intermediateSize,
		};
		const part = /(\w+_proj)\.weight$/.exec(name)?.[1] ?? "";
		const own = name.replace("model.", "").replace("embed_tokens", "embed")
			.replace("lm_head", "head").replace("input_layernorm", "attn.norm")
			.replace("post_attention_layernorm", "mlp.norm").replace(/self_attn\.[qkv]_proj/, "attn.qkv")
			.replace("self_attn.o_proj", "attn.output").replace(/mlp\.(gate|up)_proj/, "mlp.gate_up")
			.replace("mlp.down_proj", "mlp.down");
		return { own, row: rows[part] ?? 0, transposed: false };
	},
};
interface Place {
	own: string;
	row: number;
	transposed: boolean;
}

for (const name of Object.keys(GRADIENTS)) {
	deviceTest(`${name}'s gradients are PyTorch's`, async () => {
		const recorded = await read(name), [ids] = sequences;
		using model = await loadModel(`${folder}/${name}`, { resident: "float32" });
		for (const parameter of model.parameters.values()) parameter.requireGrad();
		const row = (list: number[]) =>
			Tensor.from<"int32", 2>(device, "int32", [1, list.length], list);
		using inputs = row(ids.slice(0, -1));
		using targets = row(ids.slice(1));
		using loss = model.loss(inputs, targets);
		assert(Math.abs(loss.item() / recorded.get("loss")![0] - 1) < 1e-5);
		loss.backward();
		const seen = new Map([...model.parameters].map(([own, { size }]) => [own, size]));
		for (const [key, expected] of recorded) {
			if (!key.startsWith("gradient.")) continue;
			const place = GRADIENTS[name](key.slice(9), model.config);
			const parameter = model.parameters.get(place.own);
			assert(parameter?.grad, `${key} is ${place.own}, which has no gradient`);
			const columns = parameter.shape[1] ?? 1, rows = expected.length / columns;
			using part = parameter.grad.slice(place.row, place.row + rows);
			using view = place.transposed ? part.transpose() : part.detach();
			const { largest } = difference(view.dataSync() as Float32Array, expected);
			assert(largest <= 5e-5, `${key}: gradient is off by ${largest}`);
			seen.set(place.own, seen.get(place.own)! - expected.length);
		}
		assertEquals([...seen].filter(([, left]) => left !== 0), []);
		for (const parameter of model.parameters.values()) parameter.zeroGrad();
	});
}

/** Copies a checkpoint to a temporary folder, with its settings changed. */
async function withChanged(
	name: string,
	change: (settings: Record<string, unknown>) => void,
	use: (path: string) => Promise<void>,
): Promise<void> {
	const path = await Deno.makeTempDir();
	try {
		for (const file of Deno.readDirSync(`${folder}/${name}`)) {
			await Deno.copyFile(`${folder}/${name}/${file.name}`, `${path}/${file.name}`);
		}
		const settings = JSON.parse(await Deno.readTextFile(`${path}/config.json`));
		change(settings);
		await Deno.writeTextFile(`${path}/config.json`, JSON.stringify(settings));
		await use(path);
	} finally {
		await Deno.remove(path, { recursive: true });
	}
}

const REFUSED: [model: string, settings: Record<string, unknown>, words: string][] = [
	["llama", { model_type: "gemma3" }, 'its "model_type" is "gemma3"; what can be loaded is bert'],
	["llama", { hidden_act: "gelu" }, 'its "hidden_act" is "gelu"'],
	["llama", { hidden_size: undefined }, 'its "hidden_size" is missing'],
	["llama", { num_attention_heads: 5 }, "5 heads cannot share 2 key-value heads evenly"],
	["llama", { intermediate_size: 47 }, 'tensor "model.layers.0.mlp.gate_proj.weight" has shape'],
	["llama", { num_hidden_layers: 3 }, 'no tensor "model.layers.2.input_layernorm.weight"'],
	["llama", { num_hidden_layers: 1 }, "does not belong to a model of this family"],
	["llama", { vocab_size: 62 }, 'tensor "model.embed_tokens.weight" has shape [61,32]'],
	["llama", { tie_word_embeddings: true }, 'tensor "lm_head.weight" does not belong'],
	["llama_biased", { attention_bias: false }, '_proj.bias" does not belong'],
	["llama", { attention_bias: true }, 'no tensor "model.layers.0.self_attn.q_proj.bias"'],
	["llama3", { rope_parameters: { rope_type: "yarn" } }, 'rotary scaling "yarn" is not supported'],
	["gpt2", { activation_function: "elu" }, 'its "activation_function" is "elu"; what is known is'],
	["gpt2", { add_cross_attention: true }, '"add_cross_attention" is true, which is not supported'],
	["llama_linear", { rope_scaling: { type: "linear" } }, '"rope_scaling.factor" is missing'],
	["gpt2", { scale_attn_weights: false }, '"scale_attn_weights" is false'],
	["qwen2", { use_sliding_window: true, max_window_layers: 1 }, '"max_window_layers" is 1'],
	["mpt", { attn_config: { alibi: false } }, '"attn_config.alibi" is false'],
	["mpt", { attn_config: { qk_ln: true } }, '"attn_config.qk_ln" is true'],
	["mpt", { attn_config: { softmax_scale: 1 } }, 'it has "attn_config.softmax_scale"'],
	["mpt", { norm_type: "rmsnorm" }, 'its "norm_type" is "rmsnorm", no layer norm'],
	["opt", { layer_norm_elementwise_affine: false }, '"layer_norm_elementwise_affine" is false'],
	["mixtral", { num_experts_per_tok: 5 }, "each token to 5 of 4 experts"],
	["mistral", { sliding_window: 0 }, "its attention window is 0"],
	["phi", { qk_layernorm: true }, '"qk_layernorm" is true'],
	["bert", { position_embedding_type: "relative_key" }, '"position_embedding_type"'],
	["bert", { is_decoder: true }, '"is_decoder" is true'],
];

for (const [name, settings, words] of REFUSED) {
	deviceTest(
		`${name} with ${JSON.stringify(settings)} is refused with one clear error`,
		async () => {
			await withChanged(name, (all) => Object.assign(all, settings), async (path) => {
				const error = await assertRejects(() => loadModel(path), Error, words);
				assert(error instanceof ConfigError || error instanceof SafetensorsError, error.name);
				assert(!error.message.includes("\n"), error.message);
			});
		},
	);
}

deviceTest("an encoder has hidden states and no logits", async () => {
	using model = await loadModel(`${folder}/bert`);
	const [h] = await model.forward([[1, 2, 3]]);
	using hidden = h;
	const error = await assertRejects(() => Promise.try(() => model.logits(hidden)), RangeError);
	assert(error.message.includes("the bert model has no output layer"));
});

deviceTest("a window of Qwen2 is for the layers from the one that it names on", async () => {
	for (
		const [first, window] of [[0, 3], [2, undefined], [28, undefined], [
			undefined,
			undefined,
		]] as const
	) {
		const settings = { use_sliding_window: true, sliding_window: 3, max_window_layers: first };
		await withChanged("qwen2", (all) => Object.assign(all, settings), async (path) => {
			using model = await loadModel(path);
			assertEquals(model.config.attention.window, window);
		});
	}
});
