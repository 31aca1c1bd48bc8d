// Maximum infinity norms.

import type { Tensor } from "../../tensor/tensor.ts";
import { checkFinite, magnitudes } from "../magnitudes.ts";
import { defineDetector, type Detector } from "./detector.ts";
import { HIDDEN_STATES } from "./entries.ts";

const MLP_OUTPUTS = "layers.*.mlp.output";

/**
 * Maximum infinity norms (Bondarenko et al. 2023, "Quantizable Transformers"): of each place max|x|, its mean over
 * sequences, and of these the largest over MLP outputs, over layer outputs and over both. A number without a threshold;
 * it depends on the scale of a model, so max|x| / mean|x| stands beside it.
 */
export function maxInfNorm(): Detector {
	return defineDetector({
		name: "max-inf-norm",
		definition:
			`max over places of the mean over sequences of max|x|; places are ${MLP_OUTPUTS}, ` +
			`${HIDDEN_STATES}, and both`,
		source: "Bondarenko et al. 2023, Quantizable Transformers",
		flags: false,
		statistic: { name: "max|x| / mean|x|", of: "largest" },
		watch: (_model, record) => {
			const norms = new Map<string, { sum: number; count: number }>();
			return {
				taps: [MLP_OUTPUTS, HIDDEN_STATES],
				receive(x, { sequence }, site) {
					const pending = magnitudes(x as Tensor<"float32", 2>, 1);
					return () => {
						const found = pending.read();
						checkFinite(found, `${site.site} of sequence ${sequence}`);
						const { mean, largest } = found, max = Math.abs(largest[0]!.value);
						const norm = norms.get(site.site) ?? { sum: 0, count: 0 };
						norms.set(site.site, { sum: norm.sum + max, count: norm.count + 1 });
						record.measure({ ...site, value: mean > 0 ? max / mean : 0 });
					};
				},
				conclude() {
					const largest = (place: RegExp) => {
						const ofPlace = [...norms].filter(([site]) => place.test(site));
						return Math.max(0, ...ofPlace.map(([, { sum, count }]) => sum / count));
					};
					const mlpOutputs = largest(/\.mlp\.output$/),
						layerOutputs = largest(/^layers\.\d+\.output$/);
					Object.assign(record.numbers, {
						mlpOutputs,
						layerOutputs,
						all: Math.max(mlpOutputs, layerOutputs),
					});
				},
			};
		},
	});
}
