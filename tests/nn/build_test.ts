// Models that are built: the paper's parameter counts, first values, the same by the same seed, and refusals.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
	copyInto,
	full,
	Generator,
	gpt2,
	llama,
	loadModel,
	matmul,
	noGrad,
	saveModel,
	scope,
	type Tensor,
	tensor,
	type Transformer,
} from "../../mod.ts";
import { orthogonal } from "../../src/nn/orthogonal.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

const count = (model: Transformer, without: string[] = []) =>
	[...model.parameters].filter(([name]) => !without.includes(name))
		.reduce((sum, [, { size }]) => sum + size, 0);

const tiny = { layers: 2, heads: 4, hiddenSize: 64, vocabularySize: 512, contextLength: 32 };

deviceTest("gpt2() has the paper's number of parameters", async () => {
	using model = await gpt2();
	assertEquals(count(model, ["positions.weight"]), 123_587_328);
	const sizes = [...model.parameters].map(([name, { size }]) => ({
		size,
		decays: model.decays(name),
	}));
	const decayed = sizes.filter(({ decays }) => decays);
	assertEquals(decayed.length, 50);
	assertEquals(decayed.reduce((sum, { size }) => sum + size, 0), 124_354_560);
	assertEquals(sizes.length - decayed.length, 25);
});

deviceTest("llama() has TinyLLaMA-120M's number of parameters", async () => {
	using model = await llama();
	assertEquals(count(model), 121_129_728);
});

/** Mean and standard deviation. */
async function moments(model: Transformer, name: string): Promise<[number, number]> {
	const values = await model.parameters.get(name)!.numbers();
	const mean = values.reduce((a, b) => a + b) / values.length;
	return [mean, Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length)];
}

deviceTest("first values are spread as the families have them", async () => {
	using small = await gpt2({ ...tiny, bias: true });
	using other = await llama({ ...tiny, keyValueHeads: 2, intermediateSize: 128 });
	const expected: [Transformer, string, number, number][] = [
		[small, "embed.weight", 0, 0.02],
		[small, "positions.weight", 0, 0.02],
		[small, "layers.1.attn.qkv.weight", 0, 0.02],
		[small, "layers.1.attn.output.weight", 0, 0.01],
		[small, "layers.0.mlp.up.weight", 0, 0.02],
		[small, "layers.0.mlp.down.weight", 0, 0.01],
		[small, "layers.0.mlp.down.bias", 0, 0],
		[small, "norm.weight", 1, 0],
		[other, "embed.weight", 0, Math.sqrt(2 / (5 * 64))],
		[other, "layers.1.mlp.gate_up.weight", 0, Math.sqrt(2 / (5 * 64))],
		[other, "layers.1.mlp.down.weight", 0, 1 / Math.sqrt(128) / 2],
		[other, "layers.1.mlp.norm.weight", 1, 0],
	];
	for (const [model, name, mean, deviation] of expected) {
		const { size } = model.parameters.get(name)!;
		const [m, d] = await moments(model, name);
		assertAlmostEquals(m, mean, 5 * deviation / Math.sqrt(size) + 1e-7, name);
		assertAlmostEquals(d, deviation, 5 * deviation / Math.sqrt(2 * size) + 1e-7, name);
	}
});

deviceTest("the same seed gives the same model, another another", async () => {
	const values = async (seed?: number) => {
		using model = await gpt2({ ...tiny, ...seed !== undefined && { seed } });
		return await model.parameters.get("layers.1.mlp.up.weight")!.numbers();
	};
	const first = await values();
	assertEquals(await values(1337), first);
	assert((await values(2)).every((value, i) => value !== first[i]));
});

deviceTest("numbers that do not go together are refused, and nothing is left", async () => {
	const before = device.liveBytes;
	await assertRejects(
		() => gpt2({ ...tiny, hiddenSize: 30 }),
		RangeError,
		"Cannot build the gpt2 model: its headDimension is 7.5",
	);
	await assertRejects(
		() => llama({ ...tiny, keyValueHeads: 3, intermediateSize: 8 }),
		RangeError,
		"4 heads cannot share 3 key-value heads evenly",
	);
	assertEquals(device.liveBytes, before);
});

deviceTest("norms of one gain are norms whose gains are equal, and are saved as such", async () => {
	const options = { ...tiny, seed: 3 };
	using single = await gpt2({ ...options, singleScaleNorm: true });
	using usual = await gpt2(options);
	for (const [name, parameter] of single.parameters) {
		if (!/norm\.weight$/.test(name)) continue;
		assertEquals(parameter.shape, [1]);
		scope(() => {
			copyInto(parameter.detach(), full([1], 1.5));
			copyInto(usual.parameters.get(name)!.detach(), full([tiny.hiddenSize], 1.5));
		});
	}
	const ids = [1, 7, 300, 2];
	const run = (model: Transformer) => {
		using inputs = tensor([ids], { dtype: "int32" }),
			targets = tensor([[7, 300, 2, 5]], { dtype: "int32" });
		return scope(() => {
			const loss = model.loss(inputs, targets);
			if (loss.requiresGrad) loss.backward();
			return loss.item();
		});
	};
	assertAlmostEquals(run(single), run(usual), 1e-6);
	const gradient = async (model: Transformer) =>
		(await model.parameters.get("layers.1.mlp.norm.weight")!.grad!.numbers())
			.reduce((a, b) => a + b);
	const [one, sum] = [await gradient(single), await gradient(usual)];
	assert(Math.abs(one - sum) <= 1e-5 * (1 + Math.abs(sum)), `${one} is not ${sum}`);
	const folder = await Deno.makeTempDir({ prefix: "outlierscope_build_" });
	try {
		await saveModel(single, folder);
		using loaded = await loadModel(folder, { resident: "float32" });
		assertEquals(
			await loaded.parameters.get("layers.0.attn.norm.weight")!.numbers(),
			Array(tiny.hiddenSize).fill(1.5),
		);
		assertAlmostEquals(run(single), run(loaded), 1e-6);
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
});

deviceTest(
	"the embedding's projections are orthogonal at first, and cannot be saved for transformers",
	async () => {
		using model = await llama({
			...tiny,
			keyValueHeads: 2,
			intermediateSize: 128,
			embeddingProjection: true,
		});
		for (const name of ["embed.projection.weight", "head.projection.weight"]) {
			const matrix = model.parameters.get(name)! as Tensor<"float32", 2>;
			assertEquals(matrix.shape, [64, 64]);
			using products = noGrad(() => scope(() => matmul(matrix, matrix.transpose())));
			(await products.numbers()).forEach((x, i) =>
				assertAlmostEquals(x, i % 65 === 0 ? 1 : 0, 1e-5)
			);
		}
		await assertRejects(
			() => saveModel(model, "/tmp/never"),
			RangeError,
			"has no place in the format",
		);
	},
);

deviceTest("a matrix of more rows than columns has orthogonal columns", () => {
	for (const [rows, columns] of [[1, 1], [3, 7], [7, 3]] as const) {
		using matrix = orthogonal(device, [rows, columns], 2, new Generator(5));
		const values = matrix.dataSync(), count = Math.min(rows, columns);
		const at = (vector: number, j: number) =>
			rows <= columns ? values[vector * columns + j]! : values[j * columns + vector]!;
		for (let a = 0; a < count; a++) {
			for (let b = 0; b < count; b++) {
				let sum = 0;
				for (let j = 0; j < Math.max(rows, columns); j++) sum += at(a, j) * at(b, j);
				assertAlmostEquals(sum, a === b ? 4 : 0, 1e-5);
			}
		}
	}
});
