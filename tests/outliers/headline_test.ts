// The three numbers of a model against their formulas, computed in plain TypeScript from whole tensors.

import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
	contextScaling,
	gatedOutput,
	gpt2,
	headline,
	HeadlineProbe,
	llama,
	type Probe,
	qwenGate,
	runAnalyses,
	type Tensor,
	type Transformer,
} from "../../mod.ts";
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { device, deviceTest, normal } from "../tensor/on_device.ts";

type Taken = Record<string, { data: Float32Array; shape: readonly number[] }>;

/** Takes whole tensors, by tap and sequence. */
class Everything implements Probe {
	readonly taps: readonly string[];
	readonly taken: Taken = {};
	constructor(taps: readonly string[]) {
		this.taps = taps.map((tap) => `layers.*.${tap}`);
	}
	receive(tensor: Tensor<"float32">, { name, sequence }: { name: string; sequence: number }): void {
		this.taken[`${name} ${sequence}`] = { data: tensor.dataSync(), shape: tensor.shape };
	}
	result(): Promise<Taken> {
		return Promise.resolve(this.taken);
	}
}

const average = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** The formulas, of sequences of equal length. */
function plain(
	{ config }: Transformer,
	taken: Taken,
	sequences: number,
	epsilon: number,
	gateOf?: (layer: number, sequence: number) => (token: number, head: number) => number,
) {
	const { heads, keyValueHeads, layers } = config;
	const peaks: number[] = [], shares: number[] = [], gated: number[] = [], drains: number[] = [];
	let weights = 0, weighted = 0;
	for (let layer = 0; layer < layers; layer++) {
		const ratios: number[] = [];
		for (let s = 0; s < sequences; s++) {
			const h = Array.from(taken[`layers.${layer}.output ${s}`]!.data, Math.abs);
			ratios.push(Math.max(...h) / average(h));
			const { data: maps, shape: [, T] } = taken[`layers.${layer}.attn.weights ${s}`]!;
			const { data: v, shape: [, , d] } = taken[`layers.${layer}.attn.v ${s}`]!;
			for (let head = 0; head < heads; head++) {
				const column = Array.from({ length: T! }, (_, i) => maps[(head * T! + i) * T!]!);
				shares.push(average(column));
				const gate = gateOf?.(layer, s);
				if (gate) {
					const open = column.map((_, i) => gate(i, head));
					gated.push(average(column.map((a, i) => a * open[i]!)) / average(open));
				}
				const kv = Math.floor(head / (heads / keyValueHeads));
				const norms = Array.from(
					{ length: T! },
					(_, t) => Math.hypot(...v.subarray((kv * T! + t) * d!, (kv * T! + t + 1) * d!)),
				);
				const ratio = norms[0]! / average(norms.slice(1));
				drains.push(ratio);
				const weight = (gate ? gated : shares).at(-1)!;
				weights += weight;
				weighted += weight * ratio;
			}
		}
		peaks.push(average(ratios));
	}
	const rate = (list: number[]) => average(list.map((share) => Number(share > epsilon)));
	return {
		peaks,
		peak: Math.max(...peaks.slice(0, -1)),
		rate: rate(shares),
		share: average(shares),
		gatedRate: gated.length ? rate(gated) : null,
		ratio: weighted / weights,
		smallest: Math.min(...drains),
	};
}

const TAPS = ["output", "attn.weights", "attn.v", "attn.input"];

/** Compares with the formulas. */
async function check(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	gateOf?: (taken: Taken) => (layer: number, sequence: number) => (t: number, h: number) => number,
) {
	const epsilon = 0.3, before = device.liveBytes;
	const { three, everything } = await runAnalyses(model, sequences, {
		three: new HeadlineProbe(model, { epsilon }),
		everything: new Everything(TAPS),
	});
	await device.synchronize();
	assertEquals(device.liveBytes, before);
	assertEquals(JSON.parse(JSON.stringify(three)), three);
	const expected = plain(model, everything, sequences.length, epsilon, gateOf?.(everything));
	const near = (a: number, b: number) => assertAlmostEquals(a, b, 1e-4 * Math.max(1, Math.abs(b)));
	three.layers.forEach(({ peak }, i) => near(peak, expected.peaks[i]!));
	near(three.activationPeak!.value, expected.peak);
	assertEquals(three.layers[three.activationPeak!.layer]!.peak, three.activationPeak!.value);
	near(three.sinkRate.value, expected.rate);
	near(three.sinkRate.mean, expected.share);
	near(three.valueRatio!.value, expected.ratio);
	near(three.valueRatio!.smallest, expected.smallest);
	if (expected.gatedRate === null) assertEquals(three.sinkRate.gateWeighted, null);
	else near(three.sinkRate.gateWeighted!, expected.gatedRate);
	return three;
}

const some = (count: number, below: number, factor: number) =>
	Array.from({ length: count }, (_, i) => (i * i * factor + 3) % below);
const SEQUENCES = [some(11, 60, 1), some(11, 60, 7), some(11, 60, 5)];

deviceTest("the three numbers are what their formulas say", async () => {
	// Large keys make attention far from even; the outlier of the last layer is no evidence.
	const contents = randomContents({ layers: 3 }, (name, data) => {
		if (/attn_[qk]/.test(name)) data.forEach((value, i) => data[i] = value * 4);
		if (name === "blk.2.ffn_down.weight") data[5] = 1e4;
	});
	await withModel(contents, async (model) => {
		const three = await check(model, SEQUENCES);
		assert(three.activationPeak!.layer < 2);
		assert(three.layers[2]!.peak > three.activationPeak!.value);
		assert(three.sinkRate.value > 0 && three.sinkRate.value < 1);
		assertEquals(three.sequences, { count: 3, tokens: [11] });
	});
});

deviceTest("where attention has gates, shares are weighted by them", async () => {
	const sizes = {
		...{ layers: 2, hiddenSize: 16, heads: 4, vocabularySize: 61, contextLength: 32 },
	};
	const elementwise = qwenGate({ elementwise: true });
	for (const attention of [contextScaling(), qwenGate(), elementwise]) {
		using model = await gpt2({ ...sizes, attention, device });
		for (const [name, parameter] of model.parameters) {
			if (!/qkv.weight|scale.weight|attn.gate.weight/.test(name)) continue;
			const values = normal(parameter.size);
			device.upload(parameter.pointer, values.map((v) => v * 0.7));
		}
		const weightOf = (layer: number) =>
			model.parameters.get(
				`layers.${layer}.attn.${attention.name === "context-scaling" ? "scale" : "gate"}.weight`,
			)!.dataSync() as Float32Array;
		const three = await check(model, SEQUENCES, (taken) => (layer, sequence) => {
			const { data: x, shape: [, H] } = taken[`layers.${layer}.attn.input ${sequence}`]!;
			const w = weightOf(layer), each = attention === elementwise ? 4 : 1;
			return (t, head) =>
				average(Array.from({ length: each }, (_, feature) => {
					let u = 0;
					for (let i = 0; i < H!; i++) u += x[t * H! + i]! * w[(head * each + feature) * H! + i]!;
					return 1 / (1 + Math.exp(-u)); // a factor 2 for all would cancel
				}));
		});
		assert(three.sinkRate.gateWeighted !== null);
		assert(three.layers[0]!.gateWeightedShare !== three.layers[0]!.share);
		assert(three.definitions.valueRatio.includes("gate-weighted"));
	}
});

deviceTest("gates of every shape are handed out as [n, T]", async () => {
	const sizes = { layers: 2, hiddenSize: 16, heads: 4, vocabularySize: 61, contextLength: 32 };
	const all = [
		contextScaling({ granularity: "token" }),
		contextScaling({ granularity: "head" }),
		gatedOutput(),
		gatedOutput({ from: "constant" }),
		gatedOutput({ from: "all" }),
	];
	for (const attention of all) {
		using model = await gpt2({ ...sizes, attention, device });
		const gates = new Everything(["attn.gate"]);
		const { three } = await runAnalyses(model, SEQUENCES, {
			three: new HeadlineProbe(model),
			gates,
		});
		const { data, shape } = gates.taken["layers.1.attn.gate 2"]!;
		assertEquals(shape, [4, 11]);
		assert(data.every((gate) => gate > 0 && gate < 2));
		// At first, gates are open alike: weighting changes next to nothing.
		assertAlmostEquals(three.layers[1]!.gateWeightedShare!, three.layers[1]!.share, 0.02);
	}
});

deviceTest("one layer has no peak, one token no ratio", async () => {
	using model = await llama({
		...{ layers: 1, hiddenSize: 16, heads: 4, keyValueHeads: 2, intermediateSize: 24 },
		...{ vocabularySize: 61, contextLength: 32, device },
	});
	const { three } = await runAnalyses(model, [[4]], { three: new HeadlineProbe(model) });
	assertEquals([three.activationPeak, three.valueRatio], [null, null]);
	assertEquals([three.sinkRate.value, three.sinkRate.evenlySpread], [1, 1]);
});

deviceTest("headline cuts texts, and refuses what it cannot use", async () => {
	await withModel(randomContents({ context: 20 }), async (model) => {
		const three = await headline(model, { sequences: 3 });
		assertEquals(three.sequences, { count: 3, tokens: [20] }); // the model's context is shorter than 64
		assertEquals(three, await headline(model, { sequences: 3 }));
		await assertRejects(
			() => headline(model, { texts: ["ab"], sequences: 2 }),
			RangeError,
			"Cannot",
		);
		assertThrows(
			() => new HeadlineProbe(model, { epsilon: 1 }),
			RangeError,
			"Cannot use 1 as epsil",
		);
	});
	const damaged = randomContents({}, (name, data) => {
		if (name === "blk.0.attn_v.weight") data[0] = NaN;
	});
	await withModel(damaged, async (model) => {
		await assertRejects(() => headline(model, { sequences: 1 }), Error, "Cannot analyze layers.0.");
	});
});
