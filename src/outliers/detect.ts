// The whole analysis of a model: runs texts through it once and finds outliers at the paper's four
// places, in hidden states, down-projection inputs, weights and attention.

import type { Transformer } from "../nn/transformer.ts";
import type { ProcessGroup } from "../parallel/process_group.ts";
import { elements } from "../tensor/strides.ts";
import { ACTIVATION_TAPS, ActivationOutlierProbe } from "./activation_outliers.ts";
import {
	type Analysis,
	ANALYSIS_VERSION,
	type AnalyzedModel,
	type AnalyzedSequence,
	type Reachability,
} from "./analysis.ts";
import { AttentionOutlierProbe } from "./attention_outliers.ts";
import type { Detection, Detector } from "./detectors/detector.ts";
import { type Manifest, manifestOf } from "./manifest.ts";
import { type AnalysisProbe, type ResultsOf, runAnalyses } from "./pass.ts";
import {
	cutSequences,
	DEFAULT_TEXT,
	PAPER_SENTENCE,
	type SourceText,
	type SourceTokens,
} from "./sequences.ts";
import { runSharedDetection } from "./shared_detection.ts";
import { summarize } from "./summary.ts";
import { WeightOutlierProbe } from "./weight_outliers.ts";

/**
 * The kernels that the analysis of a LLaMA-family GGUF file uses, but for the cast that its `dtype` bfloat16
 * needs; other families and files need a few others, which their first use compiles.
 */
export const ANALYSIS_KERNELS: readonly string[] = [
	"attention.cu",
	"copy.cu",
	"dequantize.cu",
	"gated.cu",
	"in_place.cu",
	"norm.cu",
	"rotary.cu",
	"statistics.cu",
	"swap_axes.cu",
];

/** Options of {@linkcode detectOutliers}. */
export interface DetectOutliersOptions {
	/**
	 * What to analyze; a plain string is named "text"; tokens may be given instead.
	 * @default {the text that comes with the library, and the paper's sentence}
	 */
	texts?: readonly (string | SourceText | SourceTokens)[];
	/** Tokens of a sequence. @default {2048, or the model's context length if that is smaller} */
	length?: number;
	/** Sequences to cut from each text, which must be long enough for them. @default {1} */
	sequences?: number;
	/** τ: how many times the mean a value must exceed to be an outlier. @default {1000} */
	tau?: number;
	/** ρ: the share of a head's cumulative attention that makes a key an outlier. @default {0.1} */
	attentionShare?: number;
	/** Other criteria to ask in the same pass. @default {none} */
	detectors?: readonly Detector[];
	/** Whether the manifest has a hash of the weights, for which the file is read once more. @default {true} */
	hashWeights?: boolean;
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: "float32" | "bfloat16";
	/** Told after each layer of each sequence: how many are done, of how many. */
	onProgress?: (done: number, total: number) => void;
	/** Stops the analysis; the promise then rejects with the signal's reason. */
	signal?: AbortSignal;
	/** The processes that share the sequences, all of which call this with the same options. @default this one alone */
	group?: ProcessGroup;
}

function describeModel({ config, checkpoint, name }: Transformer): AnalyzedModel {
	const storage: Record<string, number> = {};
	let parameters = 0;
	for (const { type, shape } of checkpoint?.tensors.values() ?? []) {
		const count = elements(shape);
		storage[type] = (storage[type] ?? 0) + count;
		parameters += count;
	}
	return {
		name,
		file: checkpoint?.path.replace(/.*\//, "") ?? "",
		architecture: config.family,
		layers: config.layers,
		hiddenSize: config.hiddenSize,
		intermediateSize: config.intermediateSize,
		heads: config.heads,
		keyValueHeads: config.keyValueHeads,
		headDimension: config.headDimension,
		vocabularySize: config.vocabularySize,
		contextLength: config.contextLength,
		parameters,
		storage,
	};
}

/** The largest ratio to a mean that each test can see: N numbers have max/mean ≤ N. */
function reachability(
	{ config }: Transformer,
	sequences: AnalyzedSequence[],
	tau: number,
): Reachability[] {
	const { hiddenSize, intermediateSize, heads, headDimension } = config;
	const longest = Math.max(...sequences.map(({ tokenIds }) => tokenIds.length));
	const limits: Record<string, number> = {
		hiddenState: longest * hiddenSize,
		downInput: longest * intermediateSize,
		attention: longest,
		"weights.query": hiddenSize,
		"weights.key": hiddenSize,
		"weights.value": hiddenSize,
		"weights.output": heads * headDimension,
		...config.mlp.kind === "gated" && { "weights.gate": hiddenSize },
		"weights.up": hiddenSize,
		"weights.down": intermediateSize,
	};
	return Object.entries(limits).map(([test, limit]) => ({ test, limit, reachable: limit > tau }));
}

function definitionsOf(tau: number, attentionShare: number): Manifest["definitions"] {
	const entries = "the mean over all entries of a layer and sequence";
	return {
		hiddenState: { definition: `|h| > tau * mean|h|, ${entries}`, thresholds: { tau } },
		downInput: { definition: `|x_down| > tau * mean|x_down|, ${entries}`, thresholds: { tau } },
		weights: {
			definition: "|w| > tau * mean|row|, the mean over w's row of its matrix",
			thresholds: { tau },
		},
		attention: {
			definition: "keys j with sum_i A[i, j] >= attentionShare * sum_ij A[i, j], of a head",
			thresholds: { attentionShare },
		},
	};
}

/** An analysis under way: what takes part in a pass of the model, and what makes the analysis of it. */
export interface Detecting {
	/** What the pass has to run. */
	sequences: AnalyzedSequence[];
	/** What takes part in it. */
	probes: Record<string, AnalysisProbe<unknown>>;
	/** Makes the analysis of what the probes found. */
	finish: (results: Record<string, unknown>) => Promise<Analysis>;
}

/** What {@linkcode detectOutliers} does before and after its pass, for a pass that serves others too. */
export async function prepareDetection(
	model: Transformer,
	options: DetectOutliersOptions = {},
): Promise<Detecting> {
	const { contextLength } = model.config;
	const {
		texts = [DEFAULT_TEXT, PAPER_SENTENCE],
		length = Math.min(2048, contextLength),
		sequences: count = 1,
		tau = 1000,
		attentionShare = 0.1,
		dtype = "float32",
	} = options;
	if (!(tau > 0) || tau === Infinity) {
		throw new RangeError(`Cannot use ${tau} as tau: it must be a number above 0`);
	}
	if (!(attentionShare > 0 && attentionShare <= 1)) {
		throw new RangeError(
			`Cannot use ${attentionShare} as attentionShare: it must be above 0 and at most 1`,
		);
	}
	if (length > contextLength) {
		throw new RangeError(
			`Cannot analyze sequences of ${length} tokens: the model's context length is ${contextLength}`,
		);
	}
	const sources = texts.map((text) => typeof text === "string" ? { source: "text", text } : text);
	const sequences = sources.flatMap((source) =>
		cutSequences(
			model.hasTokenizer ? model.tokenizer : null,
			source,
			length,
			source === PAPER_SENTENCE ? 1 : count,
			!model.config.attention.causal,
		)
	);
	if (sequences.length === 0) throw new RangeError("Cannot analyze: there is no text");

	await model.device.prepare(ANALYSIS_KERNELS);
	const hiddenState = new ActivationOutlierProbe(ACTIVATION_TAPS.hiddenState, tau);
	const downInput = new ActivationOutlierProbe(ACTIVATION_TAPS.downInput, tau);
	const weights = new WeightOutlierProbe(tau);
	const attention = new AttentionOutlierProbe(tau, attentionShare);
	const { detectors = [] } = options;
	const others = detectors.map((each, i) => [`detector ${i}`, each.probe(model)] as const);
	const probes = {
		hiddenState,
		downInput,
		weights,
		attention,
		...Object.fromEntries(others) as Record<string, never>,
	};
	const finish = async (results: ResultsOf<typeof probes>) => {
		const tokenIds = sequences.map(({ tokenIds }) => tokenIds);
		const { hiddenState: h, downInput: x, weights: w, attention: a, ...rest } = results;
		const detections = Object.values(rest) as Detection[];
		const manifest = await manifestOf(model, tokenIds, {
			dtype,
			layerNumbering: "from 1, but from 0 in detections and in names such as layers.0.output",
			definitions: {
				...definitionsOf(tau, attentionShare),
				...Object.fromEntries(detections.map((each) => [each.detector, each])),
			},
			...options.hashWeights !== undefined && { hashWeights: options.hashWeights },
			...options.signal && { signal: options.signal },
		});
		const analysis: Omit<Analysis, "summary"> = {
			format: "outlierscope-analysis",
			version: ANALYSIS_VERSION,
			created: new Date().toISOString(),
			device: { name: model.device.name, kind: model.device.kind, dtype },
			model: describeModel(model),
			criteria: { tau, attentionShare, reachability: reachability(model, sequences, tau) },
			sequences,
			hiddenState: h,
			downInput: x,
			weights: w,
			attention: a,
			manifest,
			...detections.length > 0 && { detections },
		};
		return { ...analysis, summary: summarize(analysis) };
	};
	return { sequences, probes, finish: (results) => finish(results as ResultsOf<typeof probes>) };
}

/** The pass of {@linkcode detectOutliers}, by itself. */
export async function runDetection(
	model: Transformer,
	detecting: Detecting,
	options: DetectOutliersOptions,
): Promise<Record<string, unknown>> {
	const { dtype = "float32", onProgress, signal, group } = options,
		{ sequences, probes } = detecting;
	if (group && group.size > 1) return await runSharedDetection(model, detecting, options, group);
	return await runAnalyses(model, sequences.map(({ tokenIds }) => tokenIds), probes, {
		dtype,
		...onProgress && { onProgress },
		...signal && { signal },
	});
}

/**
 * Finds the systematic outliers of a model on texts.
 *
 * An activation is an outlier if |x| > τ · mean|x| of its layer and sequence, a weight if |w| > τ times
 * the mean of its row, a key if it holds a share ρ of a head's cumulative attention (paper §3.1; where
 * τ = 1000 cannot be reached, `criteria.reachability` says so).
 *
 * @param model the model, from `loadModel`
 * @returns all statistics and findings as plain data; `docs/analysis-format.md` describes it
 * @throws {RangeError} if a text is empty or too short, or an option is out of its range
 *
 * @example Find the features that carry outliers
 * ```ts ignore
 * import { detectOutliers, loadModel } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const { summary } = await detectOutliers(model);
 * console.log(summary.hiddenState.features);
 * ```
 */
export async function detectOutliers(
	model: Transformer,
	options: DetectOutliersOptions = {},
): Promise<Analysis> {
	const detecting = await prepareDetection(model, options);
	return await detecting.finish(await runDetection(model, detecting, options));
}
