// What is measured of a model while it trains with one attention or another: the three numbers in which the paper's
// outliers show (a peak in the hidden state, a sink, a drained value), none of which implies the others.

import {
	type Device,
	keep,
	noGrad,
	norm,
	scope,
	stack,
	sum,
	type Tensor,
} from "../../tensor/mod.ts";
import type { DataSource, TapContext, Watch } from "../../nn/mod.ts";
import { checkFinite, type Magnitudes, magnitudes, type Pending } from "../magnitudes.ts";
import { average } from "../average.ts";
import { FIRST, SINK, valueRatios } from "../measures.ts";

/** The largest |x| of a place; means over sequences. */
export interface PlacePeak {
	/** The three largest |x|. */
	top: number[];
	/** Lower median of |x|. */
	median: number;
	/** max|x| / mean|x| */
	maxOverMean: number;
	/** Share of the sequences whose largest |x| is at position 0. */
	atFirst: number;
}

/** How a head attends to position 0; means over sequences, and over all queries but the first. */
export interface HeadSink {
	/** A[q, 0], rows that do not sum to 1 divided by their sum. */
	share: number;
	/**
	 * Σ s_q A[q, 0] / Σ s_q, A as in `share`, s being the head's gate times what the row summed to before (as of sigmoid
	 * weights): a query with an s near 0 adds nothing, wherever it looks. For softmax the same as `share`.
	 */
	gatedShare: number;
	/** Mean of s; 1 for softmax. */
	gate: number;
	/** `share` of the queries that have something to look up, where the data say so; else null. */
	lookUpShare: number | null;
	/** `share` of the others. */
	otherShare: number | null;
	/** Share of the sequences whose `share` is over 0.3 (Gu et al. 2024). */
	sinkRate: number;
	/** The same of `gatedShare`. */
	gatedSinkRate: number;
	/** ‖v_0‖ over the mean ‖v_t‖ of the others. */
	valueRatio: number;
}

/** A layer. */
export interface LayerEvidence {
	/** 0-based; -1 are the embeddings, which have a hidden state only. */
	layer: number;
	/** The hidden state behind it. */
	hiddenState: PlacePeak;
	/** x_down; null of the embeddings. */
	downInput: PlacePeak | null;
	/** Its heads. */
	heads: HeadSink[];
}

interface Seen {
	hiddenState: Pending<Magnitudes>[];
	downInput: Pending<Magnitudes>[];
	/** [2, n, T]: A[q, 0], and what rows sum to */
	first: Tensor<"float32", 3>[];
	/** [n, T] */
	gates: Tensor<"float32", 2>[];
	/** [kv, T] */
	valueNorms: Tensor<"float32", 2>[];
}

/** Data whose queries at some symbols have something to look up, as those of synthetic tasks. */
interface WithTriggers extends DataSource {
	readonly triggers?: readonly number[];
}

/** Takes the evidence of each layer, of single validation sequences 0, 1, ... in this order. */
export class EvidenceWatch implements Watch {
	readonly taps: readonly string[] = [
		"embed",
		"layers.*.output",
		"layers.*.mlp.down.input",
		"layers.*.attn.weights",
		"layers.*.attn.gate",
		"layers.*.attn.v",
	];
	readonly #data: WithTriggers;
	readonly #layers = new Map<number, Seen>();
	#device: Device | undefined;

	/** Makes a watch of validation sequences of `data`. */
	constructor(data: DataSource) {
		this.#data = data;
	}

	receive(tensor: Tensor<"float32">, { name, layer }: TapContext): void {
		this.#device = tensor.device;
		const seen = this.#layers.get(layer) ??
			{ hiddenState: [], downInput: [], first: [], gates: [], valueNorms: [] };
		this.#layers.set(layer, seen);
		const place = name.replace(/^layers\.\d+\./, "");
		if (place === "embed" || place === "output") {
			seen.hiddenState.push(magnitudes(tensor as Tensor<"float32", 2>, 1000));
		} else if (place === "mlp.down.input") {
			seen.downInput.push(magnitudes(tensor as Tensor<"float32", 2>, 1000));
		} else {
			const [list, compute] = {
				"attn.weights": [seen.first, shareOfFirst],
				"attn.gate": [seen.gates, (x: Tensor<"float32">) => x.mul(1)],
				"attn.v": [seen.valueNorms, (x: Tensor<"float32">) => norm(x as Tensor<"float32", 3>, 2)],
			}[place as "attn.v"] as [Tensor[], (x: Tensor<"float32">) => Tensor];
			list.push(noGrad(() => scope(() => keep(compute(tensor)))));
		}
	}

	async take(): Promise<{ evidence: LayerEvidence[] }> {
		const evidence: LayerEvidence[] = [];
		await this.#device?.mark().reached(); // so that what was queued can be read
		for (const [layer, seen] of [...this.#layers].sort(([a], [b]) => a - b)) {
			const heads = await this.#heads(seen);
			const where = layer < 0 ? "embed" : `layers.${layer}.output`;
			evidence.push({
				layer,
				hiddenState: peakOf(seen.hiddenState, where),
				downInput: layer < 0 ? null : peakOf(seen.downInput, `layers.${layer}.mlp.down.input`),
				heads,
			});
		}
		this.#layers.clear();
		return { evidence };
	}

	async #heads({ first, gates, valueNorms }: Seen): Promise<HeadSink[]> {
		if (first.length === 0) {
			return [];
		}
		const rows: HeadSink[][] = [], [, heads, T] = first[0]!.shape;
		for (const [i, tensor] of first.entries()) {
			const [shares, gate, norms] = [
				await read(tensor),
				await read(gates[i]),
				await read(valueNorms[i]),
			];
			const ratios = valueRatios(norms!, T, FIRST), group = heads / ratios.length;
			const lookUps = this.#lookUps(i, T);
			rows.push(Array.from({ length: heads }, (_, head) => {
				const of = (data: Float32Array) => data.subarray(head * T + 1, (head + 1) * T);
				const first = of(shares!),
					sums = shares!.subarray((heads + head) * T + 1, (heads + head + 1) * T);
				const share = first.map((a, q) => sums[q]! > 0 ? a / sums[q]! : 0);
				const s = gate ? of(gate).map((g, q) => g * sums[q]!) : sums;
				const all = average([...share]), total = s.reduce((a, b) => a + b, 0);
				const gated = total > 0 ? share.reduce((a, b, q) => a + b * s[q]!, 0) / total : 0;
				const some = (wanted: boolean) =>
					lookUps && average([...share].filter((_, q) => lookUps[q + 1] === wanted));
				return {
					share: all,
					gatedShare: gated,
					gate: total / s.length,
					lookUpShare: some(true),
					otherShare: some(false),
					sinkRate: Number(all > SINK),
					gatedSinkRate: Number(gated > SINK),
					valueRatio: ratios[Math.floor(head / group)]!,
				};
			}));
		}
		return Array.from({ length: heads }, (_, head) => {
			const of = rows.map((row) => row[head]!);
			const names = Object.keys(of[0]!) as (keyof HeadSink)[];
			return Object.fromEntries(names.map((name) => {
				const values = of.map((one) => one[name]).filter((x): x is number => Number.isFinite(x));
				return [name, values.length ? average(values) : null];
			})) as unknown as HeadSink;
		});
	}

	/** Which queries of a validation sequence have something to look up. */
	#lookUps(index: number, tokens: number): boolean[] | null {
		const { triggers } = this.#data;
		if (!triggers) return null;
		const inputs = new Int32Array(tokens);
		this.#data.fill("validation", index, inputs, new Int32Array(tokens));
		return Array.from(inputs, (id) => triggers.includes(id));
	}
}

/** A[q, 0] of maps [n, T, T], and what rows sum to: [2, n, T]. */
function shareOfFirst(maps: Tensor<"float32">): Tensor<"float32", 3> {
	const { shape: [n, T] } = maps;
	const first = maps.slice(0, 1, 2).reshape([n!, T!]) as Tensor<"float32", 2>;
	return stack([first, sum(maps, 2) as Tensor<"float32", 2>]) as Tensor<"float32", 3>;
}

async function read(tensor: Tensor<"float32"> | undefined): Promise<Float32Array | null> {
	if (!tensor) return null;
	const data = await tensor.data();
	tensor.dispose();
	return data;
}

function peakOf(pending: readonly Pending<Magnitudes>[], where: string): PlacePeak {
	const seen = pending.map((one) => {
		const read = one.read();
		checkFinite(read, where);
		return read;
	});
	const sizes = (i: number) => average(seen.map(({ largest }) => Math.abs(largest[i]?.value ?? 0)));
	return {
		top: [0, 1, 2].map(sizes),
		median: average(seen.map(({ median }) => median)),
		maxOverMean: average(seen.map(({ mean, largest: [first] }) => Math.abs(first!.value) / mean)),
		atFirst: average(seen.map(({ largest: [first] }) => Number(first!.row === 0))),
	};
}

/** The numbers in which outliers show. */
export interface HeadlineNumbers {
	/** Largest max|h| / mean|h| of the embeddings and all layers but the last, which also makes the logits. */
	peak: number;
	/** Where that is: 0-based, -1 of the embeddings. */
	peakLayer: number;
	/** Share of the sequences in which it is at position 0. */
	peakAtFirst: number;
	/** Share of the heads, over sequences and layers, that give position 0 more than 0.3. */
	sinkRate: number;
	/** The same, queries counted by their gates. */
	gatedSinkRate: number;
	/** What the head that gives position 0 most gives it, queries counted by their gates. */
	strongestShare: number;
	/** Of the same head, ‖v_0‖ over the mean ‖v_t‖. */
	valueRatio: number;
	/** Largest max|x_down| / mean|x_down| of all layers but the last; of a single layer, of that. */
	downPeak: number;
}

/** The headline of some evidence. */
export function headlineNumbers(evidence: readonly LayerEvidence[]): HeadlineNumbers {
	const inner = evidence.length > 1 ? evidence.slice(0, -1) : evidence;
	const peak = inner.reduce((a, b) =>
		b.hiddenState.maxOverMean > a.hiddenState.maxOverMean ? b : a
	);
	const heads = evidence.flatMap(({ heads }) => heads);
	const strongest = heads.reduce((a, b) => b.gatedShare > a.gatedShare ? b : a);
	const withDown = evidence.filter(({ downInput }) => downInput !== null);
	const innerDown = withDown.length > 1 ? withDown.slice(0, -1) : withDown;
	return {
		peak: peak.hiddenState.maxOverMean,
		peakLayer: peak.layer,
		peakAtFirst: peak.hiddenState.atFirst,
		sinkRate: average(heads.map(({ sinkRate }) => sinkRate)),
		gatedSinkRate: average(heads.map(({ gatedSinkRate }) => gatedSinkRate)),
		strongestShare: strongest.gatedShare,
		valueRatio: strongest.valueRatio,
		downPeak: Math.max(...innerDown.map(({ downInput }) => downInput!.maxOverMean)),
	};
}
