// GGUF files of every architecture: the tiny models of tests/fixtures/families compute what their originals do, and what
// llama.cpp computes with these files.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { GgufError, loadModel, type Transformer } from "../../../mod.ts";
import { writeGguf } from "../../formats/write_gguf.ts";
import { deviceTest, difference } from "../../tensor/on_device.ts";
import recorded from "../../fixtures/llama_cpp.json" with { type: "json" };
import { CONVERSIONS, convert, folder } from "./gguf_conversions.ts";

const sequences: number[][] = JSON.parse(Deno.readTextFileSync(`${folder}/sequences.json`));

/** The logits of a sequence; of an encoder, its hidden states. */
async function logitsOf(model: Transformer, tokens: number[]): Promise<Float32Array> {
	const [h] = await model.forward([tokens]);
	using hidden = h!;
	if (model.config.head.kind === "none") return hidden.dataSync();
	using logits = model.logits(hidden);
	return logits.dataSync();
}

/** Runs `use` with the path of a fixture as a GGUF file, and with the original. */
async function withGguf(name: string, use: (path: string, original: Transformer) => Promise<void>) {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		using original = await loadModel(`${folder}/${name}`);
		await convert(name, original, path);
		await use(path, original);
	} finally {
		await Deno.remove(path);
	}
}

for (const name of Object.keys(CONVERSIONS)) {
	deviceTest(`${name} as a GGUF file computes what it does as safetensors`, async () => {
		await withGguf(name, async (path, original) => {
			for (const resident of [undefined, "float32"] as const) {
				using model = await loadModel(path, { ...resident && { resident } });
				const ids = name === "mistral" ? sequences[1]!.slice(0, 4) : sequences[0]!; // its window
				const { largest } = difference(await logitsOf(model, ids), await logitsOf(original, ids));
				assert(largest <= 1e-5, `logits are off by ${largest}`);
				assertEquals(model.config.mlp, original.config.mlp);
			}
		});
	});
}

/** Relative to the largest logit: llama.cpp takes GELU from a table in half precision. */
const LLAMA_CPP = { silu: 5e-6, gelu: 5e-4 };

for (const [name, { tokens, values }] of Object.entries(recorded)) {
	deviceTest(`${name} computes what llama.cpp does with the same file`, async () => {
		await withGguf(name, async (path) => {
			using model = await loadModel(path);
			if (name === "bert") {
				assertEquals(model.tokenizer.encode("Ab9 c.", { specialTokens: true }), tokens);
			}
			const last = (await logitsOf(model, tokens)).slice(-values.length);
			const { largest } = difference(last, Float32Array.from(values));
			const size = Math.max(...values.map(Math.abs));
			const tolerance = LLAMA_CPP[model.config.mlp.activation === "silu" ? "silu" : "gelu"];
			assert(largest <= tolerance * size, `logits of up to ${size} are off by ${largest}`);
		});
	});
}

deviceTest("more tokens than embeddings are refused", async () => {
	await withGguf("gpt2", async (path, original) => {
		await convert("gpt2", original, path, 62);
		await assertRejects(
			() => loadModel(path),
			GgufError,
			"it has 62 tokens, and the model's vocabulary is 61",
		);
	});
});

deviceTest("another architecture is refused with those that can be loaded", async () => {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		writeGguf(path, {
			metadata: { "general.architecture": { kind: "string", value: "mamba" } },
			tensors: [],
		});
		await assertRejects(
			() => loadModel(path),
			GgufError,
			'its architecture is "mamba"; what can be loaded is "bert", "falcon", "gptneox", "gpt2", "llama"',
		);
	} finally {
		await Deno.remove(path);
	}
});
