// The real model, SmolLM2-135M-Instruct, through the detectors, against what PyTorch computes from the
// same dequantized weights (tests/fixtures/smollm2_reference.json): hidden states, x_down, cumulative
// attention, weights and logits; and that bfloat16 finds the same outliers. All inputs run at once.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
	ACTIVATION_TAPS,
	type ActivationAnalysis,
	ActivationOutlierProbe,
	type AttentionAnalysis,
	AttentionOutlierProbe,
	loadModel,
	type Probe,
	type TapContext,
	type Tensor,
	type Transformer,
	type WeightAnalysis,
	WeightOutlierProbe,
} from "../../mod.ts";
import { smolLM2Path } from "../model.ts";
import { deviceTest } from "../tensor/on_device.ts";

// Both sides compute in float32 with other orders of summation. How far float32 is from exact values on
// this model stands in the fixture: ‖error‖ / ‖x‖ of h is 1.5e-6 there; PyTorch and we differ by 7e-6.
const TOLERANCE = {
	/** ‖sampled difference‖ / ‖sample‖, and of the norms over all entries. */
	norm: 1e-4,
	/** One sampled entry, of mean|x| of its layer. */
	entry: 1e-3,
	/** The largest values, relative; also how close neighbours in a ranking may swap places. */
	value: 1e-4,
	/** Mean and median, relative. */
	average: 1e-4,
	/** Cumulative attention, of T. */
	attention: 1e-5,
	/** Ratios and means of weights, relative: no model arithmetic in between. */
	weight: 1e-5,
	/** Single weights, relative: exact but for the division by a row's mean and back in float32. */
	weightValue: 2.5e-7,
	/** Logits and their log-sum-exp, absolute. */
	logit: 1e-2,
	/** Values of outliers in bfloat16, relative. */
	bfloat16: 2e-2,
};

interface Activation {
	mean: number;
	median: number;
	norm: number;
	outlierCount: number;
	top: { value: number; token: number; feature: number }[];
	sample: number[];
}
interface Keys {
	tokens: number[];
	values: number[];
	median: number;
	all?: number[];
}
interface Reference {
	tau: number;
	inputs: {
		name: string;
		text: string | null;
		tokenIds: number[];
		sampleAt: { hiddenState: number[][]; downInput: number[][]; logits: number[] };
		logits: {
			top: { id: number; value: number }[];
			positions: { token: number; sample: number[]; logSumExp: number }[];
		};
		layers: {
			layer: number;
			hiddenState: Activation;
			downInput: Activation;
			attention: { heads: Keys[]; mean: Keys };
		}[];
	}[];
	weights: WeightAnalysis[];
}

const reference: Reference = JSON.parse(
	await Deno.readTextFile(new URL("../fixtures/smollm2_reference.json", import.meta.url)),
);

const PLACES = ["hiddenState", "downInput"] as const;

/** The largest error seen of each quantity, printed for the documentation. */
const measured: Record<string, number> = {};
function within(limit: number, error: number, quantity: string, where: string): void {
	measured[quantity] = Math.max(measured[quantity] ?? 0, error);
	assert(error <= limit, `${quantity}, ${where}: ${error} is over ${limit}`); // NaN fails as well
}
const relative = (actual: number, expected: number) =>
	actual === expected ? 0 : Math.abs(actual - expected) / Math.abs(expected);

/** Samples of h and x_down at the recorded places, and their norms, layer by layer. */
class Samples implements Probe {
	readonly taps = Object.values(ACTIVATION_TAPS);
	readonly found = new Map<string, { sample: number[]; norm: number }>();
	receive(tensor: Tensor<"float32">, { name, layer, sequence }: TapContext): void {
		const place = name.endsWith("output") ? "hiddenState" : "downInput";
		const data = tensor.dataSync();
		const width = tensor.shape[1];
		this.found.set(`${place} ${layer + 1} ${sequence}`, {
			sample: reference.inputs[sequence].sampleAt[place].map(([t, c]) => data[t * width + c]),
			norm: Math.sqrt(data.reduce((sum, x) => sum + x * x, 0)),
		});
	}
}

interface Run {
	activations: Record<typeof PLACES[number], ActivationAnalysis>;
	attention: AttentionAnalysis[];
	weights: WeightAnalysis[];
	samples: Samples["found"];
	logits: { positions: Float32Array[] }[];
}

async function run(model: Transformer, dtype: "float32" | "bfloat16"): Promise<Run> {
	const hiddenState = new ActivationOutlierProbe(ACTIVATION_TAPS.hiddenState, reference.tau);
	const downInput = new ActivationOutlierProbe(ACTIVATION_TAPS.downInput, reference.tau);
	const attention = new AttentionOutlierProbe(reference.tau, 0.1);
	const weights = new WeightOutlierProbe(reference.tau);
	const samples = new Samples();
	const single = dtype === "float32";
	const hidden = await model.forward(reference.inputs.map(({ tokenIds }) => tokenIds), {
		dtype,
		probes: [hiddenState, downInput, attention, ...single ? [weights, samples] : []],
	});
	const logits = hidden.map((h, i) => {
		using all = h;
		const positions = single ? reference.inputs[i].logits.positions : [];
		return {
			positions: positions.map(({ token }) => {
				using row = all.slice(token, token + 1);
				using scores = model.logits(row);
				return scores.dataSync();
			}),
		};
	});
	return {
		activations: { hiddenState: await hiddenState.result(), downInput: await downInput.result() },
		attention: await attention.result(),
		weights: await weights.result(),
		samples: samples.found,
		logits,
	};
}

/**
 * Compares two rankings: the same values, and the same entries but where neighbours are closer than the
 * tolerance, so that rounding decides their order.
 */
function compareRanking(
	actual: { key: string; value: number }[],
	expected: { key: string; value: number }[],
	tolerance: number,
	scale: number | undefined, // of absolute differences; relative ones if undefined
	quantity: string,
	where: string,
): void {
	assert(actual.length >= expected.length, `${where}: ${actual.length} entries`);
	const gap = (a: number, b: number) =>
		scale === undefined ? relative(a, b) : Math.abs(a - b) / scale;
	for (const [rank, { key, value }] of expected.entries()) {
		within(tolerance, gap(actual[rank].value, value), quantity, `${where}, rank ${rank}`);
		if (actual[rank].key === key) continue;
		// The entry that should be here must be one whose value cannot be told from the one that is.
		const at = actual.findIndex((entry) => entry.key === key);
		const close = at >= 0
			? gap(actual[at].value, actual[rank].value) <= 2 * tolerance
			// It fell off the end of the list, so it ties with the last one.
			: gap(actual.at(-1)!.value, value) <= 2 * tolerance;
		assert(close, `${quantity}, ${where}, rank ${rank}: ${actual[rank].key}, expected ${key}`);
	}
}

// The results are made by the first test, under its watch over device memory.
let single: Run;
let half: Run;

deviceTest("SmolLM2 runs in both types and leaves no device memory in use", async () => {
	using model = await loadModel(smolLM2Path());
	for (const { text, tokenIds } of reference.inputs) {
		if (text !== null) assertEquals(model.tokenizer.encode(text), tokenIds);
	}
	single = await run(model, "float32");
	half = await run(model, "bfloat16");
});

for (const place of PLACES) {
	const name = place === "hiddenState" ? "h" : "x_down";
	Deno.test(`${name} of every layer and input is PyTorch's`, () => {
		for (const [sequence, input] of reference.inputs.entries()) {
			assertEquals(single.activations[place].layers.length, input.layers.length);
			for (const { layer, [place]: expected } of input.layers) {
				const where = `${input.name}, layer ${layer}`;
				const { sample, norm } = single.samples.get(`${place} ${layer} ${sequence}`)!;
				let square = 0, total = 0;
				for (const [i, value] of expected.sample.entries()) {
					const error = Math.abs(sample[i] - value);
					within(TOLERANCE.entry, error / expected.mean, `${name} entry / mean`, where);
					square += error ** 2;
					total += value ** 2;
				}
				within(TOLERANCE.norm, Math.sqrt(square / total), `${name} ‖error‖ / ‖x‖`, where);
				within(TOLERANCE.norm, relative(norm, expected.norm), `${name} norm`, where);

				const actual = single.activations[place].layers[layer - 1].sequences[sequence];
				assertEquals(actual.sequence, sequence);
				within(TOLERANCE.average, relative(actual.mean, expected.mean), `${name} mean`, where);
				within(
					TOLERANCE.average,
					relative(actual.median, expected.median),
					`${name} median`,
					where,
				);
				assertEquals(actual.outlierCount, expected.outlierCount, where);
				assertEquals(actual.outliers.length, expected.outlierCount, where);
				compareRanking(
					actual.top.map(({ value, token, feature }) => ({ key: `${token} ${feature}`, value })),
					expected.top.map(({ value, token, feature }) => ({ key: `${token} ${feature}`, value })),
					TOLERANCE.value,
					undefined,
					`${name} largest values`,
					where,
				);
			}
		}
	});
}

Deno.test("cumulative attention of every head and of their mean is PyTorch's", () => {
	for (const [sequence, input] of reference.inputs.entries()) {
		const T = input.tokenIds.length;
		for (const { layer, attention: expected } of input.layers) {
			const actual = single.attention.find((a) => a.layer === layer && a.sequence === sequence)!;
			assertEquals(actual.heads.length, expected.heads.length);
			const compare = (
				found: AttentionAnalysis["mean"],
				{ tokens, values, median, all }: Keys,
				where: string,
			) => {
				compareRanking(
					found.top.map(({ token, value }) => ({ key: `${token}`, value })),
					tokens.map((token, i) => ({ key: `${token}`, value: values[i] })),
					TOLERANCE.attention,
					T,
					"cumulative attention / T",
					where,
				);
				const error = Math.abs(found.median - median) / T;
				within(TOLERANCE.attention, error, "median cumulative attention / T", where);
				for (const { share, value } of found.top) assertAlmostEquals(share, value / T, 1e-6);
				assertEquals(found.tauOutlierCount, 0, where); // T ≤ 1000 cannot reach τ
				if (!all) return;
				// Short inputs have every key recorded, so the keys over ρ can be told exactly.
				const sinks = all.flatMap((value, token) => value >= 0.1 * T ? [token] : []);
				assertEquals(found.outliers.map(({ token }) => token).sort((a, b) => a - b), sinks, where);
			};
			const where = `${input.name}, layer ${layer}`;
			for (const [head, keys] of expected.heads.entries()) {
				assertEquals(actual.heads[head].head, head);
				compare(actual.heads[head], keys, `${where}, head ${head}`);
			}
			compare(actual.mean, expected.mean, `${where}, mean over heads`);
			expected.mean.all?.forEach((value, token) =>
				within(
					TOLERANCE.attention,
					Math.abs(actual.tokenShares[token] - value / T),
					"share of each token",
					where,
				)
			);
		}
	}
});

Deno.test("every weight matrix has PyTorch's mean, outliers and extremal ratios", () => {
	assertEquals(single.weights.length, reference.weights.length);
	for (const [i, expected] of reference.weights.entries()) {
		const actual = single.weights[i];
		const where = `layer ${expected.layer}, ${expected.projection}`;
		for (const key of ["layer", "projection", "shape", "outlierCount"] as const) {
			assertEquals(actual[key], expected[key], where);
		}
		assertEquals(actual.outliers.length, actual.outlierCount);
		within(TOLERANCE.weight, relative(actual.mean, expected.mean), "weight mean", where);
		within(
			TOLERANCE.weight,
			relative(actual.medianColumnRatio, expected.medianColumnRatio),
			"median column ratio",
			where,
		);
		const ranking = (list: { ratio: number }[], key: (entry: never) => string) =>
			list.map((entry) => ({ key: key(entry as never), value: entry.ratio }));
		const place = ({ row, column }: { row: number; column: number }) => `${row} ${column}`;
		const index = ({ index }: { index: number }) => `${index}`;
		for (
			const [list, key] of [["top", place], ["topRows", index], ["topColumns", index]] as const
		) {
			compareRanking(
				ranking(actual[list], key),
				ranking(expected[list], key),
				TOLERANCE.weight,
				undefined,
				"weight ratios",
				`${where}, ${list}`,
			);
		}
		const values = new Map(actual.top.map((entry) => [place(entry), entry.value]));
		for (const entry of expected.top) {
			const value = values.get(place(entry));
			if (value === undefined) continue;
			within(TOLERANCE.weightValue, relative(value, entry.value), "weight values", where);
		}
	}
});

Deno.test("logits are PyTorch's, and rank the same tokens first", () => {
	for (const [sequence, input] of reference.inputs.entries()) {
		for (const [i, { token, sample, logSumExp }] of input.logits.positions.entries()) {
			const row = single.logits[sequence].positions[i];
			const where = `${input.name}, token ${token}`;
			for (const [j, id] of input.sampleAt.logits.entries()) {
				within(TOLERANCE.logit, Math.abs(row[id] - sample[j]), "logits", where);
			}
			const largest = row.reduce((a, b) => Math.max(a, b));
			const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0);
			const error = Math.abs(largest + Math.log(sum) - logSumExp);
			within(TOLERANCE.logit, error, "log-sum-exp of logits", where);
		}
		const last = single.logits[sequence].positions.at(-1)!;
		const ranked = [...last.keys()].sort((a, b) => last[b] - last[a]).slice(0, 30);
		compareRanking(
			ranked.map((id) => ({ key: `${id}`, value: last[id] })),
			input.logits.top.map(({ id, value }) => ({ key: `${id}`, value })),
			1e-4,
			1,
			"largest logits",
			input.name,
		);
	}
});

Deno.test("bfloat16 finds the same outliers of h with nearly the same values", () => {
	let compared = 0;
	for (const [i, { layer, sequences }] of single.activations.hiddenState.layers.entries()) {
		for (const [sequence, { outliers, mean }] of sequences.entries()) {
			const other = half.activations.hiddenState.layers[i].sequences[sequence];
			const where = `layer ${layer}, sequence ${sequence}`;
			// An entry within 2 % of the threshold may fall on either side of it.
			const key = ({ token, feature }: typeof outliers[number]) => `${token} ${feature}`;
			const clear = (value: number, average: number) =>
				Math.abs(value) > reference.tau * average * (1 + 2 * TOLERANCE.bfloat16);
			const found = new Map(other.outliers.map((entry) => [key(entry), entry.value]));
			const exact = new Set(outliers.map(key));
			for (const entry of outliers) {
				if (!clear(entry.value, mean)) continue;
				assert(found.has(key(entry)), `${where}: ${key(entry)} is not found`);
				const error = relative(found.get(key(entry))!, entry.value);
				within(TOLERANCE.bfloat16, error, "bfloat16: outliers of h", where);
				compared++;
			}
			for (const entry of other.outliers) {
				if (clear(entry.value, other.mean)) {
					assert(exact.has(key(entry)), `${where}: ${key(entry)}`);
				}
			}
		}
	}
	assert(compared > 0, "there must be outliers to compare");
});

Deno.test("bfloat16 has the same largest entry of h in every layer that has an outlier", () => {
	for (const [i, { sequences }] of single.activations.hiddenState.layers.entries()) {
		for (const [sequence, { top, outlierCount }] of sequences.entries()) {
			if (outlierCount === 0) continue;
			const [first] = half.activations.hiddenState.layers[i].sequences[sequence].top;
			assertEquals([first.token, first.feature], [top[0].token, top[0].feature]);
		}
	}
	console.log("Largest differences from PyTorch:");
	for (const [quantity, error] of Object.entries(measured)) {
		console.log(`  ${quantity}: ${error.toPrecision(2)}`);
	}
});
