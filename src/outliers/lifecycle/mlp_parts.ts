// Takes a layer's MLP apart, for some tokens and features of the hidden state: which neurons write the value, what gate
// and up projection give each, and which weights and inputs that comes from.

import { ACTIVATIONS } from "../../nn/mlp.ts";
import type { Transformer } from "../../nn/transformer.ts";
import { noGrad, norm, scope, type Tensor } from "../../tensor/mod.ts";
import { columnMagnitudes } from "../magnitudes.ts";
import { largestIndices, lowerMedian } from "../ranking.ts";
import type { KeptTaps, Rows } from "./kept_taps.ts";
import { sample, type Surface, surfaceOf } from "./surface.ts";

/** What one neuron adds to one feature of one token: value = share of the expert · product · weight. */
export interface NeuronContribution {
	/** Column of W_down, row of gate and up. */
	neuron: number;
	/** The expert it is in, of a mixture. */
	expert?: number;
	/** The router's share of that expert; 1 without experts. */
	routed: number;
	/** Gate projection, before the activation function; null of an MLP without gates. */
	gate: number | null;
	/** Up projection, before the activation function in an MLP without gates. */
	up: number;
	/** The activation function of the gate, or of `up` in an MLP without gates. */
	activated: number;
	/** x_down: activated · up, or activated. */
	product: number;
	/** x_down over mean |x_down| of the token. */
	productRatio: number;
	/** W_down[feature, neuron]. */
	weight: number;
	/** The weight over mean |W_down[feature, :]|. */
	weightRatio: number;
	/** What is added. */
	value: number;
}

/** How the value of one entry comes about in a layer. */
export interface FeatureTrace {
	/** The token. */
	token: number;
	/** The feature of the hidden state. */
	feature: number;
	/** What the MLP adds in all. */
	mlp: number;
	/** Of it, biases of W_down. */
	bias: number;
	/** The largest contributions, descending by |value|. */
	contributions: NeuronContribution[];
	/** Σ of those listed, over `mlp` without bias. */
	explained: number;
}

/** An input that drives a neuron: value = input · weight. */
export interface NeuronInput {
	/** Feature of what the MLP reads. */
	feature: number;
	/** Its value, after the norm. */
	input: number;
	/** The weight's entry. */
	weight: number;
	/** Their product. */
	value: number;
}

/** A neuron that makes outliers, and its weights. */
export interface NeuronTrace {
	/** Column of W_down, row of gate and up. */
	neuron: number;
	/** The expert it is in, of a mixture. */
	expert?: number;
	/** The token that it is told for. */
	token: number;
	/** max |W_down[:, neuron]| over their mean (the paper's extremal ratio). */
	columnRatio: number;
	/** The feature with that maximum. */
	columnFeature: number;
	/** ‖row of gate‖ over the median norm of rows; null without gates. */
	gateRowRatio: number | null;
	/** ‖row of up‖ over the median norm of rows. */
	upRowRatio: number;
	/** Cosine of the MLP's input and the row of gate; null without gates. */
	gateAlignment: number | null;
	/** Cosine of the MLP's input and the row of up. */
	upAlignment: number;
	/** The largest inputs of the gate, descending by |value|; null without gates. */
	gateInputs: NeuronInput[] | null;
	/** The largest inputs of up. */
	upInputs: NeuronInput[];
}

/** A layer's MLP, taken apart; enough to draw the paper's Fig. 7 and 9. */
export interface MlpTrace {
	/** 0-based. */
	layer: number;
	/** Each traced token and feature. */
	features: FeatureTrace[];
	/** The neurons among their contributions that matter most. */
	neurons: NeuronTrace[];
	/** Signed values at each stage: tokens by features or neurons. */
	stages: Surface[];
	/** The weights around these neurons and features: W_down as it is, gate and up by rows of neurons. */
	weights: Surface[];
}

const CONTRIBUTIONS = 10, INPUTS = 5, NEURONS = 4, DRAWN = 24;
/** A neuron matters if it adds this share of what the strongest one does. */
const MATTERS = 0.02;

interface Place {
	expert?: number;
	prefix: string;
}

const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

function meanMagnitude(values: Float32Array): number {
	return values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
}

function cosine(a: Float32Array, b: Float32Array): number {
	let product = 0, first = 0, second = 0;
	a.forEach((value, i) => {
		product += value * b[i]!;
		first += value ** 2;
		second += b[i]! ** 2;
	});
	return first * second > 0 ? product / Math.sqrt(first * second) : 0;
}

/** The stages of one MLP for the kept tokens, by token. */
interface Stages {
	gate: Map<number, Float32Array> | null;
	up: Map<number, Float32Array>;
	activated: Map<number, Float32Array>;
	product: Map<number, Float32Array>;
}

const byToken = ({ ids, values }: Rows) => new Map(ids.map((token, i) => [token, values[i]!]));

/** One layer with what was kept of it. */
class LayerParts {
	readonly #model: Transformer;
	readonly #kept: KeptTaps;
	readonly layer: number;
	readonly #gated: boolean;

	constructor(model: Transformer, kept: KeptTaps, layer: number) {
		this.#model = model;
		this.#kept = kept;
		this.layer = layer;
		this.#gated = model.config.mlp.kind === "gated";
	}

	tap(name: string): string {
		return `layers.${this.layer}.${name}`;
	}

	/** The MLPs that got some of the tokens. */
	places(): Place[] {
		const { experts } = this.#model.config.mlp;
		const all: Place[] = experts
			? Array.from({ length: experts.count }, (_, expert) => ({
				expert,
				prefix: `mlp.experts.${expert}`,
			}))
			: [{ prefix: "mlp" }];
		return all.filter(({ prefix }) => this.#kept.has(this.tap(`${prefix}.down.input`)));
	}

	async stages({ prefix }: Place): Promise<Stages> {
		const product = byToken(await this.#kept.rows(this.tap(`${prefix}.down.input`)));
		const before = this.tap(`${prefix}.${this.#gated ? "gate_up" : "up"}`);
		const all = await this.#kept.rows(before), I = this.#model.config.intermediateSize;
		using result = noGrad(() =>
			scope(() => {
				const whole = this.#kept.tensor(before) as Tensor<"float32", 2>;
				const part = this.#gated ? whole.slice(0, I, 1) : whole;
				return ACTIVATIONS[this.#model.config.mlp.activation](part);
			})
		);
		const data = await result.data();
		const activated = all.ids.map((token, i) =>
			[token, data.slice(i * I, (i + 1) * I)] as [number, Float32Array]
		);
		const part = (from: number) =>
			new Map(all.ids.map((token, i) => [token, all.values[i]!.slice(from, from + I)]));
		return {
			gate: this.#gated ? part(0) : null,
			up: part(this.#gated ? I : 0),
			activated: new Map(activated),
			product,
		};
	}

	/** The router's share of each expert of a token: of the chosen ones, softmax of their scores. */
	async routed(token: number): Promise<(expert?: number) => number> {
		const { experts } = this.#model.config.mlp;
		if (!experts) return () => 1;
		const scores = byToken(await this.#kept.rows(this.tap("mlp.router"))).get(token)!;
		const best = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b)
			.slice(0, experts.perToken);
		const sum = sumOf(best.map((expert) => Math.exp(scores[expert]! - scores[best[0]!]!)));
		return (expert) =>
			best.includes(expert!) ? Math.exp(scores[expert!]! - scores[best[0]!]!) / sum : 0;
	}

	/** ‖row‖ of each row over their median. */
	async rowRatios(weight: string): Promise<Float32Array> {
		using norms = noGrad(() =>
			norm(this.#kept.tensor(this.tap(weight)) as Tensor<"float32", 2>, 1)
		);
		const sizes = await norms.data(), median = lowerMedian(sizes);
		return sizes.map((size) => median > 0 ? size / median : 0);
	}
}

/** The taps of layers that {@linkcode traceMlp} needs. */
export function mlpTaps(model: Transformer, layer: number): string[] {
	const { mlp } = model.config, gated = mlp.kind === "gated";
	const parts = [
		gated ? "gate_up" : "up",
		"down.input",
		"down.weight",
		"down.bias",
		"up.weight",
		...gated ? ["gate.weight"] : [],
	];
	const prefixes = mlp.experts ? ["mlp.experts.*"] : ["mlp"];
	return [
		...["middle", "mlp.input", "mlp.output", "output", ...mlp.experts ? ["mlp.router"] : []],
		...prefixes.flatMap((prefix) => parts.map((part) => `${prefix}.${part}`)),
	].map((tap) => `layers.${layer}.${tap}`);
}

/**
 * Takes the MLP of a layer apart.
 *
 * @param kept what {@linkcode mlpTaps} names of one sequence, for all tokens that are to be traced or drawn
 * @param entries the tokens and features to explain
 */
export async function traceMlp(
	model: Transformer,
	kept: KeptTaps,
	layer: number,
	entries: readonly { token: number; feature: number }[],
): Promise<MlpTrace> {
	const parts = new LayerParts(model, kept, layer), places = parts.places();
	const gated = model.config.mlp.kind === "gated";
	const stages = new Map<Place, Stages>();
	for (const place of places) stages.set(place, await parts.stages(place));
	const outputs = byToken(await kept.rows(parts.tap("mlp.output")));
	const featureIds = [...new Set(entries.map(({ feature }) => feature))];

	const features: FeatureTrace[] = [];
	for (const { token, feature } of entries) {
		const routed = await parts.routed(token);
		const all: (NeuronContribution & { place: Place })[] = [];
		let bias = 0;
		for (const place of places) {
			const { gate, up, activated, product } = stages.get(place)!;
			const x = product.get(token), share = routed(place.expert);
			if (!x) continue; // not for this expert
			const weights = parts.tap(`${place.prefix}.down.weight`);
			const row = (await kept.weightRows(weights, [feature])).values[0]!;
			const biasTap = parts.tap(`${place.prefix}.down.bias`);
			if (kept.has(biasTap)) bias += share * (await kept.tensor(biasTap).data())[feature]!;
			const values = row.map((weight, j) => share * weight * x[j]!);
			const size = meanMagnitude(x), weightSize = meanMagnitude(row);
			for (const neuron of largestIndices(values.map(Math.abs), CONTRIBUTIONS)) {
				all.push({
					place,
					neuron,
					...place.expert !== undefined && { expert: place.expert },
					routed: share,
					gate: gate ? gate.get(token)![neuron]! : null,
					up: up.get(token)![neuron]!,
					activated: activated.get(token)![neuron]!,
					product: x[neuron]!,
					productRatio: size > 0 ? Math.abs(x[neuron]!) / size : 0,
					weight: row[neuron]!,
					weightRatio: weightSize > 0 ? Math.abs(row[neuron]!) / weightSize : 0,
					value: values[neuron]!,
				});
			}
		}
		const contributions = all.sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
			.slice(0, CONTRIBUTIONS).map(({ place: _, ...rest }) => rest);
		const mlp = outputs.get(token)![feature]!;
		const explained = sumOf(contributions.map(({ value }) => value)) / (mlp - bias);
		features.push({
			token,
			feature,
			mlp,
			bias,
			contributions,
			explained: Number.isFinite(explained) ? explained : 0,
		});
	}

	// The neurons that write most, each told for the token where it writes most.
	const strongest = new Map<string, NeuronContribution & { token: number }>();
	for (const { token, contributions } of features) {
		for (const contribution of contributions) {
			const key = `${contribution.expert} ${contribution.neuron}`;
			const size = Math.abs(strongest.get(key)?.value ?? 0);
			if (Math.abs(contribution.value) > size) strongest.set(key, { ...contribution, token });
		}
	}
	const all = [...strongest.values()].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
	const chosen = all.filter(({ value }) => Math.abs(value) >= MATTERS * Math.abs(all[0]!.value))
		.slice(0, NEURONS);
	const inputs = byToken(await kept.rows(parts.tap("mlp.input")));
	const neurons: NeuronTrace[] = [];
	for (const { neuron, expert, token } of chosen) {
		const { prefix } = places.find((place) => place.expert === expert)!;
		const x = inputs.get(token)!;
		const of = async (weight: string) => {
			const name = `${prefix}.${weight}.weight`;
			const row = (await kept.weightRows(parts.tap(name), [neuron])).values[0]!;
			const values = row.map((each, i) => each * x[i]!);
			return {
				ratio: (await parts.rowRatios(name))[neuron]!,
				alignment: cosine(row, x),
				inputs: largestIndices(values.map(Math.abs), INPUTS).map((feature): NeuronInput => ({
					feature,
					input: x[feature]!,
					weight: row[feature]!,
					value: values[feature]!,
				})),
			};
		};
		const down = columnMagnitudes(
			kept.tensor(parts.tap(`${prefix}.down.weight`)) as Tensor<"float32", 2>,
		);
		await model.device.synchronize();
		const { maxima, means, rows } = down.read();
		const up = await of("up"), gate = gated ? await of("gate") : null;
		neurons.push({
			neuron,
			...expert !== undefined && { expert },
			token,
			columnRatio: means[neuron]! > 0 ? maxima[neuron]! / means[neuron]! : 0,
			columnFeature: rows[neuron]!,
			gateRowRatio: gate?.ratio ?? null,
			upRowRatio: up.ratio,
			gateAlignment: gate?.alignment ?? null,
			upAlignment: up.alignment,
			gateInputs: gate?.inputs ?? null,
			upInputs: up.inputs,
		});
	}
	return {
		layer,
		features,
		neurons,
		...await drawn(parts, kept, model, places, stages, featureIds, chosen),
	};
}

/** Surfaces of all stages and weights. */
async function drawn(
	parts: LayerParts,
	kept: KeptTaps,
	{ config }: Transformer,
	places: readonly Place[],
	stages: ReadonlyMap<Place, Stages>,
	features: readonly number[],
	neurons: readonly NeuronContribution[],
): Promise<Pick<MlpTrace, "stages" | "weights">> {
	const { hiddenSize: H, intermediateSize: I } = config;
	const channels = sample(H, features, DRAWN);
	const surfaces: Surface[] = [], weights: Surface[] = [];
	for (const tap of ["middle", "mlp.input"]) {
		if (!kept.has(parts.tap(tap))) continue; // a parallel block has no middle
		surfaces.push(surfaceOf(tap, await kept.rows(parts.tap(tap)), channels));
	}
	for (const place of places) {
		const chosen = neurons.filter(({ expert }) => expert === place.expert)
			.map(({ neuron }) => neuron);
		if (chosen.length === 0) continue; // an expert that makes no outlier
		const { prefix } = place, all = stages.get(place)!, columns = sample(I, chosen, DRAWN);
		const surface = (name: string, of: ReadonlyMap<number, Float32Array>) =>
			surfaceOf(`${prefix}.${name}`, { ids: [...of.keys()], values: [...of.values()] }, columns);
		if (all.gate) surfaces.push(surface("gate", all.gate));
		surfaces.push(surface("up", all.up), surface("activated", all.activated));
		surfaces.push(surface("down.input", all.product));
		const down = await kept.weightRows(parts.tap(`${prefix}.down.weight`), channels);
		weights.push(surfaceOf(`${prefix}.down.weight`, down, columns));
		for (const name of all.gate ? ["gate", "up"] : ["up"]) {
			const rows = await kept.weightRows(parts.tap(`${prefix}.${name}.weight`), columns);
			weights.push(surfaceOf(`${prefix}.${name}.weight`, rows, channels));
		}
	}
	for (const tap of ["mlp.output", "output"]) {
		surfaces.push(surfaceOf(tap, await kept.rows(parts.tap(tap)), channels));
	}
	return { stages: surfaces, weights };
}
