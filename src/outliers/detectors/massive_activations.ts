// Massive activations.

import type { Detector } from "./detector.ts";
import { entryDetector, HIDDEN_STATES } from "./entries.ts";

/** Options of {@linkcode massiveActivations}. */
export interface MassiveActivationsOptions {
	/** What |x| must exceed. @default {100} */
	absolute?: number;
	/** How many times the median of |x| it must be at least. @default {1000} */
	ratio?: number;
	/** The activations. @default {"layers.*.output"} */
	tap?: string;
}

/**
 * Massive activations (Sun et al. 2024, "Massive Activations in Large Language Models"): |x| > 100 and at least 1000
 * times the median of |x| of its hidden state, a layer and sequence at a time. The 100 depends on the scale of a model:
 * small ones fail it with peaks as striking.
 */
export function massiveActivations(
	{ absolute = 100, ratio = 1000, tap = HIDDEN_STATES }: MassiveActivationsOptions = {},
): Detector {
	return entryDetector({
		name: "massive-activations",
		definition:
			`|x| > ${absolute} and |x| >= ${ratio} * median|x|, the median over all entries of ` +
			`${tap} of a layer and sequence`,
		source: "Sun et al. 2024, Massive Activations in Large Language Models",
		thresholds: { absolute, ratio },
		tap,
		over: "median",
		test: ({ value, median }) => Math.abs(value) > absolute && Math.abs(value) >= ratio * median,
	});
}
