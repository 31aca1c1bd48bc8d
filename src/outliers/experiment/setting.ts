// What one experiment holds fixed while the attention changes, and presets of it that are known to show something.

import {
	type Attention,
	cosine,
	gpt2,
	llama,
	type Schedule,
	type Transformer,
} from "../../nn/mod.ts";

/** Everything about a training run but its attention and its seed. */
export interface ExperimentSetting {
	/** GPT-2 as the paper trains it, or a LLaMA (the paper's Figure 24). */
	architecture: "gpt2" | "llama";
	/** L */
	layers: number;
	/** n */
	heads: number;
	/** H */
	hiddenSize: number;
	/** T, of training too. */
	contextLength: number;
	/** V */
	vocabularySize: number;
	/** Whether the output matrix is the embedding. */
	tied: boolean;
	/** Updates. */
	steps: number;
	/** Sequences of a batch. */
	batchSize: number;
	/** Batches of an update. */
	accumulation: number;
	/** The highest learning rate. */
	learningRate: number;
	/** Share of it that is left at the end of the cosine. */
	leftRate: number;
	/** Updates over which it rises. */
	warmUp: number;
	/** Updates over which it falls, if not all of them: the paper reads its models off a longer run. */
	decaySteps: number | null;
	/** Of matrices. */
	weightDecay: number;
	/** Type of the inputs of matrix products while training; results are measured in float32. */
	dtype: "float32" | "bfloat16";
	/** Measurements over the run, beside the one at its beginning. */
	measurements: number;
	/** Validation sequences of a measurement; losses take four times as many. */
	sequences: number;
}

const SYNTHETIC = {
	architecture: "gpt2",
	hiddenSize: 128,
	vocabularySize: 64,
	tied: false,
	accumulation: 1,
	learningRate: 2e-3,
	warmUp: 100,
	decaySteps: null,
	weightDecay: 0.1,
	dtype: "bfloat16",
	measurements: 20,
	sequences: 16,
} as const;

/** Settings that are known to show something, by the time that they take. */
export const experimentPresets: Readonly<Record<ExperimentPreset, ExperimentSetting>> = {
	copy: {
		...SYNTHETIC,
		layers: 1,
		heads: 1,
		contextLength: 128,
		steps: 1000,
		batchSize: 16,
		leftRate: 0.1,
	},
	induction: {
		...SYNTHETIC,
		layers: 3,
		heads: 4,
		contextLength: 64,
		steps: 4000,
		batchSize: 32,
		leftRate: 0.3,
	},
	small: {
		...SYNTHETIC,
		layers: 4,
		heads: 4,
		contextLength: 256,
		vocabularySize: 2048,
		tied: true,
		steps: 20_000,
		batchSize: 8,
		learningRate: 3e-3,
		leftRate: 0.2,
		measurements: 40,
	},
	gpt2: {
		architecture: "gpt2",
		layers: 12,
		heads: 12,
		hiddenSize: 768,
		contextLength: 1024,
		vocabularySize: 50_304,
		tied: true,
		steps: 50_000,
		batchSize: 12,
		accumulation: 40,
		learningRate: 6e-4,
		leftRate: 0.1,
		warmUp: 2000,
		decaySteps: 600_000,
		weightDecay: 0.1,
		dtype: "bfloat16",
		measurements: 50,
		sequences: 8,
	},
};

/** Names of the presets. */
export type ExperimentPreset = "copy" | "induction" | "small" | "gpt2";

/** The learning rates of a setting. */
export function scheduleOf(setting: ExperimentSetting): Schedule {
	const { learningRate: peak, leftRate, steps, decaySteps } = setting;
	return cosine({
		peak,
		warmUp: Math.min(setting.warmUp, Math.ceil(steps / 10)),
		steps: decaySteps ?? steps,
		minimum: peak * leftRate,
	});
}

/** A model of a setting with random parameters; those of the same seed differ in the attention's own alone. */
export function buildModel(
	setting: ExperimentSetting,
	attention: Attention,
	seed: number,
): Promise<Transformer> {
	const { architecture, layers, heads, hiddenSize, vocabularySize, contextLength, tied } = setting;
	const common = {
		layers,
		heads,
		hiddenSize,
		vocabularySize,
		contextLength,
		tied,
		attention,
		seed,
	};
	if (architecture === "gpt2") return gpt2(common);
	const intermediateSize = 8 * Math.round(hiddenSize / 3);
	return llama({ ...common, keyValueHeads: heads, intermediateSize });
}
