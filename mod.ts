/**
 * Find and explain systematic outliers in Transformers: a few extreme values in weights, activations and
 * attention that occur together, on the same tokens and in the same features.
 *
 * Everything runs on an NVIDIA GPU through the CUDA driver, and where there is none, by the same code, on
 * the CPU.
 *
 * @example Find the outliers of a model
 * ```ts ignore
 * import { detectOutliers, loadModel } from "@outlierscope/outlierscope";
 * using model = await loadModel("model.gguf");
 * const { summary } = await detectOutliers(model, { texts: ["Summer is warm. Winter is cold."] });
 * console.log(summary.hiddenState);
 * ```
 *
 * @module
 */

export { type KernelSource } from "./src/cuda/compile.ts";
export { Device, type DeviceOptions } from "./src/cuda/device.ts";
export { type DeviceInfo } from "./src/cuda/device_list.ts";
export { Event } from "./src/cuda/event.ts";
export { Graph } from "./src/cuda/graph.ts";
export { type Holder } from "./src/cuda/memory.ts";
export { PinnedMemory } from "./src/cuda/pinned_memory.ts";
export { Lanes } from "./src/cuda/lanes.ts";
export { Stream } from "./src/cuda/stream.ts";
export { Kernel } from "./src/cuda/kernel.ts";
export {
  type KernelParameter,
  type KernelSignature,
  type ParameterKind,
} from "./src/cuda/kernel_source.ts";
export { CompileError, CudaError, type OutOfMemory, OutOfMemoryError } from "./src/cuda/errors.ts";
export { LibraryError } from "./src/ffi/libraries.ts";
export { HostBuildError } from "./src/host/build.ts";
export { GgufError, GgufFile, type GgufTensor, type GgufValue } from "./src/formats/gguf.ts";
export { type BlockType } from "./src/formats/gguf.ts";
export {
  type DownloadProgress,
  HubError,
  resolveModel,
  type ResolveModelOptions,
} from "./src/formats/hub.ts";
export {
  Safetensors,
  SafetensorsError,
  type SafetensorsTensor,
  type SafetensorsType,
  saveSafetensors,
} from "./src/formats/safetensors.ts";
export { Staging } from "./src/formats/staging.ts";
export { type EncodeOptions, type SpecialTokens, type Tokenizer } from "./src/formats/tokenizer.ts";
export { GgufTokenizer } from "./src/formats/gguf_tokenizer.ts";
export { TokenizerError, TokenizerJson } from "./src/formats/tokenizer_json.ts";
export { type Checkpoint, type StoredTensor } from "./src/formats/checkpoint.ts";
export { PyTorchCheckpoint, PyTorchError } from "./src/formats/pytorch_checkpoint.ts";
export { PickledTensor, type PickleValue } from "./src/formats/pickle.ts";
export { FileError } from "./src/formats/file_error.ts";
export {
  TokenFile,
  type TokenFileOptions,
  type TokenFormat,
  writeTokens,
} from "./src/formats/token_file.ts";
export { readTexts, type TextOptions } from "./src/formats/text_file.ts";
export { ConfigError } from "./src/formats/config_json.ts";
export { type MlpActivation, type Positions, type TransformerConfig } from "./src/nn/config.ts";
export {
  type ForwardOptions,
  type LossOptions as ModelLossOptions,
  Transformer,
  type TransformerParts,
} from "./src/nn/transformer.ts";
export {
  type Attention,
  type AttentionInputs,
  type AttentionParameters,
  type AttentionSizes,
} from "./src/nn/attention/attention.ts";
export { attentionBias } from "./src/nn/attention/attention_bias.ts";
export { clippedSoftmax, type ClippedSoftmaxOptions } from "./src/nn/attention/clipped_softmax.ts";
export { contextBias } from "./src/nn/attention/context_bias.ts";
export {
  contextScaling,
  type ContextScalingOptions,
  type ScalingMap,
} from "./src/nn/attention/context_scaling.ts";
export { fixedBias } from "./src/nn/attention/fixed_bias.ts";
export { gatedOutput, type GatedOutputOptions } from "./src/nn/attention/gated_output.ts";
export { keyBias } from "./src/nn/attention/key_bias.ts";
export { learnedSink } from "./src/nn/attention/learned_sink.ts";
export { qwenGate } from "./src/nn/attention/qwen_gate.ts";
export { attentionNamed, attentions } from "./src/nn/attention/registry.ts";
export { type SigmoidOptions, sigmoidVariant } from "./src/nn/attention/sigmoid.ts";
export { softmaxVariant } from "./src/nn/attention/softmax.ts";
export {
  type AttentionDropout,
  type AttentionOptions,
  type AttentionResult,
  type Heads,
  sigmoidAttention,
  softmaxAttention,
  softmaxAttentionWithSums,
} from "./src/nn/attention/softmax_attention.ts";
export { softmaxN } from "./src/nn/attention/softmax_n.ts";
export { softpick } from "./src/nn/attention/softpick.ts";
export { valueBias } from "./src/nn/attention/value_bias.ts";
export { valueGate } from "./src/nn/attention/value_gate.ts";
export { type Initialization, type ParameterSpec } from "./src/nn/parameters.ts";
export { type BuildOptions } from "./src/nn/build.ts";
export { gpt2, type Gpt2Options } from "./src/nn/models/gpt2.ts";
export { llama, type LlamaOptions } from "./src/nn/models/llama.ts";
export { type Weights } from "./src/nn/weights.ts";
export { type WeightSet } from "./src/nn/weight_set.ts";
export { generate, type GenerateOptions } from "./src/nn/generate.ts";
export { saveModel } from "./src/nn/save.ts";
export { KeyValueCache } from "./src/nn/key_value_cache.ts";
export { type SamplingOptions } from "./src/nn/sampling.ts";
export { type Perplexity, perplexity, type PerplexityOptions } from "./src/nn/perplexity.ts";
export { loadModel, type LoadOptions } from "./src/nn/load.ts";
export { type Probe, type Probes, type TapContext } from "./src/nn/probe.ts";
export {
  arange,
  type ArangeOptions,
  type CreateOptions,
  eye,
  full,
  fullLike,
  linspace,
  type NestedNumbers,
  ones,
  onesLike,
  type PlaceOptions,
  type RankOf,
  tensor,
  zeros,
  zerosLike,
} from "./src/tensor/create.ts";
export { type NestedArray, type NestedNumberArray } from "./src/tensor/print.ts";
export * from "./src/tensor/random.ts";
export { type DataOf, type DType, type FloatType } from "./src/tensor/dtype.ts";
export { keep, type Owned, scope } from "./src/tensor/scope.ts";
export { type Shape, Tensor } from "./src/tensor/tensor.ts";
export { type MaxRank, type Minus, type Minus1, type Plus1 } from "./src/tensor/rank.ts";
export { type BackwardOptions } from "./src/tensor/autograd/backward.ts";
export { checkpoint } from "./src/tensor/autograd/checkpoint.ts";
export { type Computed, defineOp, type GradientOf } from "./src/tensor/autograd/define_op.ts";
export {
  grad,
  gradients,
  valueAndGrad,
  type ValueAndGradients,
} from "./src/tensor/autograd/grad.ts";
export {
  type Backward,
  type Edge,
  type GradientHook,
  GraphNode,
} from "./src/tensor/autograd/graph.ts";
export { enableGrad, noGrad } from "./src/tensor/autograd/recording.ts";
export {
  type Activation,
  biasActivation,
  geglu,
  gelu,
  type GeluOptions,
  glu,
  reglu,
  relu,
  silu,
  softplus,
  swiglu,
} from "./src/tensor/activation.ts";
export {
  add,
  addInPlace,
  type Binary,
  div,
  maximum,
  minimum,
  mul,
  mulInPlace,
  type NumberType,
  pow,
  sub,
} from "./src/tensor/arithmetic.ts";
export { cast } from "./src/tensor/cast.ts";
export {
  type ComparedType,
  type Comparison,
  equal,
  greater,
  greaterEqual,
  isFinite,
  isNaN,
  less,
  lessEqual,
  type Logical,
  logicalAnd,
  logicalNot,
  logicalOr,
  notEqual,
} from "./src/tensor/compare.ts";
export { contiguous, copyInto } from "./src/tensor/contiguous.ts";
export {
  abs,
  clamp,
  type ClampOptions,
  cos,
  erf,
  exp,
  expm1,
  floor,
  log,
  log1p,
  neg,
  reciprocal,
  round,
  rsqrt,
  sigmoid,
  sign,
  sin,
  sqrt,
  square,
  tanh,
  type Unary,
} from "./src/tensor/unary.ts";
export { type ChosenType, where } from "./src/tensor/where.ts";
export {
  type Axes,
  type OverAxes,
  type ReducedRank,
  type ReduceOptions,
} from "./src/tensor/axes.ts";
export { cumulativeSum, mean, prod, sum } from "./src/tensor/sums.ts";
export { sumTo } from "./src/tensor/sum_to.ts";
export { all, any, argmax, argmin, type IndexAlong, max, min } from "./src/tensor/extrema.ts";
export {
  logSumExp,
  norm,
  std,
  variance,
  type VarianceOptions,
  type VectorNormOptions,
} from "./src/tensor/moments.ts";
export {
  median,
  quantile,
  sort,
  type Sorted,
  type SortOptions,
  topK,
  type TopKOptions,
} from "./src/tensor/order.ts";
export { logSoftmax, softmax, type SoftmaxOptions } from "./src/tensor/softmax.ts";
export {
  crossEntropy,
  type CrossEntropyOptions,
  type LossReduction,
} from "./src/tensor/cross_entropy.ts";
export {
  embedding,
  gatherRows,
  indexSelect,
  oneHot,
  scatterAdd,
  takeAlongAxis,
} from "./src/tensor/gather.ts";
export { concatenate, pad, type Padding, repeat, split, stack, tile } from "./src/tensor/join.ts";
export {
  binaryCrossEntropyWithLogits,
  klDivergence,
  type LossOptions,
  type LossRank,
  mseLoss,
} from "./src/tensor/losses.ts";
export {
  addLinear,
  linear,
  type LinearOptions,
  type MixedLinearOptions,
  type Rows,
  type Weight,
} from "./src/tensor/linear.ts";
export {
  addLayerNorm,
  addRmsNorm,
  layerNorm,
  type LayerNormOptions,
  type NormOptions,
  rmsNorm,
} from "./src/tensor/norm.ts";
export {
  alibiBias,
  type AlibiBiasOptions,
  alibiSlopes,
  causalMask,
  type CausalMaskOptions,
} from "./src/tensor/masks.ts";
export { rotary, type RotaryAngles, type RotaryOptions } from "./src/tensor/rotary.ts";
export { matmul, type MatmulOptions, type MatmulRank } from "./src/tensor/matmul.ts";
export {
  expand,
  permute,
  reshape,
  slice,
  squeeze,
  transpose,
  unsqueeze,
} from "./src/tensor/views.ts";
export { AdamW, type AdamWOptions } from "./src/nn/optim/adamw.ts";
export { GradientNorm, type GradientVerdict } from "./src/nn/optim/clip.ts";
export {
  Muon,
  type MuonOptions,
  orthogonalize,
  type OrthogonalizeOptions,
} from "./src/nn/optim/muon.ts";
export {
  type DecayOptions,
  type Optimizer,
  type Parameters,
  zeroGradients,
} from "./src/nn/optim/optimizer.ts";
export {
  constant,
  cosine,
  type DecayingOptions,
  type Schedule,
  type WarmUpOptions,
  warmUpStableDecay,
  type WarmUpStableDecayOptions,
} from "./src/nn/optim/schedule.ts";
export { Sgd, type SgdOptions } from "./src/nn/optim/sgd.ts";
export {
  CheckpointError,
  type CheckpointFile,
  CheckpointFolder,
  loadCheckpoint,
  type Trained,
  type TrainingState,
} from "./src/nn/training/checkpoint.ts";
export {
  type DataSource,
  randomWindows,
  type Split,
  tokenizeFile,
  type TokenizeOptions,
  tokenList,
  type Tokens,
  type WindowOptions,
} from "./src/nn/training/data.ts";
export { TrainingError } from "./src/nn/training/failure.ts";
export { type LivePage, serveLog, type ServeLogOptions } from "./src/nn/training/live_page.ts";
export {
  describeProgress,
  type LogRecord,
  readLog,
  TrainingLog,
  type TrainingProgress,
} from "./src/nn/training/log.ts";
export {
  copyTask,
  inductionTask,
  type SyntheticTask,
  type TaskOptions,
} from "./src/nn/training/tasks.ts";
export { type Trainable, type TrainableLossOptions } from "./src/nn/training/trainable.ts";
export {
  train,
  type TrainingResult,
  type TrainOptions,
  type Watch,
} from "./src/nn/training/trainer.ts";
export * from "./src/outliers/analysis.ts";
export { ACTIVATION_TAPS, ActivationOutlierProbe } from "./src/outliers/activation_outliers.ts";
export { AttentionOutlierProbe } from "./src/outliers/attention_outliers.ts";
export {
  type AbsmaxOptions,
  type AbsmaxReport,
  absmaxW8,
} from "./src/outliers/compression/absmax.ts";
export {
  type Compressed,
  type CompressibleWeights,
  type MatrixOptions,
  type MatrixReport,
} from "./src/outliers/compression/matrices.ts";
export { pruneMagnitude, type PruneOptions } from "./src/outliers/compression/prune.ts";
export {
  EmergenceWatch,
  type LayerEmergence,
  type Peak,
  type Sink,
} from "./src/outliers/emergence.ts";
export { detectOutliers, type DetectOutliersOptions } from "./src/outliers/detect.ts";
export {
  DEFAULT_TEXT,
  PAPER_SENTENCE,
  type SourceText,
  type SourceTokens,
} from "./src/outliers/sequences.ts";
export { tokenClass } from "./src/outliers/token_class.ts";
export { WeightOutlierProbe } from "./src/outliers/weight_outliers.ts";
export { type Figure, renderFigures } from "./src/outliers/report/figures.ts";
export { renderPage } from "./src/outliers/report/page.ts";
export { prepareDirectory, writeReport } from "./src/outliers/report/write.ts";
