// Values drained at the sink.

import { norm, type Tensor } from "../../tensor/mod.ts";
import { defineDetector, type Detector, type Finding } from "./detector.ts";
import { valueRatios } from "../measures.ts";
import { queue, requireFinite } from "./reductions.ts";

/** Options of {@linkcode valueDrain}. */
export interface ValueDrainOptions {
	/** Below which ratio a value counts as drained. @default {0.2} */
	below?: number;
	/** The sink's position. @default {0} */
	position?: number;
}

/**
 * Drained values (Guo et al. 2024, "Active-Dormant Attention Heads"): the norm of the sink's value over the mean norm of
 * the others'. Below 0.2 a head that attends to the sink adds next to nothing; at 1 nothing is drained.
 */
export function valueDrain({ below = 0.2, position = 0 }: ValueDrainOptions = {}): Detector {
	return defineDetector({
		name: "value-drain",
		definition:
			`|v_${position}| / mean of the other |v_t| < ${below}, of a key-value head, Euclidean norms`,
		source: "Guo et al. 2024, Active-Dormant Attention Heads",
		thresholds: { below, position },
		statistic: { name: `|v_${position}| / mean|v_t| of a head`, of: "smallest" },
		watch(_model, record) {
			let heads = 0, drained = 0, sum = 0;
			return {
				taps: ["layers.*.attn.v"],
				receive(values, _context, site) {
					const tokens = values.shape[1]!;
					if (position >= tokens || tokens < 2) {
						record.note("Sequences with too few tokens to compare values were left out");
						return null;
					}
					const read = queue(() => [norm(values as Tensor<"float32", 3>, 2)]);
					return () => {
						const [norms] = read();
						norms!.forEach((value) => requireFinite(value, site, "norm of a value"));
						const all = valueRatios(norms!, tokens, new Set([position]));
						const ratios = all.filter((ratio) => Number.isFinite(ratio));
						if (ratios.length < all.length) {
							record.note("Heads whose other values are all 0 have no ratio and were left out");
						}
						if (ratios.length === 0) return;
						const flagged = all.flatMap((ratio, head): Finding[] =>
							ratio < below
								? [{
									...site,
									head,
									token: position,
									value: norms![head * tokens + position]!,
									ratio,
								}]
								: []
						);
						record.flag(flagged);
						record.measure({ ...site, value: Math.min(...ratios) });
						heads += ratios.length;
						drained += flagged.length;
						sum += ratios.reduce((a, b) => a + b);
					};
				},
				conclude() {
					if (heads === 0) return;
					Object.assign(record.numbers, { share: drained / heads, mean: sum / heads });
				},
			};
		},
	});
}
