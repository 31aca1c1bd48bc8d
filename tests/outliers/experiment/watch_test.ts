// The evidence of outliers: against its formulas, on tensors that are handed in.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type DataSource, gpt2, qwenGate, Tensor } from "../../../mod.ts";
import {
	EvidenceWatch,
	headlineNumbers,
	type LayerEvidence,
} from "../../../src/outliers/experiment/watch.ts";
import { device, deviceTest, normal, random } from "../../tensor/on_device.ts";

const T = 9, HEADS = 4, KV = 2, D = 3, H = 10;

const triggered: DataSource & { triggers: number[] } = {
	description: "odd numbers look something up",
	triggers: [1, 3, 5, 7],
	fill(_split, index, inputs) {
		inputs.set(Array.from(inputs, (_, i) => (i + index) % 8));
	},
};

const average = (x: number[]) => x.reduce((a, b) => a + b, 0) / x.length;

deviceTest(
	"heads are measured by queries but the first, by gates, and by what they look up",
	async () => {
		const watch = new EvidenceWatch(triggered);
		const give = (name: string, data: Float32Array, shape: number[], layer = 0) => {
			using tensor = Tensor.from<"float32", number>(device, "float32", shape, data);
			watch.receive(tensor, { name, layer, sequence: 0 });
		};
		const sequences = [0, 1].map(() => {
			const hidden = normal(T * H), embed = normal(T * H), down = normal(T * 2 * H);
			hidden[3 * H + 4] = -90;
			embed[2] = 70; // at position 0
			// Rows as of sigmoid attention: they do not sum to 1.
			const maps = Float32Array.from({ length: HEADS * T * T }, () => 0.01 + 0.2 * random());
			for (let q = 0; q < T; q++) maps[q * T] = 9; // head 0: a sink
			const gates = Float32Array.from(
				{ length: HEADS * T },
				(_, i) => i < T && i % T > 2 ? 0 : 0.1 + random(),
			);
			return { hidden, embed, down, maps, gates, values: normal(KV * T * D) };
		});
		for (const { hidden, embed, down, maps, gates, values } of sequences) {
			give("embed", embed, [T, H], -1);
			give("layers.0.attn.v", values, [KV, T, D]);
			give("layers.0.attn.weights", maps, [HEADS, T, T]);
			give("layers.0.attn.gate", gates, [HEADS, T]);
			give("layers.0.mlp.down.input", down, [T, 2 * H]);
			give("layers.0.output", hidden, [T, H]);
		}
		const { evidence: [embeddings, layer] } = await watch.take();
		assertEquals([embeddings!.layer, layer!.layer], [-1, 0]);
		assertEquals([embeddings!.hiddenState.atFirst, layer!.hiddenState.atFirst], [1, 0]);
		assertAlmostEquals(layer!.hiddenState.top[0]!, 90, 1e-4);
		const second = sequences.map(({ hidden }) =>
			Array.from(hidden, Math.abs).sort((a, b) => b - a)[1]!
		);
		assertAlmostEquals(layer!.hiddenState.top[1]!, average(second), 1e-4);
		for (let head = 0; head < HEADS; head++) {
			const rows = sequences.map(({ maps, gates, values }, index) => {
				const queries = Array.from({ length: T - 1 }, (_, i) => i + 1);
				const share = queries.map((q) => {
					const row = maps.subarray((head * T + q) * T, (head * T + q + 1) * T);
					return row[0]! / row.reduce((a, b) => a + b);
				});
				const sums = queries.map((q) =>
					maps.subarray((head * T + q) * T, (head * T + q + 1) * T).reduce((a, b) => a + b)
				);
				const s = queries.map((q, i) => gates[head * T + q]! * sums[i]!);
				const norms = Array.from({ length: T }, (_, t) => {
					const at = (Math.floor(head * KV / HEADS) * T + t) * D;
					return Math.hypot(...values.subarray(at, at + D));
				});
				const odd = queries.map((q) => (q + index) % 8 % 2 === 1);
				return {
					share: average(share),
					gatedShare: average(share.map((x, i) => x * s[i]!)) / average(s),
					gate: average(s),
					lookUpShare: average(share.filter((_, i) => odd[i])),
					otherShare: average(share.filter((_, i) => !odd[i])),
					valueRatio: norms[0]! / average(norms.slice(1)),
				};
			});
			const found = layer!.heads[head]!;
			for (const name of Object.keys(rows[0]!) as (keyof typeof rows[0])[]) {
				assertAlmostEquals(
					found[name]!,
					average(rows.map((row) => row[name])),
					1e-4,
					`${head} ${name}`,
				);
			}
			assertEquals(found.sinkRate, average(rows.map(({ share }) => Number(share > 0.3))));
			assertEquals(
				found.gatedSinkRate,
				average(rows.map(({ gatedShare }) => Number(gatedShare > 0.3))),
			);
		}
		assertEquals((await watch.take()).evidence, []);
	},
);

deviceTest("gates of features count as their mean, of every token and head", async () => {
	const sizes = { layers: 1, heads: 2, hiddenSize: 8, vocabularySize: 8, contextLength: 6 };
	using model = await gpt2({ ...sizes, attention: qwenGate({ elementwise: true }) });
	let gates: Float32Array | undefined, shape: readonly number[] = [];
	let input: Float32Array | undefined;
	const probe = {
		taps: ["layers.*.attn.gate", "layers.*.attn.input"],
		receive(tensor: Tensor<"float32">, { name }: { name: string }) {
			if (name.endsWith("gate")) [gates, shape] = [tensor.dataSync(), tensor.shape];
			else input = tensor.dataSync();
		},
	};
	const [h] = await model.forward([[0, 3, 1, 4, 1, 5]], { probes: [probe] });
	h!.dispose();
	assertEquals(shape, [2, 6]);
	const weight = await model.parameters.get("layers.0.attn.gate.weight")!.data(); // [8, 8]
	for (let head = 0; head < 2; head++) {
		for (let t = 0; t < 6; t++) {
			const of = Array.from({ length: 4 }, (_, i) => {
				const u = Array.from(
					{ length: 8 },
					(_, c) => Number(weight[(head * 4 + i) * 8 + c]) * input![t * 8 + c]!,
				);
				return 1 / (1 + Math.exp(-u.reduce((a, b) => a + b)));
			});
			assertAlmostEquals(gates![head * 6 + t]!, average(of), 1e-5);
		}
	}
});

Deno.test("the last layer is no evidence, and the strongest head is the one by gates", () => {
	const layer = (
		layer: number,
		ratio: number,
		shares: number[],
		gated = shares,
	): LayerEvidence => ({
		layer,
		hiddenState: { top: [], median: 1, maxOverMean: ratio, atFirst: layer / 10 },
		downInput: layer < 0 ? null : { top: [], median: 1, maxOverMean: 2 * ratio, atFirst: 0 },
		heads: shares.map((share, i) => ({
			share,
			gatedShare: gated[i]!,
			gate: 1,
			lookUpShare: null,
			otherShare: null,
			sinkRate: Number(share > 0.3),
			gatedSinkRate: Number(gated[i]! > 0.3),
			valueRatio: i + 10 * layer,
		})),
	});
	const numbers = headlineNumbers([
		layer(-1, 5, []),
		layer(0, 30, [0.2, 0.9], [0.2, 0.1]),
		layer(1, 20, [0.1, 0.4]),
		layer(2, 900, [0.1, 0.2]),
	]);
	assertEquals(numbers, {
		peak: 30,
		peakLayer: 0,
		peakAtFirst: 0,
		sinkRate: 2 / 6,
		gatedSinkRate: 1 / 6,
		strongestShare: 0.4,
		valueRatio: 11,
		downPeak: 60,
	});
	assert(headlineNumbers([layer(-1, 7, []), layer(0, 99, [0.1])]).peak === 7);
});
