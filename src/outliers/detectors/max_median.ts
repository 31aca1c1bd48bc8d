// The largest over the median activation of tokens.

import { abs, max, median, type Tensor } from "../../tensor/mod.ts";
import { defineDetector, type Detector } from "./detector.ts";
import { HIDDEN_STATES, withExperts } from "./entries.ts";
import { queue, requireFinite } from "./reductions.ts";

/**
 * The ratio of maximum to median (He et al. 2024, "Understanding and Minimising Outlier Features in Neural Network
 * Training"): max_j|x_tj| / median_j|x_tj| of each token t, its mean over tokens. Meaningless of x_down behind an
 * activation that is next to 0 for half of the features. Medians are the lower of two.
 *
 * @param tap the activations, by default `"layers.*.output"`
 */
export function maxMedian({ tap = HIDDEN_STATES }: { tap?: string } = {}): Detector {
	return defineDetector({
		name: "max-median",
		definition:
			`mean over tokens t of max_j|x_tj| / median_j|x_tj|, x being ${tap} of a layer and sequence`,
		source:
			"He et al. 2024, Understanding and Minimising Outlier Features in Neural Network Training",
		flags: false,
		statistic: { name: "mean_t(max_j|x_tj| / median_j|x_tj|)", of: "largest" },
		watch: (_model, record) => ({
			taps: withExperts(tap),
			receive(x, _context, site) {
				const read = queue(() => {
					const sizes = abs(x as Tensor<"float32", 2>);
					return [max(sizes, 1), median(sizes, 1)];
				});
				return () => {
					const [maxima, medians] = read() as [Float32Array, Float32Array];
					let sum = 0, count = 0;
					maxima.forEach((maximum, t) => {
						requireFinite(maximum, site, `maximum of token ${t}`);
						if (medians[t] === 0) return;
						sum += maximum / medians[t]!;
						count++;
					});
					if (count < maxima.length) {
						record.note("Tokens whose median|x| is 0 have no ratio and were left out");
					}
					if (count > 0) record.measure({ ...site, value: sum / count });
				};
			},
		}),
	});
}
