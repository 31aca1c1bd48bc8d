// The result of an analysis as plain data: what `detectOutliers` returns and `analysis.json` holds.
// Only types and the version live here; `docs/analysis-format.md` describes every field in words.
// Layers are 1-based as in the paper (layer 1 is the first block); tokens, features, rows, columns,
// heads and sequences are 0-based.

import type { Detection } from "./detectors/detector.ts";
import type { Manifest } from "./manifest.ts";

/** The version of the `analysis.json` schema that this library writes. */
export const ANALYSIS_VERSION = 1;

/** Everything one analysis found, as JSON-serializable data. */
export interface Analysis {
	/** Always `"outlierscope-analysis"`. */
	format: "outlierscope-analysis";
	/** Version of this schema, {@linkcode ANALYSIS_VERSION}. */
	version: number;
	/** When the analysis finished, ISO 8601 in UTC. */
	created: string;
	/** Which device and arithmetic computed the numbers. */
	device: AnalysisDevice;
	/** The analyzed model. */
	model: AnalyzedModel;
	/** The thresholds used, and where they can be reached at all. */
	criteria: Criteria;
	/** The analyzed token sequences. */
	sequences: AnalyzedSequence[];
	/** Outliers of the hidden states h, the outputs of the layers. */
	hiddenState: ActivationAnalysis;
	/** Outliers of x_down, the inputs of the down projections. */
	downInput: ActivationAnalysis;
	/** Outliers of the weight matrices, one entry a layer and projection. */
	weights: WeightAnalysis[];
	/** Cumulative attention, one entry a layer and sequence. */
	attention: AttentionAnalysis[];
	/** The findings drawn from the above. */
	summary: Summary;
	/** What it was made of. */
	manifest: Manifest;
	/** What other criteria say, if they were asked for; in them, layers count from 0. */
	detections?: Detection[];
}

/** Which device and arithmetic computed an analysis. */
export interface AnalysisDevice {
	/** The device's name as its driver gives it. */
	name: string;
	/** `"cuda"` for an NVIDIA GPU, `"host"` for the host driver. */
	kind: "cuda" | "host";
	/** Type of the matrix products' inputs; sums and captured activations are float32. */
	dtype: "float32" | "bfloat16";
}

/** The analyzed model. */
export interface AnalyzedModel {
	/** Name from the file, or the file's base name. */
	name: string;
	/** Base name of the file. */
	file: string;
	/** Architecture as the file names it, such as `"llama"`. */
	architecture: string;
	/** Number of layers (blocks), L. */
	layers: number;
	/** Width of the hidden state, H. */
	hiddenSize: number;
	/** Width of the MLP, I: the number of features of x_down. */
	intermediateSize: number;
	/** Number of attention (query) heads, n. */
	heads: number;
	/** Number of key-value heads. */
	keyValueHeads: number;
	/** Width of a head, d. */
	headDimension: number;
	/** Number of tokens in the vocabulary. */
	vocabularySize: number;
	/** Longest sequence that the model was trained for. */
	contextLength: number;
	/** Number of parameters, tied weights counted once. */
	parameters: number;
	/** Number of parameters stored in each block type, such as `{ Q4_1: 106168320, F32: 35136 }`. */
	storage: Record<string, number>;
}

/** The thresholds of an analysis. */
export interface Criteria {
	/** τ: an activation is an outlier if |x| > τ · mean|x|, a weight if |w| > τ · mean|row| (paper §3). */
	tau: number;
	/** ρ: a key is an attention outlier if its cumulative attention ≥ ρ of its head's sum. */
	attentionShare: number;
	/** Limits that no data can exceed: a test whose limit is below τ can never fire. */
	reachability: Reachability[];
}

/** Whether a test can reach τ at all: for N non-negative numbers max/mean ≤ N. */
export interface Reachability {
	/** Which test, such as `"weights.down"`, `"hiddenState"` or `"attention"`. */
	test: string;
	/** The largest ratio that the test's statistic can take. */
	limit: number;
	/** Whether `limit` exceeds τ. */
	reachable: boolean;
}

/** One analyzed token sequence. */
export interface AnalyzedSequence {
	/** Where the text came from: `"text"`, `"paper sentence"`, `"default text"`, or a file's base name. */
	source: string;
	/** Token ids, length T. */
	tokenIds: number[];
	/** Text of each token, aligned with `tokenIds`. */
	tokenTexts: string[];
}

/** Where a value stands. */
export interface ActivationValue {
	/** The signed value. */
	value: number;
	/** Token position in its sequence. */
	token: number;
	/** Feature (channel) index. */
	feature: number;
}

/** The largest |value| of one feature over all tokens of a sequence. */
export interface FeatureMaximum {
	/** Feature (channel) index. */
	feature: number;
	/** The largest absolute value. */
	value: number;
	/** The token position that has it. */
	token: number;
}

/** Statistics of one activation tensor [T, C] of one layer and one sequence. */
export interface ActivationStatistics {
	/** Index into `Analysis.sequences`. */
	sequence: number;
	/** Of a mixture of experts: which one, whose statistics are over the tokens that it got. */
	expert?: number;
	/** mean|x| over all T · C entries. */
	mean: number;
	/** Lower median of |x| over all T · C entries. */
	median: number;
	/** The largest entries by absolute value, descending. */
	top: ActivationValue[];
	/** How many entries have |x| > τ · mean|x|. */
	outlierCount: number;
	/** Those entries, descending by |x|; at most the 256 largest. */
	outliers: ActivationValue[];
	/** max|x| over features for each of the first 64 tokens at most. */
	tokenMaxima: number[];
	/** The features with the largest max|x| over tokens, descending. */
	topFeatures: FeatureMaximum[];
}

/** The same statistics for every layer of a model. */
export interface ActivationAnalysis {
	/** One entry a layer, in order. */
	layers: { layer: number; sequences: ActivationStatistics[] }[];
}

/** The projections (linear maps) of a layer whose weights are analyzed. */
export type Projection = "query" | "key" | "value" | "output" | "gate" | "up" | "down";

/** One weight, with its ratio to its row's mean. */
export interface WeightValue {
	/** The signed weight. */
	value: number;
	/** Output feature (row). */
	row: number;
	/** Input feature (column). */
	column: number;
	/** |value| / mean|row|. */
	ratio: number;
}

/** A row or a column of a weight matrix with its extremal ratio max|w| / mean|w|. */
export interface WeightRatio {
	/** Row or column index. */
	index: number;
	/** max|w| / mean|w| along it. */
	ratio: number;
}

/** Statistics of one weight matrix W [out, in]. */
export interface WeightAnalysis {
	/** Layer, 1-based. */
	layer: number;
	/** Which projection. */
	projection: Projection;
	/** Of a mixture of experts: which one's. */
	expert?: number;
	/** [out, in]. */
	shape: [number, number];
	/** mean|w| over the whole matrix. */
	mean: number;
	/** The largest weights by |w| / mean|row|, descending. */
	top: WeightValue[];
	/** How many weights have |w| > τ · mean|row|. */
	outlierCount: number;
	/** Those weights, descending by ratio; at most the 256 largest. */
	outliers: WeightValue[];
	/** The rows with the largest max/mean, descending. */
	topRows: WeightRatio[];
	/** The columns with the largest max/mean, descending (the paper's §3.2, Fig. 5). */
	topColumns: WeightRatio[];
	/** Lower median over columns of max/mean. */
	medianColumnRatio: number;
}

/** A key position with its cumulative attention Â_j = Σ_i A[i, j]. */
export interface CumulativeAttention {
	/** Key position. */
	token: number;
	/** Â_j, between 0 and T - j. */
	value: number;
	/** Â_j / Σ_j Â_j, between 0 and 1. */
	share: number;
}

/** Cumulative attention of one head. */
export interface HeadAttention {
	/** Head index. */
	head: number;
	/** The keys with the largest Â_j, descending. */
	top: CumulativeAttention[];
	/** Lower median of Â_j over keys. */
	median: number;
	/** Keys with Â_j ≥ ρ · Σ_j Â_j (the spec's default), descending. */
	outliers: CumulativeAttention[];
	/** Number of keys with Â_j > τ · mean_j Â_j (the paper's literal definition). */
	tauOutlierCount: number;
}

/** Cumulative attention of one layer and one sequence. */
export interface AttentionAnalysis {
	/** Layer, 1-based. */
	layer: number;
	/** Index into `Analysis.sequences`. */
	sequence: number;
	/** One entry a head. */
	heads: HeadAttention[];
	/** The same for the mean over heads. */
	mean: Omit<HeadAttention, "head">;
	/** Head-mean share Â_j / Σ_j Â_j of each of the first 64 tokens at most. */
	tokenShares: number[];
}

/** Class of a token in the sense of the paper: by position, else by text. */
export type TokenClass = "initial token" | "strong delimiter" | "weak semantic" | "other";

/** What an activation analysis amounts to. */
export interface ActivationSummary {
	/** Layers with at least one outlier by τ, 1-based. */
	layers: number[];
	/** The first of them, or null. */
	firstLayer: number | null;
	/** The last of them, or null. */
	lastLayer: number | null;
	/** Features with an outlier, by number of (layer, sequence) pairs, descending. */
	features: { feature: number; count: number }[];
	/** Tokens with an outlier: how many (sequence, position) pairs of each class. */
	tokenClasses: Record<TokenClass, number>;
	/** Tokens with an outlier, by number of layers, descending; at most 64. */
	tokens: { sequence: number; token: number; id: number; text: string; layers: number }[];
	/** The largest |x| / mean|x| of any layer and sequence, and where it stands. */
	largestRatio: {
		ratio: number;
		value: number;
		layer: number;
		sequence: number;
		token: number;
		feature: number;
	};
}

/** The findings of an analysis. */
export interface Summary {
	/** Of the hidden states. */
	hiddenState: ActivationSummary;
	/** Of the down-projection inputs. */
	downInput: ActivationSummary;
	/** Of the weights. */
	weights: {
		/** Number of outliers by τ over all layers and projections. */
		outlierCount: number;
		/** The largest |w| / mean|row| and where it stands. */
		largestRowRatio: WeightValue & { layer: number; projection: Projection };
		/** The largest column max/mean of a down projection and where it stands. */
		largestDownColumnRatio: WeightRatio & { layer: number };
	};
	/** Of the attention. */
	attention: {
		/**
		 * How many sequences are long enough for the test by ρ: in shorter ones even uniform attention
		 * gives the first key a share of ρ. Only these count in `layers`, `headFraction` and `tokenClasses`.
		 */
		sequences: number;
		/** Layers in which some head has an outlier key by ρ. */
		layers: number[];
		/** Share of (layer, sequence, head) triples with an outlier key by ρ. */
		headFraction: number;
		/** Outlier keys: how many (sequence, position) pairs of each class. */
		tokenClasses: Record<TokenClass, number>;
		/** The head with the largest share on one key, and where; of the sequences above, if there are any. */
		largestShare: { share: number; layer: number; sequence: number; head: number; token: number };
	};
}
