// Criteria that compare entries of an activation with a statistic of the whole tensor.

import type { Entry } from "../magnitudes.ts";
import { checkFinite, magnitudes } from "../magnitudes.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { defineDetector, type Detector } from "./detector.ts";
import { place, take } from "./reductions.ts";

/** The hidden states, the outputs of the layers. */
export const HIDDEN_STATES = "layers.*.output";

/** The same tap of every expert, where a layer is a mixture. */
export const withExperts = (tap: string): string[] => [
	...new Set([tap, tap.replace(".mlp.", ".mlp.experts.*.")]),
];

/** An entry of an activation with what it may be compared with. */
export interface JudgedEntry {
	/** The signed value. */
	value: number;
	/** mean|x| of the tensor. */
	mean: number;
	/** Lower median of |x| of the tensor. */
	median: number;
	/** Layer, 0-based. */
	layer: number;
	/** Index of the sequence. */
	sequence: number;
	/** Token position, 0-based. */
	token: number;
	/** Feature, 0-based. */
	feature: number;
	/** The tap. */
	site: string;
}

/** What a criterion by entries is made of. */
export interface EntryCriterion {
	/** What it is called. */
	name: string;
	/** The criterion, in words and formulas. */
	definition: string;
	/** Who proposed it. @default {"the user"} */
	source?: string;
	/** Its thresholds, for the result. */
	thresholds?: Readonly<Record<string, number>>;
	/** The activations that it looks at. @default {"layers.*.output"} */
	tap?: string;
	/** What |x| is divided by for the number free of scale. @default {"mean"} */
	over?: "mean" | "median";
	/** Whether an entry is an outlier. */
	test: (entry: JudgedEntry) => boolean;
}

/**
 * A criterion of one's own, as a function of an entry: it is asked about the 256 largest entries of each tensor, for
 * no more is read from the device.
 *
 * @example Features above 30 that are no first token's
 * ```ts ignore
 * const mine = entryDetector({
 *   name: "late-and-large",
 *   definition: "|x| > 30, not of token 0",
 *   test: ({ value, token }) => Math.abs(value) > 30 && token > 0,
 * });
 * ```
 */
export function entryDetector(criterion: EntryCriterion): Detector {
	const { name, definition, source = "the user", thresholds = {}, test } = criterion;
	const { tap = HIDDEN_STATES, over = "mean" } = criterion;
	return defineDetector({
		name,
		definition,
		source,
		thresholds,
		statistic: { name: `max|x| / ${over}|x|`, of: "largest" },
		watch: (_model, record) => ({
			taps: withExperts(tap),
			receive(x, { layer, sequence, positions }, site) {
				const pending = magnitudes(x as Tensor<"float32", 2>, 1);
				return () => {
					const found = pending.read();
					checkFinite(found, `${site.site} of sequence ${sequence}`);
					const { mean, median, largest } = found, base = over === "mean" ? mean : median;
					if (!(base > 0)) {
						record.note(`Tensors whose ${over}|x| is 0 have no ratio and were left out`);
						return;
					}
					record.measure({ ...site, value: Math.abs(largest[0]!.value) / base });
					const judged = (entry: Entry): JudgedEntry => {
						const { token = 0, feature = 0 } = place(entry, positions);
						const { value } = entry;
						return { value, mean, median, layer, sequence, token, feature, site: site.site };
					};
					const { entries, complete } = take(found, (entry) => test(judged(entry)));
					const findings = entries.map((entry) => ({
						...site,
						...place(entry, positions),
						value: entry.value,
						ratio: Math.abs(entry.value) / base,
					}));
					record.flag(findings, findings.length, complete);
				};
			},
		}),
	});
}
