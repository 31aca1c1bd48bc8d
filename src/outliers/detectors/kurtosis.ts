// Three numbers that are all called kurtosis, each by the name of those who use it.

import { abs, div, max, mean, square, sub, type Tensor, variance } from "../../tensor/mod.ts";
import { defineDetector, type Detector } from "./detector.ts";
import { HIDDEN_STATES, withExperts } from "./entries.ts";
import { queue, requireFinite } from "./reductions.ts";
import { average } from "../average.ts";

type Matrix = Tensor<"float32", 2>;

/** The three definitions. */
export type KurtosisKind = "qualcomm" | "osp" | "he";

interface Definition {
	definition: string;
	source: string;
	statistic: { name: string; of: "largest" | "mean" };
	/** Queues what the number is made of; x was divided by its largest |x|. */
	reduce(x: Matrix): Tensor<"float32">[];
	/** The number of the reductions, the largest |x| and the number of elements. */
	value(reductions: Float32Array[], largest: number, count: number): number;
}

const DEFINITIONS: Record<KurtosisKind, Definition> = {
	qualcomm: {
		definition:
			"mean((x - m)^4) / (s^4 + 1e-6) over all entries of a layer and sequence, m their mean, s " +
			"their standard deviation with n - 1; not excess: 3 of normally distributed values",
		source: "Bondarenko et al. 2023, Quantizable Transformers (their code)",
		statistic: { name: "mean((x - m)^4) / (s^4 + 1e-6)", of: "largest" },
		reduce: (x) => {
			const squares = square(sub(x, mean(x)));
			return [mean(squares), mean(square(squares))];
		},
		value([second, fourth], largest, count) {
			if (count < 2) return 0;
			const s2 = second![0]! * largest ** 2 * count / (count - 1);
			return fourth![0]! * largest ** 4 / (s2 ** 2 + 1e-6);
		},
	},
	osp: {
		definition:
			"max(0, mean_j(x_tj^4) / s_t^4 - 3) of each token t, s_t its standard deviation with n - 1; " +
			"mean over tokens, layers and sequences; the fourth moment is not centered",
		source: "Park et al. 2025, Outlier-Safe Pre-Training (their code)",
		statistic: { name: "mean_t(max(0, mean_j(x_tj^4) / s_t^4 - 3))", of: "mean" },
		reduce: (x) => [mean(square(square(x)), 1), variance(x, 1)],
		value: ([fourths, variances]) =>
			average(fourths!.map((fourth, t) => {
				const s4 = variances![t]! ** 2;
				return s4 > 0 ? Math.max(0, fourth / s4 - 3) : 0;
			})),
	},
	he: {
		definition:
			"mean_j(s_j^4) / mean_j(s_j^2)^2, s_j being feature j's root mean square over the tokens of a " +
			"layer and sequence; between 1, if no feature dominates, and the number of features",
		source:
			"He et al. 2024, Understanding and Minimising Outlier Features in Neural Network Training",
		statistic: { name: "mean_j(s_j^4) / mean_j(s_j^2)^2", of: "largest" },
		reduce: (x) => [mean(square(x), 0)],
		value: ([squares]) => average(squares!.map((s2) => s2 ** 2)) / average(squares!) ** 2,
	},
};

/**
 * One of the three: of Bondarenko et al. (`"qualcomm"`), of Outlier-Safe Pre-Training (`"osp"`), of He et al. (`"he"`).
 * They are not comparable with one another. They have no threshold.
 *
 * @param tap the activations, by default `"layers.*.output"`
 */
export function kurtosis(
	kind: KurtosisKind,
	{ tap = HIDDEN_STATES }: { tap?: string } = {},
): Detector {
	if (!Object.hasOwn(DEFINITIONS, kind)) {
		const known = Object.keys(DEFINITIONS).map((name) => `"${name}"`).join(", ");
		throw new RangeError(`Cannot compute kurtosis "${kind}": there are ${known}`);
	}
	const { definition, source, statistic, reduce, value } = DEFINITIONS[kind];
	return defineDetector({
		name: `kurtosis-${kind}`,
		definition: `${definition}; x being ${tap}`,
		source,
		flags: false,
		statistic,
		watch: (_model, record) => ({
			taps: withExperts(tap),
			receive(x, _context, site) {
				const matrix = x as Matrix, count = x.size;
				const read = queue(() => {
					// Fourth powers of large values would not fit float32.
					const largest = max(abs(matrix));
					return [largest, ...reduce(div(matrix, largest))];
				});
				return () => {
					const [[largest], ...reductions] = read() as [Float32Array, ...Float32Array[]];
					requireFinite(largest!, site, "largest |x|");
					if (largest === 0) {
						record.note("Tensors of zeros have no kurtosis and were left out");
						return;
					}
					const number = value(reductions, largest!, count);
					requireFinite(number, site, "kurtosis");
					record.measure({ ...site, value: number });
				};
			},
		}),
	});
}
