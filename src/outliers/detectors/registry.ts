// Detectors by name, for command lines.

import { attentionShare } from "./attention_share.ts";
import type { Detector } from "./detector.ts";
import { kurtosis } from "./kurtosis.ts";
import { massiveActivations } from "./massive_activations.ts";
import { maxInfNorm } from "./max_inf_norm.ts";
import { maxMedian } from "./max_median.ts";
import { meanRatio } from "./mean_ratio.ts";
import { outlierFeatures } from "./outlier_features.ts";
import { medianDeviation, quantileRatio } from "./robust.ts";
import { rowRatio } from "./row_ratio.ts";
import { sinkRate } from "./sink_rate.ts";
import { superWeights } from "./super_weights.ts";
import { valueDrain } from "./value_drain.ts";

/** Every detector of this library, with its default options, by name. */
export const detectors: Readonly<Record<string, () => Detector>> = {
	"mean-ratio": meanRatio,
	"mean-ratio-down": () => meanRatio({ tap: "layers.*.mlp.down.input" }),
	"row-ratio": rowRatio,
	"attention-share": attentionShare,
	"massive-activations": massiveActivations,
	"llm-int8": outlierFeatures,
	"sink-rate": sinkRate,
	"value-drain": valueDrain,
	"super-weights": superWeights,
	"kurtosis-qualcomm": () => kurtosis("qualcomm"),
	"kurtosis-osp": () => kurtosis("osp"),
	"kurtosis-he": () => kurtosis("he"),
	"max-inf-norm": maxInfNorm,
	"max-median": maxMedian,
	"quantile": quantileRatio,
	"mad": medianDeviation,
};

/**
 * The detector of that name.
 *
 * @throws {RangeError} if there is none; the error lists those there are
 */
export function detectorNamed(name: string): Detector {
	if (!Object.hasOwn(detectors, name)) {
		throw new RangeError(
			`Cannot use detector "${name}": there are ${Object.keys(detectors).join(", ")}`,
		);
	}
	return detectors[name]!();
}
