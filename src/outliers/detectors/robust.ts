// Criteria of robust statistics: the median absolute deviation, and a high quantile.

import { abs, greater, median, quantile, scope, sub, type Tensor } from "../../tensor/mod.ts";
import { checkFinite, type Entry, magnitudes } from "../magnitudes.ts";
import { defineDetector, type Detector } from "./detector.ts";
import { HIDDEN_STATES, withExperts } from "./entries.ts";
import { countTrue, place, queue, take } from "./reductions.ts";

/** The standard deviation of normally distributed values over their median absolute deviation. */
const NORMAL = 1.4826;

/** A criterion |x - center| > factor · scale, with a center and a scale that are computed on the device. */
function robust(
	parts: Pick<
		Parameters<typeof defineDetector>[0],
		"name" | "definition" | "source" | "thresholds"
	>,
	tap: string,
	factor: number,
	ratioName: string,
	measure: (x: Tensor<"float32", 2>) => {
		center: Tensor<"float32", 0> | null;
		scale: Tensor<"float32", 0>;
	},
): Detector {
	return defineDetector({
		...parts,
		statistic: { name: ratioName, of: "largest" },
		watch: (_model, record) => ({
			taps: withExperts(tap),
			receive(tensor, { sequence, positions }, site) {
				const x = tensor as Tensor<"float32", 2>;
				const { center, scale, distances } = scope(() => {
					const { center, scale } = measure(x);
					return { center, scale, distances: center ? sub(x, center) : x };
				});
				const pending = magnitudes(distances, 1);
				const read = queue(() => [
					...center ? [center] : [],
					scale,
					countTrue(greater(abs(distances), scale.mul(factor))),
				]);
				for (const tensor of [center, scale]) tensor?.dispose();
				if (distances !== x) distances.dispose();
				return () => {
					const found = pending.read(), numbers = read().map(([number]) => number!);
					const count = numbers.at(-1)!, scale = numbers.at(-2)!, center = numbers.at(-3) ?? 0;
					checkFinite(found, `${site.site} of sequence ${sequence}`);
					if (!(scale > 0)) {
						record.note(
							"Tensors of which more than half of the entries are equal have no scale and " +
								"were left out",
						);
						return;
					}
					const ratio = ({ value }: Entry) => Math.abs(value) / scale;
					record.measure({ ...site, value: ratio(found.largest[0]!) });
					const limit = Math.fround(scale * Math.fround(factor));
					const { entries } = take(found, ({ value }) => Math.abs(value) > limit);
					const findings = entries.map((entry) => ({
						...site,
						...place(entry, positions),
						value: Math.fround(entry.value + center),
						ratio: ratio(entry),
					}));
					record.flag(findings, count);
				};
			},
		}),
	});
}

/** Options of {@linkcode medianDeviation}. */
export interface MedianDeviationOptions {
	/** k: how many robust standard deviations an outlier is away. @default {3.5} */
	factor?: number;
	/** The activations. @default {"layers.*.output"} */
	tap?: string;
}

/**
 * The modified z-score (Iglewicz and Hoaglin 1993): |x - median(x)| > k · 1.4826 · MAD, MAD being the median of
 * |x - median(x)|. Made for small samples: of normally distributed values k = 3.5 takes 1 in 2150. It sorts each tensor
 * twice, which makes it the slowest of the detectors.
 */
export function medianDeviation(
	{ factor = 3.5, tap = HIDDEN_STATES }: MedianDeviationOptions = {},
): Detector {
	return robust(
		{
			name: "mad",
			definition:
				`|x - median(x)| > ${factor} * ${NORMAL} * MAD, MAD = median|x - median(x)|, over all ` +
				`entries of ${tap} of a layer and sequence`,
			source: "Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers",
			thresholds: { factor },
		},
		tap,
		factor,
		"max|x - median(x)| / (1.4826 * MAD)",
		(x) => {
			const center = median(x);
			return { center, scale: median(abs(sub(x, center))).mul(NORMAL) };
		},
	);
}

/** Options of {@linkcode quantileRatio}. */
export interface QuantileRatioOptions {
	/** q: which quantile of |x| is taken for the usual size of large values. @default {0.999} */
	quantile?: number;
	/** How many times that an outlier exceeds. @default {5} */
	factor?: number;
	/** The activations. @default {"layers.*.output"} */
	tap?: string;
}

/**
 * A quantile as a yardstick: |x| > factor · the q-quantile of |x|. (Above the quantile itself there is always the same
 * share of values, outliers or not.) Of normally distributed values the 0.999-quantile is 3.3 standard deviations, and
 * five times that never happens. It sorts each tensor.
 */
export function quantileRatio(
	{ quantile: q = 0.999, factor = 5, tap = HIDDEN_STATES }: QuantileRatioOptions = {},
): Detector {
	if (!(q > 0 && q < 1)) {
		throw new RangeError(`Cannot use ${q} as quantile: it must be between 0 and 1`);
	}
	return robust(
		{
			name: "quantile",
			definition:
				`|x| > ${factor} * Q_${q}(|x|), the quantile over all entries of ${tap} of a layer and ` +
				"sequence, interpolated linearly",
			source: "Outlierscope",
			thresholds: { quantile: q, factor },
		},
		tap,
		factor,
		`max|x| / Q_${q}(|x|)`,
		(x) => ({ center: null, scale: quantile(abs(x), q) }),
	);
}
