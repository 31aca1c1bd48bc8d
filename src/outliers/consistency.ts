// Whether the kinds of outliers stand in the same places: Table 1 of the paper, by the overlap of its appendix B.2.

import type { TapContext, Transformer } from "../nn/mod.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { ACTIVATION_TAPS, expertOf } from "./activation_outliers.ts";
import type { Reachability } from "./analysis.ts";
import { type Definition, type DefinitionChoice, definitionOf } from "./definitions.ts";
import {
	activationSets,
	cumulativeAttention,
	judgeLength,
	outlierKeys,
	type Sight,
	weightSets,
} from "./outlier_sets.ts";
import { type AnalysisProbe, type PassOptions, runAnalyses } from "./pass.ts";
import { Reading } from "./reading.ts";
import { type GivenSequence, sequencesOf } from "./sequences.ts";

/** A kind of outlier: of W_down, x_down, h, or attention. */
export type OutlierKind = "downWeight" | "downInput" | "hiddenState" | "attention";

/** One comparison of two sets of outliers. */
export interface ConsistencyRecord {
	/** Index of the sequence. */
	sequence: number;
	/** Layer of the first set, 0-based; attention is that of the next one, or of the same, as the definition says. */
	layer: number;
	/** Of a mixture of experts: whose weights and inputs. */
	expert?: number;
	/** Size of the first set, above 0. */
	first: number;
	/** Size of the second set; of attention, of each head. */
	second: number[];
	/** How many elements both have; of attention, of each head. The overlap is this over `first`. */
	shared: number[];
}

/** A row of Table 1. */
export interface ConsistencyPair {
	/** The first kind, whose size is the denominator. */
	first: OutlierKind;
	/** The second kind. */
	second: OutlierKind;
	/** Along which axis: `"feature"`, the channels; or `"sequence"`, the tokens. */
	dimension: "feature" | "sequence";
	/** The overall overlap: the mean of |S1 ∩ S2| / |S1| over sequences, layers and heads; null if none was compared. */
	overlap: number | null;
	/** The mean of |S1 ∩ S2| / |S2|, where S2 is not empty. */
	reverse: number | null;
	/** The mean of |S1 ∩ S2| / |S1 ∪ S2|. */
	jaccard: number | null;
	/** Smallest overlap of a sequence, layer and head. */
	minimum: number | null;
	/** Largest overlap of a sequence, layer and head. */
	maximum: number | null;
	/** 95 % bootstrap interval of the overall overlap, sequences drawn anew; null of fewer than two sequences. */
	interval: [low: number, high: number] | null;
	/** How many overlaps went into the mean. */
	count: number;
	/** How many (sequence, layer) have no outlier of the first kind: no overlap is defined there. */
	withoutFirst: number;
	/** How many have one of the first kind and none of the second; counted as 0 if the definition says so. */
	withoutSecond: number;
	/** The overall overlap of each sequence that has one. */
	bySequence: { sequence: number; overlap: number }[];
	/** That of each layer that has one. */
	byLayer: { layer: number; overlap: number }[];
	/** That of each head over sequences and layers; empty where there are no heads. */
	byHead: { head: number; overlap: number }[];
	/** Everything that was compared. */
	records: ConsistencyRecord[];
}

/** Table 1 of the paper. */
export interface Consistency {
	/** What was counted. */
	definition: Definition;
	/** How many sequences were run. */
	sequences: number;
	/** W_down → x_down, W_down → h, x_down → h, h → attention. */
	pairs: ConsistencyPair[];
	/**
	 * What each kind's ratio to its mean can be at most, in the longest of the sequences, and whether that exceeds τ; of the
	 * rules that compare with a mean.
	 */
	reachability: Reachability[];
	/** Sequences so short that attention without preference would have outlier keys; left out of the last pair. */
	indistinct: number[];
	/** Sequences so short that no key can be an outlier; then the last pair says nothing. */
	unreachable: number[];
}

/** Sets of the axes of one activation tensor. */
interface Sets {
	tokens: number[];
	features: number[];
}

const key = (...parts: (number | undefined)[]) => parts.join(" ");

/** Collects the sets of outliers that Table 1 compares. Give it to `runAnalyses`. */
export class ConsistencyProbe implements AnalysisProbe<Consistency> {
	/** The taps it takes. */
	readonly taps: readonly string[] = [
		ACTIVATION_TAPS.hiddenState,
		ACTIVATION_TAPS.downInput,
		"layers.*.mlp.experts.*.down.input",
		"layers.*.mlp.down.weight",
		"layers.*.mlp.experts.*.down.weight",
		"layers.*.attn.cumulative",
	];
	readonly #definition: Definition;
	readonly #sight: Sight;
	readonly #reading = new Reading();
	/** By layer and expert. */
	readonly #weights = new Map<string, { rows: number[]; columns: number[] }>();
	/** By layer, sequence and expert. */
	readonly #downInput = new Map<string, Sets>();
	/** By layer and sequence. */
	readonly #hidden = new Map<string, Sets>();
	/** By layer and sequence, of each head. */
	readonly #attention = new Map<string, number[][]>();
	readonly #lengths = new Map<number, number>();
	readonly #experts = new Map<number, Set<number | undefined>>();
	/** The most values that a mean is taken of, by kind. */
	readonly #limits = new Map<OutlierKind, number>();

	/**
	 * Makes a probe for one pass.
	 *
	 * @param sight what the model's queries see: its `config.attention`
	 */
	constructor(definition: DefinitionChoice = "default", sight: Sight = { causal: true }) {
		this.#definition = definitionOf(definition);
		this.#sight = sight;
	}

	#see(kind: OutlierKind, values: number): void {
		this.#limits.set(kind, Math.max(values, this.#limits.get(kind) ?? 0));
	}

	#reachability(): Reachability[] {
		const { activationRule, tau, weightTop, weightTau, attentionRule } = this.#definition;
		const thresholds: Record<OutlierKind, number | null> = {
			downWeight: weightTop === null ? weightTau : null,
			downInput: activationRule === "mean" ? tau : null,
			hiddenState: activationRule === "mean" ? tau : null,
			attention: attentionRule === "tau" ? tau : null,
		};
		return [...this.#limits].flatMap(([test, limit]) => {
			const threshold = thresholds[test];
			return threshold === null ? [] : [{ test, limit, reachable: limit > threshold }];
		}).sort((a, b) => a.test < b.test ? -1 : 1);
	}

	/** Queues the search in one tensor. */
	receive(tensor: Tensor<"float32">, context: TapContext): void {
		const { name, layer, sequence } = context, { expert } = expertOf(name);
		const { device } = tensor, matrix = tensor as Tensor<"float32", 2>;
		if (name.endsWith("cumulative")) {
			const kept = tensor.reshape([tensor.size]), tokens = matrix.shape[1];
			this.#see("attention", tokens);
			this.#reading.after(device, () => {
				const values = kept.readNow();
				kept.dispose();
				const { heads, mean } = cumulativeAttention(values, tokens, context);
				const all = this.#definition.attentionHeads === "mean" ? [mean] : heads;
				const keys = all.map((head) => outlierKeys(head, this.#definition, this.#sight));
				this.#attention.set(key(layer, sequence), keys);
			});
		} else if (name.endsWith("weight")) {
			const pending = weightSets(matrix, this.#definition, context), [out, ins] = matrix.shape;
			const { weightAxis } = this.#definition;
			this.#see("downWeight", { row: ins, column: out, either: Math.max(ins, out) }[weightAxis]);
			this.#reading.after(device, () => this.#weights.set(key(layer, expert), pending.read()));
		} else {
			const pending = activationSets(matrix, this.#definition, context);
			const ofHidden = name.endsWith("output");
			this.#see(ofHidden ? "hiddenState" : "downInput", matrix.size);
			if (ofHidden) this.#lengths.set(sequence, matrix.shape[0]);
			else this.#experts.set(layer, (this.#experts.get(layer) ?? new Set()).add(expert));
			this.#reading.after(device, () => {
				const { tokens, features } = pending.read();
				if (ofHidden) this.#hidden.set(key(layer, sequence), { tokens, features });
				else this.#downInput.set(key(layer, sequence, expert), { tokens, features });
			});
		}
	}

	/** The table, once the pass is over. */
	async result(): Promise<Consistency> {
		await this.#reading.finish();
		const sequences = [...this.#lengths.keys()].sort((a, b) => a - b);
		const judged = (verdict: ReturnType<typeof judgeLength>) =>
			sequences.filter((sequence) =>
				judgeLength(this.#lengths.get(sequence)!, this.#definition, this.#sight) === verdict
			);
		const indistinct = judged("indistinct");
		const layers = [...this.#experts.keys()].sort((a, b) => a - b);
		const pairs = [
			new Comparison("downWeight", "downInput", "feature"),
			new Comparison("downWeight", "hiddenState", "feature"),
			new Comparison("downInput", "hiddenState", "sequence"),
			new Comparison("hiddenState", "attention", "sequence"),
		] as const;
		const ahead = this.#definition.attentionPairing === "next" ? 1 : 0;
		for (const layer of layers) {
			const experts = [...this.#experts.get(layer)!].sort((a, b) => (a ?? 0) - (b ?? 0));
			const weights = experts.map((expert) => this.#weights.get(key(layer, expert)));
			const rows = union(weights.map((sets) => sets?.rows ?? []));
			for (const sequence of sequences) {
				const at = { sequence, layer };
				const hidden = this.#hidden.get(key(layer, sequence))!;
				const inputs = experts.map((expert) => this.#downInput.get(key(layer, sequence, expert)));
				for (const [i, expert] of experts.entries()) {
					if (!inputs[i]) continue; // an expert that got no token
					const where = { ...at, ...expert !== undefined && { expert } };
					pairs[0].add(where, weights[i]?.columns ?? [], [inputs[i].features]);
				}
				pairs[1].add(at, rows, [hidden.features]);
				pairs[2].add(at, union(inputs.map((sets) => sets?.tokens ?? [])), [hidden.tokens]);
				const attention = this.#attention.get(key(layer + ahead, sequence));
				if (attention && !indistinct.includes(sequence)) {
					pairs[3].add(at, hidden.tokens, attention);
				}
			}
		}
		return {
			definition: this.#definition,
			sequences: sequences.length,
			pairs: pairs.map((pair) => pair.result(this.#definition)),
			reachability: this.#reachability(),
			indistinct,
			unreachable: judged("unreachable"),
		};
	}
}

const union = (sets: readonly (readonly number[])[]) => [...new Set(sets.flat())];
const mean = (values: readonly number[]): number | null =>
	values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : null;

/** One row of the table while it is made. */
class Comparison {
	readonly #records: ConsistencyRecord[] = [];
	#withoutFirst = 0;

	constructor(
		readonly first: OutlierKind,
		readonly second: OutlierKind,
		readonly dimension: "feature" | "sequence",
	) {}

	add(
		where: { sequence: number; layer: number; expert?: number },
		first: readonly number[],
		second: readonly (readonly number[])[],
	): void {
		if (first.length === 0) {
			this.#withoutFirst++;
			return;
		}
		const all = new Set(first);
		this.#records.push({
			...where,
			first: all.size,
			second: second.map(({ length }) => length),
			shared: second.map((set) => set.filter((element) => all.has(element)).length),
		});
	}

	result({ consistencyLayers, attentionHeads }: Definition): ConsistencyPair {
		const { first, second, dimension } = this;
		const isJoint = (record: ConsistencyRecord) => record.second.some((size) => size > 0);
		const joint = this.#records.filter(isJoint);
		const records = consistencyLayers === "joint" ? joint : this.#records;
		const overlaps = (some: readonly ConsistencyRecord[]) =>
			some.flatMap(({ first, shared }) => shared.map((count) => count / first));
		const all = overlaps(records);
		const by = <T>(of: (record: ConsistencyRecord) => number, name: string) =>
			[...Map.groupBy(records, of)].sort(([a], [b]) => a - b)
				.map(([group, some]) => ({ [name]: group, overlap: mean(overlaps(some))! })) as T[];
		const heads = second === "attention" && attentionHeads === "each"
			? records[0]?.shared.length ?? 0
			: 0;
		return {
			first,
			second,
			dimension,
			overlap: mean(all),
			reverse: mean(
				records.flatMap(({ second, shared }) =>
					shared.flatMap((count, i) => second[i]! > 0 ? [count / second[i]!] : [])
				),
			),
			jaccard: mean(
				records.flatMap(({ first, second, shared }) =>
					shared.map((count, i) => count / (first + second[i]! - count))
				),
			),
			minimum: all.length > 0 ? all.reduce((a, b) => Math.min(a, b)) : null,
			maximum: all.length > 0 ? all.reduce((a, b) => Math.max(a, b)) : null,
			interval: bootstrap([...Map.groupBy(records, ({ sequence }) => sequence).values()]
				.map(overlaps)),
			count: all.length,
			withoutFirst: this.#withoutFirst,
			withoutSecond: this.#records.length - joint.length,
			bySequence: by(({ sequence }) => sequence, "sequence"),
			byLayer: by(({ layer }) => layer, "layer"),
			byHead: Array.from({ length: heads }, (_, head) => ({
				head,
				overlap: mean(records.map(({ first, shared }) => shared[head]! / first))!,
			})),
			records,
		};
	}
}

const DRAWS = 1000;

/** The 95 % interval of the mean of all values where groups of them are drawn with replacement; always the same. */
function bootstrap(groups: readonly (readonly number[])[]): [number, number] | null {
	if (groups.length < 2) return null;
	const sums = groups.map((values) => values.reduce((sum, value) => sum + value, 0));
	let state = 1;
	const draw = () => { // a linear congruential generator: 2³² states, far more than are drawn
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return Math.floor(state / 2 ** 32 * groups.length);
	};
	const means = Float64Array.from({ length: DRAWS }, () => {
		let sum = 0, count = 0;
		for (let i = 0; i < groups.length; i++) {
			const group = draw();
			sum += sums[group]!;
			count += groups[group]!.length;
		}
		return sum / count;
	}).sort();
	return [means[Math.floor(0.025 * DRAWS)]!, means[Math.ceil(0.975 * DRAWS) - 1]!];
}

/** Options of {@linkcode measureConsistency}. */
export interface ConsistencyOptions extends PassOptions {
	/** What is counted. @default {"default"} */
	definition?: DefinitionChoice;
}

/**
 * Table 1 of the paper: how far the outliers of W_down, x_down, h and attention stand in the same features and tokens.
 *
 * For two sets of one sequence and layer the overlap is |S1 ∩ S2| / |S1|; attention has a set for each head. The overall
 * figure is the mean over sequences, layers and heads (appendix B.2). A layer of a sequence in which either kind has no
 * outlier at all is left out, and counted, unless the definition's `consistencyLayers` is `"first"`; a head without
 * an outlier key counts 0.
 *
 * @param given sequences of tokens, or texts, each taken as one sequence
 * @throws {RangeError} if there is no sequence, or the definition is none
 */
export async function measureConsistency(
	model: Transformer,
	given: readonly GivenSequence[],
	{ definition: choice, ...pass }: ConsistencyOptions = {},
): Promise<Consistency> {
	const definition = definitionOf(choice);
	const sequences = sequencesOf(model, given, definition.specialTokens);
	const { consistency } = await runAnalyses(
		model,
		sequences.map(({ tokenIds }) => tokenIds),
		{ consistency: new ConsistencyProbe(definition, model.config.attention) },
		pass,
	);
	return consistency;
}
