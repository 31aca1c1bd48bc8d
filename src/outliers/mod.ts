// What users import of the analyses alone.
/**
 * The analyses: where outliers are, how they come about and vanish, what they do, which attention causes them, and
 * reports of it. Models come from `./nn`.
 *
 * @example What counts as an outlier
 * ```ts
 * import { definitionOf } from "jsr:@outlierscope/outlierscope/outliers";
 *
 * console.log(definitionOf({ tau: 500 }).tau); // 500
 * ```
 *
 * @module
 */

export * from "./analysis.ts";
export { ACTIVATION_TAPS, ActivationOutlierProbe } from "./activation_outliers.ts";
export { AttentionOutlierProbe } from "./attention_outliers.ts";
export { type AbsmaxOptions, type AbsmaxReport, absmaxW8 } from "./compression/absmax.ts";
export {
	type Compressed,
	type CompressibleWeights,
	type MatrixOptions,
	type MatrixReport,
} from "./compression/matrices.ts";
export { pruneMagnitude, type PruneOptions } from "./compression/prune.ts";
export * from "./existence.ts";
export { EmergenceWatch, type LayerEmergence, type Peak, type Sink } from "./emergence.ts";
export * from "./compare_models.ts";
export * from "./consistency.ts";
export * from "./definitions.ts";
export {
	type AtEqualLoss,
	compareAttentions,
	type CompareOptions,
	type CompareProgress,
	type CompareResults,
} from "./experiment/experiment.ts";
export {
	type DownRatio,
	type PieceResult,
	type SentenceMap,
	type StepMeasurement,
} from "./experiment/piece.ts";
export { writeComparison } from "./experiment/write.ts";
export { type CompressionLoss } from "./experiment/compress.ts";
export {
	type ExperimentPreset,
	experimentPresets,
	type ExperimentSetting,
} from "./experiment/setting.ts";
export {
	EvidenceWatch,
	type HeadlineNumbers,
	type HeadSink,
	type LayerEvidence,
	type PlacePeak,
} from "./experiment/watch.ts";
export { detectOutliers, type DetectOutliersOptions } from "./detect.ts";
export * from "./positions/activations.ts";
export {
	type AttentionPositions,
	AttentionPositionsProbe,
	type LayerAttention,
} from "./positions/attention.ts";
export * from "./positions/find_positions.ts";
export * from "./positions/heads.ts";
export { type Spread } from "./positions/spread.ts";
export {
	type Appearance,
	type RankedToken,
	type SequenceTokens,
	type TokenPositions,
} from "./positions/tokens.ts";
export * from "./positions/weights.ts";
export { type Sight } from "./outlier_sets.ts";
export * from "./sequence_length.ts";
export * from "./sampling.ts";
export {
	cutSequences,
	DEFAULT_TEXT,
	type GivenSequence,
	PAPER_SENTENCE,
	type SourceText,
	type SourceTokens,
} from "./sequences.ts";
export { tokenClass } from "./token_class.ts";
export { WeightOutlierProbe } from "./weight_outliers.ts";
export { attentionShare } from "./detectors/attention_share.ts";
export {
	defineDetector,
	type Detection,
	type Detector,
	type DetectorParts,
	type Finding,
	type Measurement,
	runDetectors,
	type Site,
	type Taken,
	type Watcher,
} from "./detectors/detector.ts";
export { type EntryCriterion, entryDetector, type JudgedEntry } from "./detectors/entries.ts";
export { kurtosis, type KurtosisKind } from "./detectors/kurtosis.ts";
export {
	massiveActivations,
	type MassiveActivationsOptions,
} from "./detectors/massive_activations.ts";
export { maxInfNorm } from "./detectors/max_inf_norm.ts";
export { maxMedian } from "./detectors/max_median.ts";
export { meanRatio, type MeanRatioOptions } from "./detectors/mean_ratio.ts";
export { outlierFeatures, type OutlierFeaturesOptions } from "./detectors/outlier_features.ts";
export { detectorNamed, detectors } from "./detectors/registry.ts";
export {
	medianDeviation,
	type MedianDeviationOptions,
	quantileRatio,
	type QuantileRatioOptions,
} from "./detectors/robust.ts";
export { rowRatio } from "./detectors/row_ratio.ts";
export { sinkRate, type SinkRateOptions } from "./detectors/sink_rate.ts";
export { superWeights, type SuperWeightsOptions } from "./detectors/super_weights.ts";
export { valueDrain, type ValueDrainOptions } from "./detectors/value_drain.ts";
export {
	type Headline,
	headline,
	type HeadlineOptions,
	HeadlineProbe,
	type HeadlineThresholds,
	type LayerHeadline,
} from "./headline.ts";
export {
	type Fingerprint,
	hashSequences,
	type Manifest,
	manifestOf,
	type ManifestOptions,
	type UsedDefinition,
} from "./manifest.ts";
export {
	type AgainstChance,
	type Chance,
	compareWithNulls,
	NULL_DEFINITIONS,
	type NullComparison,
	type NullKind,
	nullModel,
	type NullOptions,
	type NullResult,
	runWithNulls,
} from "./nulls.ts";
export { type AnalysisProbe, type PassOptions, type ResultsOf, runAnalyses } from "./pass.ts";
export {
	ablate,
	type AblateOptions,
	type Ablation,
	type Condition,
} from "./interventions/ablate.ts";
export {
	DownstreamProbe,
	type LayerDownstream,
	type PeakSpread,
} from "./interventions/downstream.ts";
export { type Intervention, type Replacement } from "./interventions/selection.ts";
export { type Estimate, estimateOf } from "./interventions/estimate.ts";
export {
	type Alignment,
	alignmentOf,
	type DimensionGap,
	type HeadVectors,
} from "./lifecycle/alignment.ts";
export {
	type LayerPeak,
	type Ledger,
	type LedgerEntry,
	type LedgerLayer,
	type Opposition,
	traceLedger,
	type TraceOptions,
} from "./lifecycle/ledger.ts";
export {
	type FeatureTrace,
	type MlpTrace,
	type NeuronContribution,
	type NeuronInput,
	type NeuronTrace,
} from "./lifecycle/mlp_parts.ts";
export { type Surface } from "./lifecycle/surface.ts";
export {
	type CauseLink,
	type CauseNumbers,
	type Causes,
	type CausesOptions,
	traceCauses,
} from "./lifecycle/trace_causes.ts";
export {
	type Disappearance,
	type Emergence,
	type MlpTraceOptions,
	traceDisappearance,
	traceEmergence,
} from "./lifecycle/trace_mlp_layers.ts";
export {
	type AttentionTrace,
	type HeadSpread,
	type SpreadOptions,
	type SpreadToken,
	type SpreadTrace,
	traceSpread,
} from "./lifecycle/trace_spread.ts";
export {
	type Beside,
	type Laboratory,
	LABORATORY_ANALYSES,
	type LaboratoryAnalysis,
	type LaboratoryOptions,
	type LaboratoryRecord,
	type LaboratoryResults,
	runLaboratory,
} from "./laboratory.ts";
export { type Figure, renderFigures } from "./report/figures.ts";
export { renderPage } from "./report/page.ts";
export { show, type Showable, Shown, type ShownRow, type ShowOptions } from "./report/show.ts";
export { prepareDirectory, writeReport } from "./report/write.ts";
export { renderLaboratory } from "./report/laboratory_page.ts";
export { readLaboratory, writeLaboratory, writeRecord } from "./report/write_laboratory.ts";
