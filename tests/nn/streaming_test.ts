// A checkpoint that is larger than the memory it is analyzed in: weights pass through layer by layer, at most two
// layers at a time, from shards, while the one before computes.

import { assert, assertEquals } from "@std/assert";
import { detectOutliers, loadModel, saveSafetensors, Tensor } from "../../mod.ts";
import { device, deviceTest, normal } from "../tensor/on_device.ts";

const H = 256, I = 704, V = 96, LAYERS = 12, TOKENS = 64, HEADS = 4;
const LAYER_BYTES = 4 * (4 * H * H + 3 * H * I + 2 * H);

/** A LLaMA of random weights in as many shards as it has layers, and one for the rest. */
async function writeModel(folder: string): Promise<void> {
	const settings = {
		model_type: "llama",
		hidden_size: H,
		intermediate_size: I,
		num_hidden_layers: LAYERS,
		num_attention_heads: HEADS,
		vocab_size: V,
		max_position_embeddings: 128,
		tie_word_embeddings: true,
	};
	await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(settings));
	const places: Record<string, string> = {};
	const save = async (file: string, shapes: Record<string, number[]>) => {
		using stack = new DisposableStack();
		const tensors: Record<string, Tensor> = {};
		for (const [name, shape] of Object.entries(shapes)) {
			const size = shape.reduce((a, b) => a * b);
			const data = shape.length === 1 ? new Float32Array(size).fill(1) : normal(size, 0.06);
			tensors[name] = stack.use(Tensor.from<"float32", number>(device, "float32", shape, data));
			places[name] = file;
		}
		await saveSafetensors(`${folder}/${file}`, tensors);
	};
	await save("rest.safetensors", { "model.embed_tokens.weight": [V, H], "model.norm.weight": [H] });
	for (let layer = 0; layer < LAYERS; layer++) {
		const shapes = {
			"input_layernorm": [H],
			"self_attn.q_proj": [H, H],
			"self_attn.k_proj": [H, H],
			"self_attn.v_proj": [H, H],
			"self_attn.o_proj": [H, H],
			"post_attention_layernorm": [H],
			"mlp.gate_proj": [I, H],
			"mlp.up_proj": [I, H],
			"mlp.down_proj": [H, I],
		};
		const named = Object.entries(shapes).map(([name, shape]) =>
			[`model.layers.${layer}.${name}.weight`, shape] as const
		);
		await save(`layer-${layer}.safetensors`, Object.fromEntries(named));
	}
	const index = JSON.stringify({ weight_map: places });
	await Deno.writeTextFile(`${folder}/model.safetensors.index.json`, index);
}

deviceTest(
	"at most two layers and the sequences are in memory, however many layers there are",
	async () => {
		const folder = await Deno.makeTempDir();
		try {
			await writeModel(folder);
			const sequences = [0, 1, 2].map((s) =>
				Array.from({ length: TOKENS }, (_, t) => (s * 31 + t * 7) % V)
			);
			using model = await loadModel(folder);
			await device.synchronize();
			const before = device.liveBytes;
			const peakOf = async (run: () => Promise<unknown>) => {
				device.resetPeak();
				await run();
				await device.synchronize();
				assertEquals(device.liveBytes, before);
				return device.peakBytes - before;
			};
			// The hidden states, and the tensors of one layer's pass of one sequence.
			const pass = 4 * TOKENS * (3 * H + 3 * H + 2 * I + I + 4 * H + HEADS * TOKENS);
			const bound = 2 * LAYER_BYTES + 4 * sequences.length * TOKENS * H + 2 * pass;
			const peak = await peakOf(async () => {
				for (const h of await model.forward(sequences)) h.dispose();
			});
			console.log(
				`  ${peak} bytes at most, ${(peak / LAYER_BYTES).toFixed(2)} layers of ${LAYERS}`,
			);
			assert(peak > LAYER_BYTES && peak <= bound, `${peak} bytes, and ${bound} are allowed`);
			// An analysis looks at the weights too; a matrix and its statistics come to it.
			const texts = sequences.map((tokenIds) => ({ source: "tokens", tokenIds }));
			const analyzed = await peakOf(() => detectOutliers(model, { texts, length: TOKENS }));
			const more = 4 * (I * H + 3 * H * H) + 2 ** 19;
			assert(analyzed <= bound + more, `${analyzed} bytes, and ${bound + more} are allowed`);
			// In bfloat16, half.
			const half = await peakOf(async () => {
				for (const h of await model.forward(sequences, { dtype: "bfloat16" })) h.dispose();
			});
			assert(half <= LAYER_BYTES + LAYER_BYTES / 8 + 4 * sequences.length * TOKENS * H + 2 * pass);
		} finally {
			await Deno.remove(folder, { recursive: true });
		}
	},
);

deviceTest("streamed and resident weights give the same bits", async () => {
	const folder = await Deno.makeTempDir();
	try {
		await writeModel(folder);
		const run = async (resident?: "float32") => {
			using model = await loadModel(folder, { ...resident && { resident } });
			const [h] = await model.forward([[1, 2, 3, 4, 5]]);
			using hidden = h;
			return await hidden.data();
		};
		assertEquals(await run(), await run("float32"));
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
});
