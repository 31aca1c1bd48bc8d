// The laboratory: runs the analyses that are asked for, hands over each result as soon as it is there, and takes those
// of an earlier run that were made of the same.

import type { Transformer } from "../nn/transformer.ts";
import type { AnalyzedSequence } from "./analysis.ts";
import { compareModels, type ModelComparison } from "./compare_models.ts";
import { type Consistency, ConsistencyProbe, measureConsistency } from "./consistency.ts";
import { type Definition, type DefinitionChoice, definitionOf } from "./definitions.ts";
import { type ExistenceMaps, mapOutliers } from "./existence.ts";
import { type Ledger, LEDGER_PASSES, traceLedger } from "./lifecycle/ledger.ts";
import { type Causes, traceCauses } from "./lifecycle/trace_causes.ts";
import {
	type Disappearance,
	type Emergence,
	traceDisappearance,
	traceEmergence,
} from "./lifecycle/trace_mlp_layers.ts";
import { type SpreadTrace, traceSpread } from "./lifecycle/trace_spread.ts";
import { type AnalysisProbe, type PassOptions, progressAfter, runAnalyses } from "./pass.ts";
import { ActivationPositionsProbe } from "./positions/activations.ts";
import { AttentionPositionsProbe } from "./positions/attention.ts";
import { findPositions, headShares, type OutlierPositions } from "./positions/find_positions.ts";
import { ExtremalRatiosProbe } from "./positions/weights.ts";
import {
	LENGTH_SENTENCES,
	type SequenceLengthStudy,
	studySequenceLength,
} from "./sequence_length.ts";
import { type GivenSequence, PAPER_SENTENCE, sequencesOf } from "./sequences.ts";

/** What each analysis of the laboratory gives. */
export interface LaboratoryResults {
	/** Where outliers show, for one sequence: Fig. 1 and 13 to 22. */
	maps: ExistenceMaps;
	/** Which layers, tokens, features, heads and weights: Fig. 3 to 6. */
	positions: OutlierPositions;
	/** Whether the kinds coincide: Table 1. */
	consistency: Consistency;
	/** Whether the length of a text matters: appendix D.3. */
	lengths: SequenceLengthStudy;
	/** How outliers come about: Fig. 7. */
	emergence: Emergence;
	/** How they spread: Fig. 8. */
	spread: SpreadTrace;
	/** How they go: Fig. 9. */
	disappearance: Disappearance;
	/** What goes with them when they are taken away. */
	causes: Causes;
	/** Another model beside this one: Fig. 20 to 22. */
	comparison: ModelComparison;
}

/** The name of an analysis. */
export type LaboratoryAnalysis = keyof LaboratoryResults;

/** The analyses of one model, in the order in which they are run. */
export const LABORATORY_ANALYSES: readonly LaboratoryAnalysis[] = [
	"maps",
	"lengths",
	"emergence",
	"spread",
	"disappearance",
	"positions",
	"consistency",
	"causes",
	"comparison",
];

/** A finished analysis with what it was made of: plain data. */
export interface LaboratoryRecord<N extends LaboratoryAnalysis = LaboratoryAnalysis> {
	/** Always this. */
	format: "outlierscope-laboratory";
	/** Of the format; results of another one are not taken up. */
	version: number;
	/** Which analysis. */
	analysis: N;
	/** Hash of all that the result depends on. */
	key: string;
	/** The model. */
	model: { name: string; family: string; layers: number; hiddenSize: number; heads: number };
	/** On what it was computed. */
	device: { name: string; dtype: "float32" | "bfloat16" };
	/** The sequences it is of: sources and how many tokens. */
	sequences: { source: string; tokens: number }[];
	/** Of an analysis of one sequence: its tokens' texts. */
	tokens?: string[];
	/** What was found. */
	result: LaboratoryResults[N];
}

/** Finished analyses, by name. */
export type Laboratory = { [N in LaboratoryAnalysis]?: LaboratoryRecord<N> };

/** Options of {@linkcode runLaboratory}. */
export interface LaboratoryOptions {
	/** Which analyses. @default {all; `comparison` only with `compareWith`} */
	only?: readonly LaboratoryAnalysis[];
	/** What is counted. @default {"default"} */
	definition?: DefinitionChoice;
	/** The sequence of maps and traces, of which the first 512 tokens are taken. @default {the paper's sentence} */
	example?: GivenSequence;
	/** The other model of `comparison`. */
	compareWith?: Transformer;
	/** What else tells the models' weights from others, such as their files' dates; part of the keys. */
	weights?: string;
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: "float32" | "bfloat16";
	/** Told how much of the work of all analyses is done, and which analysis is under way. */
	onProgress?: (done: number, total: number, analysis: LaboratoryAnalysis | "beside") => void;
	/** Given each result as soon as it is there, those of `previous` too; awaited. */
	onResult?: (record: LaboratoryRecord, reused: boolean) => void | Promise<void>;
	/** Stops the run; the promise then rejects with the signal's reason. */
	signal?: AbortSignal;
	/** Results of an earlier run. Those with the same key are taken as they are. */
	previous?: Laboratory;
	/** Other probes, which share the pass of positions and consistency if that is over the same tokens. */
	beside?: Beside;
}

/** Probes that are not the laboratory's. */
export interface Beside {
	/** What they are to see. */
	sequences: readonly AnalyzedSequence[];
	/** The probes. */
	probes: Record<string, AnalysisProbe<unknown>>;
	/** Given what they found; awaited. */
	onResults: (results: Record<string, unknown>) => void | Promise<void>;
}

const VERSION = 1, EXAMPLE_TOKENS = 512;
/** Parts of the texts on which causes are shown: several, as their spread tells how sure an effect is. */
const CAUSE_TOKENS = 256, CAUSE_PARTS = 4;
/** Runs of the model that showing causes takes for each link: clean, changed, and three controls. */
const CAUSE_RUNS = 3 * 5;

const count = (sequences: readonly AnalyzedSequence[]) =>
	sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);

/** What a run works on. */
class Run {
	readonly definition: Definition;
	readonly sequences: AnalyzedSequence[];
	readonly example: AnalyzedSequence;
	readonly parts: AnalyzedSequence[];
	#ledger: Ledger | undefined;

	constructor(
		readonly model: Transformer,
		readonly given: readonly GivenSequence[],
		readonly options: LaboratoryOptions,
	) {
		this.definition = definitionOf(options.definition);
		const { specialTokens } = this.definition;
		this.sequences = sequencesOf(model, given, specialTokens);
		const example = options.example ?? (model.hasTokenizer ? PAPER_SENTENCE : this.sequences[0]!);
		this.example = cut(sequencesOf(model, [example], specialTokens)[0]!, 0, EXAMPLE_TOKENS);
		const parts = this.sequences.flatMap((sequence) =>
			Array.from(
				{ length: Math.max(1, Math.floor(sequence.tokenIds.length / CAUSE_TOKENS)) },
				(_, i) => cut(sequence, i * CAUSE_TOKENS, CAUSE_TOKENS),
			)
		);
		// Traced tokens must be in each part, and the first of the longest is as good as any.
		parts.sort((a, b) => b.tokenIds.length - a.tokenIds.length);
		this.parts = parts.filter(({ tokenIds }) => tokenIds.length === parts[0]!.tokenIds.length)
			.slice(0, CAUSE_PARTS);
	}

	get pass(): PassOptions {
		const { dtype = "float32", signal } = this.options;
		return { dtype, ...signal && { signal } };
	}

	/** What the analysis is made of. */
	inputs(name: LaboratoryAnalysis): AnalyzedSequence[] {
		if (name === "lengths") {
			return sequencesOf(this.model, this.#lengthTexts(), this.definition.specialTokens);
		}
		if (name === "causes") return this.parts;
		return name === "positions" || name === "consistency" || name === "comparison"
			? this.sequences
			: [this.example];
	}

	#lengthTexts(): readonly GivenSequence[] {
		if (this.model.hasTokenizer) return LENGTH_SENTENCES;
		const { source, tokenIds } = this.example; // without words, beginnings of the example
		return [...new Set([1 / 4, 1 / 2, 1].map((share) => Math.ceil(share * tokenIds.length)))]
			.map((tokens) => ({
				source: `${source}, ${tokens} tokens`,
				tokenIds: tokenIds.slice(0, tokens),
			}));
	}

	/** How much work it is, in tokens that pass through the model. */
	work(name: LaboratoryAnalysis, shared: boolean): number {
		const tokens = count(this.inputs(name));
		if (name === "consistency") return shared ? 0 : tokens;
		if (name === "causes") return tokens * CAUSE_RUNS;
		if (name === "comparison") return 2 * tokens;
		return name === "lengths" || name === "positions" ? tokens : 3 * tokens;
	}

	/** The ledger, computed once, and the options of a pass after it. */
	async #traced(onProgress: NonNullable<PassOptions["onProgress"]>) {
		const { layers } = this.model.config, before = this.#ledger ? 0 : LEDGER_PASSES * layers;
		const told = (from: number) => progressAfter(onProgress, from, before + layers);
		const { tau } = this.definition, { tokenIds } = this.example;
		const ledger = this.#ledger ??= await traceLedger(this.model, tokenIds, {
			tau,
			...this.pass,
			...told(0),
		});
		return { ...this.pass, tau, ledger, ...told(before) };
	}

	/** Runs one analysis. */
	async one<N extends LaboratoryAnalysis>(
		name: N,
		onProgress: (done: number, total: number) => void,
	): Promise<LaboratoryResults[N]>;
	async one(
		name: LaboratoryAnalysis,
		onProgress: (done: number, total: number) => void,
	): Promise<LaboratoryResults[LaboratoryAnalysis]> {
		const { model, definition, example, sequences } = this;
		const options = { ...this.pass, definition, onProgress };
		const trace = () => this.#traced(onProgress);
		switch (name) {
			case "maps": {
				const { ledger: { emergence, disappearance }, onProgress: told } = await trace();
				const layers = [...new Set([emergence, disappearance])];
				return await mapOutliers(model, example, {
					...options,
					...told && { onProgress: told },
					layers,
				});
			}
			case "positions":
				return await findPositions(model, sequences, options);
			case "consistency":
				return await measureConsistency(model, sequences, options);
			case "lengths":
				return await studySequenceLength(model, this.#lengthTexts(), {
					...options,
					definition: { ...definition, attentionRule: "visible share" },
				});
			case "emergence":
				return await traceEmergence(model, example.tokenIds, await trace());
			case "spread":
				return await traceSpread(model, example.tokenIds, await trace());
			case "disappearance":
				return await traceDisappearance(model, example.tokenIds, await trace());
			case "causes":
				return await traceCauses(
					model,
					this.parts.map(({ tokenIds }) => tokenIds),
					{ ...this.pass, tau: definition.tau, onProgress },
				);
			case "comparison":
				return await compareModels(model, this.options.compareWith!, this.given, options);
		}
	}

	/** Whether positions and consistency are of the same sequences, so that they can share a pass. */
	get canShare(): boolean {
		return Object.values(this.definition.figures).every(({ sequences, length }) =>
			sequences === null && length === null
		);
	}

	/** Whether `beside` sees what positions and consistency do. */
	get besideFits(): boolean {
		const ids = (of: readonly AnalyzedSequence[]) =>
			JSON.stringify(of.map(({ tokenIds }) => tokenIds));
		return ids(this.options.beside?.sequences ?? []) === ids(this.sequences);
	}

	/** Positions and consistency in one pass, with other probes. */
	async together(
		others: Beside | undefined,
		onProgress: (done: number, total: number) => void,
	): Promise<Pick<LaboratoryResults, "positions" | "consistency">> {
		const { model, definition, sequences } = this, sight = model.config.attention;
		const attention = new AttentionPositionsProbe(sequences, definition, sight);
		const theirs = Object.entries(others?.probes ?? {});
		const { consistency, ...all } = await runAnalyses(
			model,
			sequences.map(({ tokenIds }) => tokenIds),
			{
				hiddenState: new ActivationPositionsProbe("hiddenState", sequences, definition),
				downInput: new ActivationPositionsProbe("downInput", sequences, definition),
				weights: new ExtremalRatiosProbe(definition),
				attention,
				heads: headShares(definition, attention),
				consistency: new ConsistencyProbe(definition, sight),
				...Object.fromEntries(
					theirs.map(([name, probe]) => [`beside ${name}`, probe]),
				) as Record<never, never>,
			},
			{ ...this.pass, onProgress },
		);
		const { hiddenState, downInput, weights, attention: keys, heads } = all;
		const found = { hiddenState, downInput, weights, attention: keys, heads };
		await others?.onResults(Object.fromEntries(
			theirs.map(([name]) => [name, (all as Record<string, unknown>)[`beside ${name}`]]),
		));
		const described = sequences.map(({ source, tokenIds }, given) => ({
			source,
			tokens: tokenIds.length,
			given,
		}));
		return { positions: { definition, sequences: described, ...found }, consistency };
	}
}

function cut(sequence: AnalyzedSequence, from: number, length: number): AnalyzedSequence {
	return {
		source: sequence.source,
		tokenIds: sequence.tokenIds.slice(from, from + length),
		tokenTexts: sequence.tokenTexts.slice(from, from + length),
	};
}

function describe({ name, config, checkpoint }: Transformer) {
	const { family, layers, hiddenSize, intermediateSize, heads, vocabularySize } = config;
	const file = checkpoint?.path ?? "";
	return { name, file, family, layers, hiddenSize, intermediateSize, heads, vocabularySize };
}

/** The hash of what a result depends on. */
async function keyOf(run: Run, name: LaboratoryAnalysis): Promise<string> {
	const { compareWith, weights = "", dtype = "float32" } = run.options;
	const parts = {
		version: VERSION,
		name,
		model: describe(run.model),
		other: name === "comparison" && compareWith ? describe(compareWith) : null,
		weights,
		dtype,
		device: run.model.device.name,
		definition: run.definition,
		tokens: run.inputs(name).map(({ source, tokenIds }) => [source, tokenIds]),
	};
	const bytes = new TextEncoder().encode(JSON.stringify(parts));
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
	return hash.slice(0, 16).toHex();
}

/**
 * Runs the analyses of the paper that are asked for, or all. Those that can share a pass of the model do. Each result is
 * handed over as soon as it is there, so that what is done is kept if a later one is stopped; given back as `previous`,
 * it is not computed again.
 *
 * @param given sequences of tokens, or texts, each taken as one sequence
 * @throws {RangeError} if there is no sequence, or no such analysis or definition
 *
 * @example Two analyses
 * ```ts ignore
 * import { loadModel, PAPER_SENTENCE, runLaboratory } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const { emergence, spread } = await runLaboratory(model, [PAPER_SENTENCE], {
 *   only: ["emergence", "spread"],
 * });
 * console.log(emergence!.result.mlp.layer, spread!.result.attention.drainedHeads);
 * ```
 */
export async function runLaboratory(
	model: Transformer,
	given: readonly GivenSequence[],
	options: LaboratoryOptions = {},
): Promise<Laboratory> {
	const { only, previous = {}, onResult, compareWith } = options;
	const wrong = only?.find((name) => !LABORATORY_ANALYSES.includes(name));
	if (wrong !== undefined) {
		throw new RangeError(
			`There is no analysis "${wrong}": take one of ${LABORATORY_ANALYSES.join(", ")}`,
		);
	}
	if (only?.includes("comparison") && !compareWith) {
		throw new RangeError("Cannot compare: there is no second model; give compareWith");
	}
	const wanted = LABORATORY_ANALYSES.filter((name) =>
		only ? only.includes(name) : name !== "comparison" || compareWith
	);
	const run = new Run(model, given, options);
	const laboratory: Laboratory = {};
	const hand = async (record: LaboratoryRecord, reused: boolean) => {
		(laboratory as Record<string, LaboratoryRecord>)[record.analysis] = record;
		await onResult?.(record, reused);
	};

	const keys = new Map<LaboratoryAnalysis, string>();
	for (const name of wanted) {
		const key = await keyOf(run, name), earlier = previous[name];
		if (earlier?.key === key && earlier.version === VERSION) await hand(earlier, true);
		else keys.set(name, key);
	}
	const shared = run.canShare && keys.has("positions") && keys.has("consistency");
	const { beside } = options, joins = shared && run.besideFits;
	const apart = beside && !joins ? count(beside.sequences) : 0;
	const total = [...keys.keys()].reduce((sum, name) => sum + run.work(name, shared), apart);
	if (beside && !joins) {
		const ids = beside.sequences.map(({ tokenIds }) => tokenIds);
		const onProgress = (done: number, of: number) =>
			options.onProgress?.(apart * done / of, total, "beside");
		await beside.onResults(
			await runAnalyses(model, ids, beside.probes, { ...run.pass, onProgress }),
		);
	}
	let finished = apart;
	for (const [name, key] of keys) {
		if (laboratory[name]) continue; // with another one
		options.signal?.throwIfAborted();
		const work = run.work(name, shared);
		const report = (done: number, of: number) =>
			options.onProgress?.(finished + work * done / of, total, name);
		report(0, 1);
		const found: Partial<LaboratoryResults> = shared && name === "positions"
			? await run.together(joins ? beside : undefined, report)
			: { [name]: await run.one(name, report) };
		finished += work;
		for (const [each, result] of Object.entries(found)) {
			const analysis = each as LaboratoryAnalysis;
			await hand(recordOf(run, analysis, keys.get(analysis) ?? key, result), false);
		}
	}
	return laboratory;
}

function recordOf(
	run: Run,
	analysis: LaboratoryAnalysis,
	key: string,
	result: LaboratoryResults[LaboratoryAnalysis],
): LaboratoryRecord {
	const { model, options } = run, inputs = run.inputs(analysis);
	const { name, config: { family, layers, hiddenSize, heads } } = model;
	return {
		format: "outlierscope-laboratory",
		version: VERSION,
		analysis,
		key,
		model: { name, family, layers, hiddenSize, heads },
		device: { name: model.device.name, dtype: options.dtype ?? "float32" },
		sequences: inputs.map(({ source, tokenIds }) => ({ source, tokens: tokenIds.length })),
		...inputs.length === 1 && inputs[0] === run.example && { tokens: [...inputs[0].tokenTexts] },
		result,
	};
}
