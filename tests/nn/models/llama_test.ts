// The LLaMA forward pass: equal to transformers' on a recorded tiny model with each kind of rotary
// positions, causal, independent of what runs beside it, the same bits each time; taps, refusals, and no
// memory left behind by any of it.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	GgufError,
	type Probe,
	type TapContext,
	type Tensor,
	type Transformer,
} from "../../../mod.ts";
import type { GgufContents } from "../../formats/write_gguf.ts";
import { assertClose, device, deviceTest, difference, random } from "../../tensor/on_device.ts";
import { decode, randomContents, recorded, recordedContents, withModel } from "../tiny_llama.ts";

/**
 * float32: max|error| / max|x|; both sides round each of some 30 steps at 2⁻²⁴; measured 1.4e-6 at most.
 * bfloat16: ‖error‖ / ‖x‖, as single values scatter more (3e-2); inputs of products are rounded at 2⁻⁹ in
 * 3 layers, and queries, keys, values, gate and up. Measured 2.1e-2; without the latter 1.9e-2, which is
 * what PyTorch gives too when it rounds at the same places.
 */
const TOLERANCE = {
	float32: { measure: "largest", limit: 1e-5 },
	bfloat16: { measure: "norm", limit: 2.5e-2 },
} as const;

/** Keeps a copy of each tensor of its taps. */
class Copies implements Probe {
	readonly seen: TapContext[] = [];
	readonly shapes: number[][] = [];
	readonly data = new Map<string, Float32Array>();
	constructor(readonly taps: readonly string[]) {}
	receive(tensor: Tensor<"float32">, context: TapContext): void {
		this.seen.push(context);
		this.shapes.push([...tensor.shape]);
		this.data.set(`${context.name} ${context.sequence}`, tensor.dataSync());
	}
}

async function run(
	model: Transformer,
	sequences: number[][],
	dtype: "float32" | "bfloat16" = "float32",
): Promise<{ hidden: Float32Array[]; logits: Float32Array[] }> {
	const hidden: Float32Array[] = [];
	const logits: Float32Array[] = [];
	for (const h of await model.forward(sequences, { dtype })) {
		using tensor = h;
		using scores = model.logits(tensor);
		hidden.push(tensor.dataSync());
		logits.push(scores.dataSync());
	}
	return { hidden, logits };
}

const randomIds = (count: number, vocabulary: number) =>
	Array.from({ length: count }, () => Math.floor(random() * vocabulary));

for (const variant of recorded.variants) {
	for (const dtype of ["float32", "bfloat16"] as const) {
		deviceTest(`transformers' values with ${variant.name} rotary positions, ${dtype}`, async () => {
			const { tokenIds: ids, config } = recorded;
			const T = ids.length;
			await withModel(recordedContents(variant), async (model) => {
				const probe = new Copies([
					"layers.*.output",
					"layers.*.mlp.down.input",
					"layers.*.attn.cumulative",
				]);
				const [h] = await model.forward([ids], { dtype, probes: [probe] });
				using hidden = h;
				using logits = model.logits(hidden);
				const { measure, limit } = TOLERANCE[dtype];
				const worst: Record<string, number> = {};
				const compare = (what: string, actual: Float32Array, expected: ArrayLike<number>) => {
					const error = difference(actual, expected)[measure];
					worst[what] = Math.max(worst[what] ?? 0, error);
					assert(error <= limit, `${what}: ${measure} error ${error} is over ${limit}`);
				};
				compare("logits", await logits.data(), decode(variant.logits));
				const layer = (all: Float32Array, l: number) => {
					const size = all.length / config.num_hidden_layers;
					return all.subarray(l * size, (l + 1) * size);
				};
				for (let l = 0; l < config.num_hidden_layers; l++) {
					const got = (tap: string) => probe.data.get(`layers.${l}.${tap} 0`)!;
					compare("h", got("output"), layer(decode(variant.hiddenState), l));
					compare("x_down", got("mlp.down.input"), layer(decode(variant.downInput), l));
					const probabilities = layer(decode(variant.attention), l); // n T T
					const sums = Float64Array.from({ length: config.num_attention_heads * T }, (_, at) => {
						const head = Math.floor(at / T);
						let sum = 0;
						for (let i = 0; i < T; i++) sum += probabilities[(head * T + i) * T + at % T];
						return sum;
					});
					compare("cumulative attention", got("attn.cumulative"), sums);
				}
				assertEquals(await hidden.data(), probe.data.get("layers.2.output 0")!);
				console.log(`  ${variant.name} ${dtype}:`, JSON.stringify(worst));
			});
		});
	}
}

deviceTest("the variants of rotary positions differ, so that each test above can fail", () => {
	const [first, ...others] = recorded.variants.map(({ logits }) => decode(logits));
	for (const other of others) assert(difference(other, first).largest > 0.01);
});

deviceTest("linear scaling and factors of frequencies multiply", async () => {
	const llama3 = recorded.variants.find(({ name }) => name === "llama3")!;
	const { metadata, tensors } = recordedContents(llama3);
	const both: GgufContents = {
		metadata: {
			...metadata,
			"llama.rope.scaling.type": { kind: "string", value: "linear" },
			"llama.rope.scaling.factor": { kind: "float32", value: 2 },
		},
		tensors,
	};
	const doubled = tensors.map((tensor) => {
		if (tensor.name !== "rope_freqs.weight") return tensor;
		const data = new Float32Array(tensor.data.slice().buffer).map((factor) => 2 * factor);
		return { ...tensor, data: new Uint8Array(data.buffer) };
	});
	const runIds = (model: Transformer) => run(model, [recorded.tokenIds]);
	assertEquals(
		await withModel(both, runIds),
		await withModel({ metadata, tensors: doubled }, runIds),
	);
});

deviceTest(
	"sequences run together give the bits that each gives alone, in either type",
	async () => {
		await withModel(randomContents(), async (model) => {
			const sequences = [1, 5, 129, 64, 2].map((T) => randomIds(T, model.config.vocabularySize));
			for (const dtype of ["float32", "bfloat16"] as const) {
				const together = await run(model, sequences, dtype);
				for (const [i, sequence] of sequences.entries()) {
					const alone = await run(model, [sequence], dtype);
					assertEquals(together.hidden[i], alone.hidden[0], `sequence ${i} in ${dtype}`);
					assertEquals(together.logits[i], alone.logits[0], `logits of sequence ${i} in ${dtype}`);
				}
			}
		});
	},
);

deviceTest("two runs give identical bits, cumulative attention included", async () => {
	await withModel(randomContents(), async (model) => {
		const ids = randomIds(200, model.config.vocabularySize);
		const results = [];
		for (let i = 0; i < 2; i++) {
			const probe = new Copies(["layers.*.attn.cumulative"]);
			const [h] = await model.forward([ids], { probes: [probe] });
			using hidden = h;
			results.push([await hidden.data(), probe.data]);
		}
		assertEquals(results[0], results[1]);
	});
});

deviceTest("a prefix gives the first rows of the whole, across the blocks of queries", async () => {
	await withModel(randomContents(), async (model) => {
		const ids = randomIds(257, model.config.vocabularySize);
		const { hidden: [whole] } = await run(model, [ids]);
		for (const T of [1, 2, 127, 128, 129, 255, 256, 257]) {
			const { hidden: [part] } = await run(model, [ids.slice(0, T)]);
			// Shorter products are summed in another order: rounding only.
			assertClose(part, whole.subarray(0, part.length), 2e-6, `T = ${T}`);
		}
		const changed = [...ids];
		changed[200] = (ids[200] + 1) % model.config.vocabularySize;
		const { hidden: [other] } = await run(model, [changed]);
		const width = model.config.hiddenSize;
		assertEquals(other.subarray(0, 200 * width), whole.subarray(0, 200 * width));
		assert(difference(other.subarray(200 * width), whole.subarray(200 * width)).largest > 1e-3);
	});
});

deviceTest("no sequence at all is no work and no error", async () => {
	await withModel(randomContents(), async (model) => assertEquals(await model.forward([]), []));
});

deviceTest(
	"tied output is the embedding; an output matrix of the file goes before it",
	async () => {
		const contents = randomContents();
		const tied = await withModel(contents, (model) => run(model, [[1, 2, 3]]));
		const embedding = contents.tensors.find(({ name }) => name === "token_embd.weight")!;
		const doubled = new Float32Array(embedding.data.slice().buffer).map((x) => 2 * x);
		const output = { ...embedding, name: "output.weight", data: new Uint8Array(doubled.buffer) };
		const untied = await withModel(
			{ ...contents, tensors: [...contents.tensors, output] },
			(model) => run(model, [[1, 2, 3]]),
		);
		assertEquals(untied.logits[0], tied.logits[0].map((x) => 2 * x));
		assertEquals(untied.hidden, tied.hidden);
	},
);

deviceTest("probes get each tap with its name, shape, layer and sequence, in order", async () => {
	await withModel(randomContents(), async (model) => {
		const all = new Copies([
			"embed",
			"layers.*.attn.query.weight",
			"layers.*.attn.key.weight",
			"layers.*.attn.value.weight",
			"layers.*.attn.output.weight",
			"layers.*.mlp.gate.weight",
			"layers.*.mlp.up.weight",
			"layers.*.mlp.down.weight",
			"layers.*.attn.q_rotated",
			"layers.*.attn.k_rotated",
			"layers.*.attn.v",
			"layers.*.attn.cumulative",
			"layers.*.mlp.gate_up",
			"layers.*.mlp.down.input",
			"layers.*.output",
		]);
		for (const dtype of ["float32", "bfloat16"] as const) {
			all.seen.length = all.shapes.length = 0;
			const hidden = await model.forward([[1, 2, 3], [4]], { dtype, probes: [all] });
			for (const h of hidden) h.dispose();
			const lines = all.seen.map(({ name, layer, sequence }, i) =>
				`${name} ${layer} ${sequence} [${all.shapes[i]}]`
			);
			// H = 16, I = 24, n = 4, kv = 2, d = 4
			const layer = (l: number) => [
				`layers.${l}.attn.query.weight ${l} -1 [16,16]`,
				`layers.${l}.attn.key.weight ${l} -1 [8,16]`,
				`layers.${l}.attn.value.weight ${l} -1 [8,16]`,
				`layers.${l}.attn.output.weight ${l} -1 [16,16]`,
				`layers.${l}.mlp.gate.weight ${l} -1 [24,16]`,
				`layers.${l}.mlp.up.weight ${l} -1 [24,16]`,
				`layers.${l}.mlp.down.weight ${l} -1 [16,24]`,
				...[3, 1].flatMap((T, sequence) => [
					`layers.${l}.attn.q_rotated ${l} ${sequence} [4,${T},4]`,
					`layers.${l}.attn.k_rotated ${l} ${sequence} [2,${T},4]`,
					`layers.${l}.attn.v ${l} ${sequence} [2,${T},4]`,
					`layers.${l}.attn.cumulative ${l} ${sequence} [4,${T}]`,
					`layers.${l}.mlp.gate_up ${l} ${sequence} [${T},48]`,
					`layers.${l}.mlp.down.input ${l} ${sequence} [${T},24]`,
					`layers.${l}.output ${l} ${sequence} [${T},16]`,
				]),
			];
			// A layer's weights come while the one before runs.
			const [weights, others] = [true, false].map((is) =>
				[...layer(0), ...layer(1)].filter((line) => line.includes("weight") === is)
			);
			assertEquals(lines.filter((line) => line.includes("weight")), weights);
			assertEquals(
				lines.filter((line) => !line.includes("weight")),
				["embed -1 0 [3,16]", "embed -1 1 [1,16]", ...others],
			);
			const at = (part: string) => lines.findIndex((line) => line.startsWith(part));
			assert(at("layers.1.mlp.down.weight") < at("layers.1.attn.q_rotated"));
		}
	});
});

deviceTest("weight taps are exact and in Hugging Face's order of rows", async () => {
	const [variant] = recorded.variants;
	const names = {
		"attn.query": "self_attn.q_proj",
		"attn.key": "self_attn.k_proj",
		"attn.value": "self_attn.v_proj",
		"attn.output": "self_attn.o_proj",
		"mlp.gate": "mlp.gate_proj",
		"mlp.up": "mlp.up_proj",
		"mlp.down": "mlp.down_proj",
	};
	await withModel(recordedContents(variant), async (model) => {
		const probe = new Copies(Object.keys(names).map((name) => `layers.1.${name}.weight`));
		for (const h of await model.forward([[1]], { probes: [probe] })) h.dispose();
		assertEquals(probe.seen.length, 7);
		for (const [ours, theirs] of Object.entries(names)) {
			const expected = decode(recorded.weights[`model.layers.1.${theirs}.weight`]);
			assertEquals(probe.data.get(`layers.1.${ours}.weight -1`), expected, ours);
		}
	});
});

deviceTest("a tap of one layer is that layer's; several probes may share one", async () => {
	await withModel(randomContents({ layers: 4 }), async (model) => {
		const one = new Copies(["layers.3.output"]);
		const any = new Copies(["layers.*.output"]);
		const none = new Copies(["layers.4.output", "no.such.tap"]);
		const [h] = await model.forward([[5, 6]], { probes: [one, any, none] });
		using hidden = h;
		assertEquals(one.seen, [{ name: "layers.3.output", layer: 3, sequence: 0 }]);
		assertEquals(any.seen.map(({ layer }) => layer), [0, 1, 2, 3]);
		assertEquals(none.seen, []);
		assertEquals(await hidden.data(), one.data.get("layers.3.output 0"));
	});
});

deviceTest("without probes nothing is computed for them", async () => {
	await withModel(randomContents(), async (model) => {
		const launches = async (probes: Probe[]) => {
			const before = device.launches;
			for (const h of await model.forward([[1, 2, 3]], { probes })) h.dispose();
			return device.launches - before;
		};
		const plain = await launches([]);
		assertEquals(await launches([new Copies(["layers.*.output", "embed"])]), plain);
		// One launch a layer and key-value head sums the attention of a block of queries, and one each adds the lanes' sums.
		// Heads are not done together then, so that all but the first have a softmax more.
		const { layers, keyValueHeads } = model.config;
		const sums = layers * (keyValueHeads + device.lanes.count + keyValueHeads - 1);
		assertEquals(await launches([new Copies(["layers.*.attn.cumulative"])]), plain + sums);
	});
});

deviceTest("progress counts every layer of every sequence", async () => {
	await withModel(randomContents(), async (model) => {
		const told: number[][] = [];
		const hidden = await model.forward([[1], [2, 3], [4]], {
			onProgress: (done, total) => told.push([done, total]),
		});
		for (const h of hidden) h.dispose();
		assertEquals(told, [1, 2, 3, 4, 5, 6].map((done) => [done, 6]));
	});
});

deviceTest("a signal stops the run soon and frees its memory", async () => {
	await withModel(randomContents({ layers: 6 }), async (model) => {
		const before = device.liveBytes;
		const reason = new Error("enough");
		const aborted = AbortSignal.abort(reason);
		const launches = device.launches;
		const early = await assertRejects(() => model.forward([[1, 2]], { signal: aborted }));
		assertEquals([early, device.launches], [reason, launches]);

		const controller = new AbortController();
		let last = 0;
		const late = await assertRejects(() =>
			model.forward([[1, 2], [3]], {
				signal: controller.signal,
				onProgress(done) {
					last = done;
					if (done === 3) controller.abort(reason);
				},
			})
		);
		assertEquals([late, last], [reason, 3]);
		assertEquals(device.liveBytes, before);
	});
});

deviceTest(
	"a probe or progress function that throws ends the run and leaves nothing behind",
	async () => {
		await withModel(randomContents(), async (model) => {
			const before = device.liveBytes;
			const taps = ["embed", "layers.1.mlp.down.weight", "layers.0.attn.key.weight"];
			for (
				const tap of [...taps, "layers.0.attn.v", "layers.1.attn.cumulative", "layers.0.output"]
			) {
				const failing: Probe = {
					taps: [tap],
					receive() {
						throw new Error(`at ${tap}`);
					},
				};
				for (const dtype of ["float32", "bfloat16"] as const) {
					await assertRejects(
						() => model.forward([[1, 2], [3]], { probes: [failing], dtype }),
						Error,
						`at ${tap}`,
					);
					assertEquals(device.liveBytes, before, `${tap}, ${dtype}`);
				}
			}
			const onProgress = () => {
				throw new Error("at progress");
			};
			await assertRejects(() => model.forward([[1]], { onProgress }), Error, "at progress");
			assertEquals(device.liveBytes, before);
		});
	},
);

deviceTest(
	"sequences that a model cannot run are refused, by their index, before any work",
	async () => {
		await withModel(randomContents({ context: 9 }), async (model) => {
			const V = model.config.vocabularySize;
			const before = [device.liveBytes, device.launches];
			const cases: [number[][], string][] = [
				[[[1], []], "Cannot run sequence 1 of 0 tokens: the model takes 1 to 9"],
				[[Array(10).fill(1)], "Cannot run sequence 0 of 10 tokens: the model takes 1 to 9"],
				[[[1, V]], `Cannot run sequence 0: token id ${V} is not in 0 to ${V - 1}`],
				[[[-1]], `Cannot run sequence 0: token id -1 is not in 0 to ${V - 1}`],
				[[[0.5]], `Cannot run sequence 0: token id 0.5 is not in 0 to ${V - 1}`],
				[[[NaN]], `Cannot run sequence 0: token id NaN is not in 0 to ${V - 1}`],
			];
			for (const [sequences, message] of cases) {
				const error = await assertRejects(() => model.forward(sequences), RangeError, message);
				assertEquals(error.message, message);
			}
			assertEquals([device.liveBytes, device.launches], before);
		});
	},
);

const base = randomContents();
const withMetadata = (changes: GgufContents["metadata"], without: string[] = []): GgufContents => ({
	...base,
	metadata: Object.fromEntries(
		Object.entries({ ...base.metadata, ...changes }).filter(([key]) => !without.includes(key)),
	),
});
const u32 = (value: number) => ({ kind: "uint32", value }) as const;
const extra = {
	name: "blk.0.attn_q_norm.weight",
	shape: [4],
	type: "F32",
	data: new Uint8Array(16),
};
const text = (value: string) => ({ kind: "string", value }) as const;

/** Files that are not a model of this family: what is wrong with each, and the words that say so. */
const REFUSED: Record<string, [GgufContents, string]> = {
	"another architecture": [
		withMetadata({ "general.architecture": text("mamba") }),
		'its architecture is "mamba"; what can be loaded is "bert", "falcon", "gptneox", "gpt2", "llama"',
	],
	"a missing number": [withMetadata({}, ["llama.block_count"]), "llama.block_count"],
	"a missing tensor": [
		{ ...base, tensors: base.tensors.filter(({ name }) => name !== "blk.1.ffn_up.weight") },
		'"blk.1.ffn_up.weight"',
	],
	"a layer too many": [withMetadata({ "llama.block_count": u32(3) }), '"blk.2.attn_norm.weight"'],
	"a layer too few": [
		withMetadata({ "llama.block_count": u32(1) }),
		'tensor "blk.1.attn_norm.weight" does not belong to a model of this family',
	],
	"a tensor of another shape": [
		withMetadata({ "llama.feed_forward_length": u32(25) }),
		'tensor "blk.0.ffn_gate.weight" has shape [24,16], expected [25,16]',
	],
	"a tensor that is not of this family": [
		{ ...base, tensors: [...base.tensors, extra as typeof base.tensors[number]] },
		'tensor "blk.0.attn_q_norm.weight" does not belong to a model of this family',
	],
	"a scaling of positions that is not supported": [
		withMetadata({ "llama.rope.scaling.type": text("yarn") }),
		'rotary scaling "yarn" is not supported; "linear" is',
	],
	"linear scaling without its factor": [
		withMetadata({ "llama.rope.scaling.type": text("linear") }),
		"llama.rope.scaling.factor",
	],
	"linear scaling by 0": [
		withMetadata({
			"llama.rope.scaling.type": text("linear"),
			"llama.rope.scaling.factor": { kind: "float32", value: 0 },
		}),
		"its rotary factors must be above 0",
	],
	"a width that the heads do not divide": [
		withMetadata({ "llama.attention.head_count": u32(3) }),
		"its headDimension is 5.33",
	],
	"heads that do not share key-value heads evenly": [
		withMetadata({ "llama.attention.head_count_kv": u32(3) }),
		"4 heads cannot share 3 key-value heads evenly",
	],
	"an odd head dimension": [
		withMetadata({ "llama.attention.key_length": u32(5), "llama.rope.dimension_count": u32(5) }),
		"rotary positions cannot turn 5 of 5 features of a head",
	],
	"rotation of part of a head": [
		withMetadata({ "llama.rope.dimension_count": u32(2) }),
		"it rotates 2 of 4 features of a head; only all can be",
	],
	"no heads": [withMetadata({ "llama.attention.head_count": u32(0) }), "its heads is 0"],
	"an ε of 0": [
		withMetadata({
			"llama.attention.layer_norm_rms_epsilon": { kind: "float32", value: 0 },
		}),
		"its norms' epsilon is 0",
	],
	"no context": [withMetadata({ "llama.context_length": u32(0) }), "its contextLength is 0"],
};

for (const [name, [contents, message]] of Object.entries(REFUSED)) {
	deviceTest(`a file with ${name} is refused with one clear error`, async () => {
		const error = await assertRejects(() => withModel(contents, () => {}), GgufError, message);
		assert(/^Cannot use ".*\.gguf": [^\n]*$/.test(error.message), error.message);
	});
}
