// What is measured of layers while a model trains: against the formulas on random tensors, and in a training run.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { copyTask, gpt2, readLog, Tensor, train } from "../../mod.ts";
import { constant } from "../../src/nn/optim/schedule.ts";
import { EmergenceWatch, type LayerEmergence, type Peak } from "../../src/outliers/emergence.ts";
import { inDirectory } from "../subprocess.ts";
import { device, deviceTest, normal } from "../tensor/on_device.ts";

/** The formulas, of a sequence with `columns` channels. */
function peak(x: Float32Array, columns: number) {
	const sizes = Array.from(x, Math.abs), sorted = sizes.toSorted((a, b) => a - b);
	const mean = sizes.reduce((a, b) => a + b) / x.length, max = sorted.at(-1)!;
	const center = x.reduce((a, b) => a + b) / x.length;
	const moment = (power: number) => x.reduce((sum, v) => sum + (v - center) ** power, 0) / x.length;
	const median = sorted[(x.length - 1) >> 1]!, at = sizes.indexOf(max);
	return {
		max,
		mean,
		median,
		maxOverMean: max / mean,
		maxOverMedian: max / median,
		kurtosis: moment(4) / moment(2) ** 2 - 3,
		atFirst: Number(at < columns),
		channel: at % columns,
	};
}

deviceTest("EmergenceWatch equals its formulas, averaged over sequences", async () => {
	const watch = new EmergenceWatch(), T = 20, heads = 3, d = 5;
	const give = (tap: string, data: Float32Array, shape: number[], sequence: number) => {
		using tensor = Tensor.from<"float32", number>(device, "float32", shape, data);
		watch.receive(tensor, { name: `layers.2.${tap}`, layer: 2, sequence });
	};
	const hidden = [normal(T * 24), normal(T * 24)], down = [normal(T * 40), normal(T * 40)];
	hidden[0]![7] = 50; // at position 0
	hidden[1]![24 * 3 + 7] = -40;
	const cumulative = [
		[16, 4, 1],
		[8, 7, 3],
	].map((first) => Float32Array.from({ length: heads * T }, (_, i) => i % T ? 0.1 : first[i / T]!));
	const values = [normal(heads * T * d), normal(heads * T * d)];
	for (const i of [0, 1]) {
		give("output", hidden[i]!, [T, 24], i);
		give("mlp.down.input", down[i]!, [T, 40], i);
		give("attn.cumulative", cumulative[i]!, [heads, T], i);
		give("attn.v", values[i]!, [heads, T, d], i);
	}
	const { layers } = await watch.take();
	assertEquals(layers.map(({ layer }) => layer), [2]);
	const { hiddenState, downInput, attention } = layers[0]!;
	const near = (actual: Peak, a: Peak, b: Peak) => {
		for (const name of Object.keys(a).filter((name) => name !== "channel") as (keyof Peak)[]) {
			const expected = (a[name] + b[name]) / 2;
			assertAlmostEquals(actual[name], expected, 1e-4 * Math.max(1, Math.abs(expected)), name);
		}
	};
	near(hiddenState, peak(hidden[0]!, 24), peak(hidden[1]!, 24));
	near(downInput, peak(down[0]!, 40), peak(down[1]!, 40));
	assertEquals([hiddenState.channel, hiddenState.atFirst], [7, 0.5]);
	assertAlmostEquals(attention.rate, (1 / 3 + 2 / 3) / 2, 1e-6); // 16; 8 and 7 of 20
	assertAlmostEquals(attention.share, (21 / 60 + 18 / 60) / 2, 1e-6);
	assertAlmostEquals(attention.strongest, (16 / 20 + 8 / 20) / 2, 1e-6);
	const ratio = (v: Float32Array) =>
		Math.min(...Array.from({ length: heads }, (_, head) => {
			const norms = Array.from(
				{ length: T },
				(_, t) => Math.hypot(...v.subarray((head * T + t) * d, (head * T + t + 1) * d)),
			);
			return norms[0]! / (norms.slice(1).reduce((a, b) => a + b) / (T - 1));
		}));
	assertAlmostEquals(attention.valueRatio, (ratio(values[0]!) + ratio(values[1]!)) / 2, 1e-5);
	assertEquals(await watch.take(), { layers: [] });
});

deviceTest("a Transformer is watched while it trains", () =>
	inDirectory(async (path) => {
		using model = await gpt2({
			layers: 2,
			heads: 2,
			hiddenSize: 32,
			vocabularySize: 64,
			contextLength: 32,
		});
		const log = `${path}/log.jsonl`;
		await train(model, {
			data: copyTask(),
			steps: 20,
			batchSize: 4,
			tokens: 32,
			schedule: constant({ peak: 2e-3 }),
			metrics: { watch: new EmergenceWatch(), interval: 10, sequences: 3 },
			log,
		});
		const records = (await readLog(log)).filter(({ event }) => event === "metrics");
		assertEquals(records.map(({ step }) => step), [0, 10, 20]);
		for (const record of records) {
			const { layers } = record as unknown as { layers: LayerEmergence[] };
			assertEquals(layers.map(({ layer }) => layer), [0, 1]);
			for (const { hiddenState, downInput, attention } of layers) {
				const all = [...Object.values(hiddenState), ...Object.values(downInput)];
				assert(all.every(Number.isFinite) && hiddenState.max > 0, JSON.stringify(record));
				// Attention that was not trained yet is about even: Σ 1/t over 32 positions / 32.
				assertAlmostEquals(attention.share, 0.127, 0.05);
				assert(attention.valueRatio > 0);
			}
		}
	}));
