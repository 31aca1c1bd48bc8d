// The outlier features of LLM.int8().

import { abs, cast, greaterEqual, sum, type Tensor } from "../../tensor/mod.ts";
import { checkFinite, columnMagnitudes, magnitudes } from "../magnitudes.ts";
import { defineDetector, type Detector } from "./detector.ts";
import { queue } from "./reductions.ts";

/** Options of {@linkcode outlierFeatures}. */
export interface OutlierFeaturesOptions {
	/** What |x| must reach. @default {6} */
	magnitude?: number;
	/** In which share of the layers, at least. @default {0.25} */
	layers?: number;
	/** At which share of the positions, at least. @default {0.06} */
	positions?: number;
}

/** What was seen of a feature. */
interface Feature {
	layers: Set<number>;
	largest: number;
	ratio: number;
	site: string;
	layer: number;
}

/**
 * Outlier features (Dettmers et al. 2022, "LLM.int8()"): a feature with |x| >= 6 in at least 25 % of the layers and at
 * 6 % of the sequence positions, at the inputs of the attention's projections and of the MLP. The paper leaves open
 * how positions of several layers are counted together; here it is the share of all (input, sequence, position) that
 * have |x| >= 6 in this feature. 6 depends on the scale of norms, so max|x| / mean|x| stands beside it.
 */
export function outlierFeatures(
	{ magnitude = 6, layers = 0.25, positions = 0.06 }: OutlierFeaturesOptions = {},
): Detector {
	return defineDetector({
		name: "llm-int8",
		definition:
			`a feature with |x| >= ${magnitude} in at least ${layers} of the layers and at least ${positions} ` +
			"of all (input, sequence, position), at the inputs of attention projections and of MLPs",
		source: "Dettmers et al. 2022, LLM.int8()",
		thresholds: { magnitude, layers, positions },
		statistic: { name: "max|x| / mean|x|", of: "largest" },
		watch({ config }, record) {
			const features = new Map<number, Feature>();
			const counts = new Float64Array(config.hiddenSize);
			let all = 0;
			return {
				taps: ["layers.*.attn.input", "layers.*.mlp.input"],
				receive(tensor, { layer, sequence }, site) {
					const x = tensor as Tensor<"float32", 2>, [tokens] = x.shape;
					const pending = magnitudes(x, 1), columns = columnMagnitudes(x);
					const read = queue(() => [
						sum(cast(greaterEqual(abs(x), magnitude), "float32"), 0),
					]);
					return () => {
						const found = pending.read(), { maxima } = columns.read(), [reached] = read();
						checkFinite(found, `${site.site} of sequence ${sequence}`);
						const { mean, largest: [first] } = found;
						record.measure({ ...site, value: mean > 0 ? Math.abs(first!.value) / mean : 0 });
						all += tokens;
						reached!.forEach((count, feature) => {
							if (count === 0) return;
							counts[feature]! += count;
							const maximum = maxima[feature]!;
							const seen = features.get(feature) ??
								{ layers: new Set(), largest: 0, ratio: 0, site: site.site, layer };
							seen.layers.add(layer);
							const ratio = maximum / mean;
							if (ratio > seen.ratio) Object.assign(seen, { ratio, site: site.site, layer });
							seen.largest = Math.max(seen.largest, maximum);
							features.set(feature, seen);
						});
					};
				},
				conclude() {
					for (const [feature, seen] of features) {
						const layerShare = seen.layers.size / config.layers;
						const positionShare = counts[feature]! / all;
						if (layerShare < layers || positionShare < positions) continue;
						record.flag([{
							site: seen.site,
							layer: seen.layer,
							feature,
							value: seen.largest,
							ratio: seen.ratio,
							numbers: { layerShare, positionShare },
						}]);
					}
					record.numbers.features = features.size;
				},
			};
		},
	});
}
