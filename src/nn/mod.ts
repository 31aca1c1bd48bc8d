// What users import of models and their training alone.
/**
 * Models alone: Transformers that are loaded from checkpoints or built with any attention, what they compute on the
 * way, and their training.
 *
 * @example A model with another attention
 * ```ts
 * import { gpt2, softmaxN } from "jsr:@outlierscope/outlierscope/nn";
 *
 * using model = await gpt2({
 *   layers: 1,
 *   heads: 2,
 *   hiddenSize: 16,
 *   vocabularySize: 32,
 *   contextLength: 8,
 *   attention: softmaxN(),
 * });
 * const [h] = await model.forward([[3, 1, 4]]);
 * console.log(h!.shape); // [ 3, 16 ]
 * h!.dispose();
 * ```
 *
 * @module
 */

export { type MlpActivation, type Positions, type TransformerConfig } from "./config.ts";
export {
	type ForwardOptions,
	type LossOptions as ModelLossOptions,
	Transformer,
	type TransformerParts,
} from "./transformer.ts";
export {
	type Attention,
	type AttentionInputs,
	type AttentionParameters,
	type AttentionSizes,
} from "./attention/attention.ts";
export { attentionBias } from "./attention/attention_bias.ts";
export { clippedSoftmax, type ClippedSoftmaxOptions } from "./attention/clipped_softmax.ts";
export { contextBias } from "./attention/context_bias.ts";
export {
	contextScaling,
	type ContextScalingOptions,
	type ScalingMap,
} from "./attention/context_scaling.ts";
export { fixedBias } from "./attention/fixed_bias.ts";
export { gatedOutput, type GatedOutputOptions } from "./attention/gated_output.ts";
export { keyBias } from "./attention/key_bias.ts";
export { learnedSink } from "./attention/learned_sink.ts";
export { qwenGate } from "./attention/qwen_gate.ts";
export { attentionNamed, attentions } from "./attention/registry.ts";
export { type SigmoidOptions, sigmoidVariant } from "./attention/sigmoid.ts";
export { softmaxVariant } from "./attention/softmax.ts";
export {
	type AttentionDropout,
	type AttentionOptions,
	type AttentionResult,
	type Heads,
	softmaxAttention,
	softmaxAttentionWithSums,
	weightedAttention,
	type Weighting,
} from "./attention/softmax_attention.ts";
export { softmaxN } from "./attention/softmax_n.ts";
export { softpick } from "./attention/softpick.ts";
export { valueBias } from "./attention/value_bias.ts";
export { valueGate } from "./attention/value_gate.ts";
export { type Initialization, type ParameterSpec } from "./parameters.ts";
export { type BuildOptions } from "./build.ts";
export { gpt2, type Gpt2Options } from "./models/gpt2.ts";
export { llama, type LlamaOptions } from "./models/llama.ts";
export { type Weights } from "./weights.ts";
export { type WeightSet } from "./weight_set.ts";
export { generate, type GenerateOptions } from "./generate.ts";
export { saveModel, type SaveModelOptions } from "./save.ts";
export { KeyValueCache } from "./key_value_cache.ts";
export { type GenerationDefaults, type SamplingOptions } from "./sampling.ts";
export { type Perplexity, perplexity, type PerplexityOptions } from "./perplexity.ts";
export { changeWeights, type WeightChange } from "./changed_weights.ts";
export { loadModel, type LoadOptions } from "./load.ts";
export { type Probe, type Probes, type TapContext } from "./probe.ts";
export { AdamW, type AdamWOptions } from "./optim/adamw.ts";
export { GradientNorm, type GradientVerdict } from "./optim/clip.ts";
export { Muon, type MuonOptions, orthogonalize, type OrthogonalizeOptions } from "./optim/muon.ts";
export {
	type DecayOptions,
	type Optimizer,
	type Parameters,
	zeroGradients,
} from "./optim/optimizer.ts";
export {
	constant,
	cosine,
	type DecayingOptions,
	type Schedule,
	type WarmUpOptions,
	warmUpStableDecay,
	type WarmUpStableDecayOptions,
} from "./optim/schedule.ts";
export { Sgd, type SgdOptions } from "./optim/sgd.ts";
export {
	CheckpointError,
	type CheckpointFile,
	CheckpointFolder,
	loadCheckpoint,
	type Trained,
	type TrainingState,
} from "./training/checkpoint.ts";
export {
	type DataSource,
	randomWindows,
	type Split,
	tokenizeFile,
	type TokenizeOptions,
	tokenList,
	type Tokens,
	type WindowOptions,
} from "./training/data.ts";
export { TrainingError } from "./training/failure.ts";
export { type LivePage, serveLog, type ServeLogOptions } from "./training/live_page.ts";
export {
	describeProgress,
	type LogRecord,
	readLog,
	TrainingLog,
	type TrainingProgress,
} from "./training/log.ts";
export { copyTask, inductionTask, type SyntheticTask, type TaskOptions } from "./training/tasks.ts";
export { type Trainable, type TrainableLossOptions } from "./training/trainable.ts";
export { train, type TrainingResult, type TrainOptions, type Watch } from "./training/trainer.ts";
