// Register tokens: a model with them is the model without that reads them as embeddings of tokens before each sequence.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
	attentionNamed,
	constant,
	detectOutliers,
	EmergenceWatch,
	generate,
	gpt2,
	type Gpt2Options,
	inductionTask,
	llama,
	type LlamaOptions,
	type Probe,
	saveModel,
	scope,
	Tensor,
	train,
	type Transformer,
} from "../../mod.ts";
import { copyInto } from "../../src/tensor/contiguous.ts";
import { numbers } from "../tensor/gradients.ts";
import { assertClose, device, deviceTest, random } from "../tensor/on_device.ts";

const K = 3, V = 61, CONTEXT = 24;
const tiny = { layers: 2, heads: 4, hiddenSize: 32, vocabularySize: V, tied: false };

const FAMILIES: Record<string, (options: Gpt2Options & LlamaOptions) => Promise<Transformer>> = {
	gpt2: (options) => gpt2({ ...tiny, ...options }),
	llama: (options) => llama({ ...tiny, keyValueHeads: 2, intermediateSize: 48, ...options }),
};
const PREFIX = Array.from({ length: K }, (_, i) => i);
/** Tokens that are not among those of the prefix. */
const draw = (count: number) =>
	Array.from({ length: count }, () => K + Math.floor(random() * (V - K)));

/** A model with registers, and one without whose tokens 0 to k - 1 have them as embeddings, and no position. */
async function both(family: string) {
	const attention = () => ({ attention: attentionNamed("context-scaling") });
	const model = await FAMILIES[family]!({
		...attention(),
		registers: K,
		contextLength: CONTEXT,
		seed: 1 + Math.floor(random() * 1e6),
	});
	const plain = await FAMILIES[family]!({ ...attention(), contextLength: K + CONTEXT });
	scope(() => {
		for (const [name, parameter] of plain.parameters) {
			const values = model.parameters.get(name)!.detach(), to = parameter.detach();
			if (name !== "positions.weight") copyInto(to, values);
			else {
				copyInto(
					to.slice(0, K),
					Tensor.zeros<"float32", 2>(device, "float32", [K, tiny.hiddenSize]),
				);
				copyInto(to.slice(K), values);
			}
		}
		copyInto(
			plain.parameters.get("embed.weight")!.detach().slice(0, K),
			model.parameters.get("registers.weight")!.detach(),
		);
	});
	return { model, plain };
}

for (const family of Object.keys(FAMILIES)) {
	deviceTest(`a ${family} with registers sees them as tokens before each sequence`, async () => {
		const { model, plain } = await both(family);
		using _model = model, _plain = plain;
		const sequences = [draw(CONTEXT), draw(5), draw(1)];
		const seen = new Map<string, number[]>();
		const probe = (prefix: string): Probe => ({
			taps: ["embed", "layers.*.attn.cumulative", "layers.*.output"],
			receive: (x, { name, sequence }) =>
				void seen.set(`${prefix} ${name} ${sequence}`, numbers(x)),
		});
		const got = await model.forward(sequences, { probes: [probe("k")] });
		const wanted = await plain.forward(sequences.map((ids) => [...PREFIX, ...ids]), {
			probes: [probe("0")],
		});
		for (const [i, h] of got.entries()) {
			assertEquals(h.shape, [sequences[i]!.length, tiny.hiddenSize]);
			using tokens = wanted[i]!.slice(K);
			assertClose(numbers(h), numbers(tokens), 1e-5, `hidden states of sequence ${i}`);
			h.dispose();
			wanted[i]!.dispose();
		}
		const watched = [...seen.keys()].filter((key) => key.startsWith("k"));
		assertEquals(watched.length, 3 * (1 + 2 * tiny.layers));
		for (const key of watched) {
			assertClose(seen.get(key)!, seen.get(`0${key.slice(1)}`)!, 1e-5, key);
		}
	});

	deviceTest(`loss and gradients of a ${family} leave registers out, which learn`, async () => {
		const { model, plain } = await both(family);
		using _model = model, _plain = plain;
		const T = 7, ids = [draw(T + 1), draw(T + 1)];
		const batch = (rows: number[][]) =>
			Tensor.from<"int32", 2>(device, "int32", [rows.length, rows[0]!.length], rows.flat());
		using inputs = batch(ids.map((row) => row.slice(0, T))),
			targets = batch(ids.map((row) => row.slice(1)));
		using longInputs = batch(ids.map((row) => [...PREFIX, ...row.slice(0, T)]));
		using longTargets = batch(ids.map((row) => [...PREFIX.map(() => -1), ...row.slice(1)]));
		for (const checkpointing of [false, true]) {
			using loss = model.loss(inputs, targets, { checkpointing });
			using expected = plain.loss(longInputs, longTargets, { checkpointing });
			assertClose([loss.item()], [expected.item()], 1e-6, "loss");
			loss.backward();
			expected.backward();
			for (const [name, { grad }] of model.parameters) {
				const [from, begin, end] = name === "registers.weight"
					? ["embed.weight", 0, K] as const
					: name === "embed.weight"
					? [name, K, V] as const
					: name === "positions.weight"
					? [name, K, K + CONTEXT] as const
					: [name, 0, undefined] as const;
				using some = plain.parameters.get(from)!.grad!.slice(begin, end);
				using own = name === "embed.weight" ? grad!.slice(K) : grad!.slice(0);
				const wanted = numbers(some), size = Math.max(...wanted.map(Math.abs));
				assert(size > 0, name);
				assertClose(numbers(own).map((x) => x / size), wanted.map((x) => x / size), 1e-4, name);
			}
			for (const each of [model, plain]) for (const p of each.parameters.values()) p.zeroGrad();
		}
	});

	deviceTest(`a ${family} with registers writes what it would from the whole text`, async () => {
		using model = await FAMILIES[family]!({ registers: K, contextLength: CONTEXT });
		const prompt = draw(4), maxTokens = CONTEXT - 4;
		const written = await Array.fromAsync(generate(model, prompt, { maxTokens, temperature: 0 }));
		for (const count of [0, 1, maxTokens - 1]) {
			const [h] = await model.forward([[...prompt, ...written.slice(0, count)]]);
			using hidden = h!, last = hidden.slice(hidden.shape[0] - 1);
			using logits = model.logits(last);
			const values = numbers(logits), best = Math.max(...values);
			assert(best - values[written[count]!]! < 1e-4, `token ${count}`);
		}
		await assertRejects(
			() => Array.fromAsync(generate(model, prompt, { maxTokens: maxTokens + 1 })),
			RangeError,
			"context is 24",
		);
	});
}

deviceTest(
	"registers train, are watched as positions, and have no place in other formats",
	async () => {
		using model = await gpt2({ ...tiny, vocabularySize: 64, contextLength: 32, registers: 2 });
		const before = numbers(model.parameters.get("registers.weight")!);
		assertEquals(model.parameters.get("registers.weight")!.shape, [2, tiny.hiddenSize]);
		assert(model.decays("registers.weight"));
		const found: unknown[] = [];
		await train(model, {
			data: inductionTask(),
			steps: 2,
			batchSize: 2,
			tokens: 32,
			schedule: constant({ peak: 1e-3 }),
			metrics: { watch: new EmergenceWatch(), interval: 1, sequences: 2 },
			onProgress: (progress) => void found.push(progress),
		});
		assert(numbers(model.parameters.get("registers.weight")!).some((x, i) => x !== before[i]));
		await assertRejects(() => saveModel(model, "/proc/never"), RangeError, "registers.weight");
		await assertRejects(
			() => detectOutliers(model, { texts: [{ source: "tokens", tokenIds: [1, 2, 3] }] }),
			RangeError,
			"register tokens",
		);
	},
);

Deno.test("a number of registers that is none is refused", async () => {
	await assertRejects(() => gpt2({ ...tiny, registers: -1 }), RangeError, "-1 register tokens");
	await assertRejects(() => gpt2({ ...tiny, registers: 1.5 }), RangeError, "1.5 register tokens");
});
