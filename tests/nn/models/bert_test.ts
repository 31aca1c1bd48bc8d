// all-MiniLM-L6-v2, a real BERT, in full size against PyTorch (tests/fixtures/record_minilm.py): hidden states,
// x_down, the attention that the tokens [CLS] and [SEP] get, sentence embeddings.

import { assert, assertEquals } from "@std/assert";
import { loadModel, type Probe, type TapContext, type Tensor } from "../../../mod.ts";
import { miniLMPath } from "../../model.ts";
import { deviceTest } from "../../tensor/on_device.ts";

interface Summary {
	sample: number[];
	largest: { token: number; channel: number; value: number };
	meanMagnitude: number;
	norm: number;
}
interface Reference {
	inputs: {
		text: string;
		tokenIds: number[];
		sampleAt: { hiddenState: number[][]; downInput: number[][] };
		layers: {
			hiddenState: Summary;
			downInput: Summary;
			attention: { first: number[]; last: number[] };
		}[];
		embedding: number[];
	}[];
}
const reference: Reference = JSON.parse(
	Deno.readTextFileSync(new URL("../../fixtures/minilm_reference.json", import.meta.url)),
);

/** Relative to the largest value; six layers round some hundred times at 2⁻²⁴. Measured: 8e-7 at most. */
const TOLERANCE = 1e-5;

/** Keeps what it gets, with its shape. */
class Copies implements Probe {
	readonly taps = ["output", "mlp.down.input", "attn.weights"].map((tap) => `layers.*.${tap}`);
	readonly found = new Map<string, { data: Float32Array; shape: readonly number[] }>();
	receive(tensor: Tensor<"float32">, { name, sequence }: TapContext): void {
		this.found.set(`${sequence} ${name}`, { data: tensor.dataSync(), shape: tensor.shape });
	}
}

for (const resident of [undefined, "float32"] as const) {
	const where = resident ? "in memory" : "layer by layer";
	deviceTest(`MiniLM, its parameters ${where}, computes what PyTorch does`, async () => {
		using model = await loadModel(miniLMPath(), { ...resident && { resident } });
		const { layers, hiddenSize: H, heads } = model.config;
		const probe = new Copies();
		const hidden = await model.forward(reference.inputs.map(({ tokenIds }) => tokenIds), {
			probes: [probe],
		});
		assertEquals(reference.inputs[0]!.layers.length, layers);
		for (const { text, tokenIds } of reference.inputs) {
			assertEquals(model.tokenizer.encode(text, { specialTokens: true }), tokenIds);
		}
		for (const [sequence, expected] of reference.inputs.entries()) {
			using last = hidden[sequence]!;
			const tokens = expected.tokenIds.length;
			const near = (actual: number, value: number, size: number, what: string) => {
				const error = Math.abs(actual - value) / size;
				assert(error <= TOLERANCE, `text ${sequence}, ${what}: ${actual} for ${value}`);
			};
			const same = (place: "hiddenState" | "downInput", tap: string, layer: number) => {
				const { data, shape } = probe.found.get(`${sequence} layers.${layer}.${tap}`)!;
				const { sample, largest, meanMagnitude, norm } = expected.layers[layer]![place];
				const { token, channel, value } = largest, width = shape[1]!;
				const what = `${place} of layer ${layer + 1}`;
				for (const [i, [t, c]] of expected.sampleAt[place].entries()) {
					near(data[t! * width + c!]!, sample[i]!, Math.abs(value), `${what} at ${t}, ${c}`);
				}
				const magnitudes = data.map(Math.abs);
				const found = magnitudes.indexOf(Math.max(...magnitudes));
				assertEquals([Math.floor(found / width), found % width], [token, channel], what);
				near(data[found]!, value, Math.abs(value), `the largest ${what}`);
				const mean = magnitudes.reduce((sum, x) => sum + x, 0) / data.length;
				near(mean, meanMagnitude, meanMagnitude, `the mean of ${what}`);
				near(Math.sqrt(data.reduce((sum, x) => sum + x * x, 0)), norm, norm, `the norm of ${what}`);
			};
			for (let layer = 0; layer < layers; layer++) {
				same("hiddenState", "output", layer);
				same("downInput", "mlp.down.input", layer);
				const { data } = probe.found.get(`${sequence} layers.${layer}.attn.weights`)!;
				for (let head = 0; head < heads; head++) {
					for (const [key, shares] of Object.entries(expected.layers[layer]!.attention)) {
						const column = key === "first" ? 0 : tokens - 1;
						let sum = 0;
						for (let t = 0; t < tokens; t++) sum += data[(head * tokens + t) * tokens + column]!;
						near(sum / tokens, shares[head]!, 1, `attention of head ${head} to the ${key} token`);
					}
				}
			}
			const data = last.dataSync();
			const sums = Float64Array.from({ length: H }, (_, c) => {
				let sum = 0;
				for (let t = 0; t < tokens; t++) sum += data[t * H + c]!;
				return sum;
			});
			const norm = Math.sqrt(sums.reduce((sum, x) => sum + x * x, 0));
			for (const [c, value] of expected.embedding.entries()) {
				near(sums[c]! / norm, value, 1, `embedding, channel ${c}`);
			}
		}
	});
}
