// The paper's criterion for activations.

import type { Detector } from "./detector.ts";
import { entryDetector, HIDDEN_STATES } from "./entries.ts";

/** Options of {@linkcode meanRatio}. */
export interface MeanRatioOptions {
	/** τ: how many times the mean an outlier exceeds. @default {1000} */
	tau?: number;
	/** The activations, such as `"layers.*.mlp.down.input"`. @default {"layers.*.output"} */
	tap?: string;
}

/**
 * Activation outliers ("Systematic Outliers in Large Language Models", 2025, section 3.1): |x| > τ · mean|x|, the mean
 * over all entries of a layer and sequence.
 */
export function meanRatio({ tau = 1000, tap = HIDDEN_STATES }: MeanRatioOptions = {}): Detector {
	return entryDetector({
		name: tap === HIDDEN_STATES ? "mean-ratio" : "mean-ratio-down",
		definition:
			`|x| > ${tau} * mean|x|, the mean over all entries of ${tap} of a layer and sequence`,
		source: "Systematic Outliers in Large Language Models, 2025, section 3.1",
		thresholds: { tau },
		tap,
		test: ({ value, mean }) => Math.abs(value) > tau * mean,
	});
}
