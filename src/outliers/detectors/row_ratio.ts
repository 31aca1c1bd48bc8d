// The paper's criterion for weights.

import type { Tensor } from "../../tensor/tensor.ts";
import { checkFinite, magnitudes, rowMagnitudes } from "../magnitudes.ts";
import { WEIGHT_TAPS } from "../weight_outliers.ts";
import { defineDetector, type Detector, type Finding } from "./detector.ts";
import { take } from "./reductions.ts";

/**
 * Weight outliers ("Systematic Outliers in Large Language Models", 2025, section 3.1): |w| > τ · mean|row| of its matrix.
 * No row of N weights can exceed N; where that is below τ, the notes say so.
 */
export function rowRatio({ tau = 1000 }: { tau?: number } = {}): Detector {
	return defineDetector({
		name: "row-ratio",
		definition:
			`|w| > ${tau} * mean|row|, the mean over the row of w, of all matrices of the layers`,
		source: "Systematic Outliers in Large Language Models, 2025, section 3.1",
		thresholds: { tau },
		statistic: { name: "max|w| / mean|row|", of: "largest" },
		watch: (_model, record) => ({
			taps: WEIGHT_TAPS,
			receive(tensor, _context, { sequence: _, ...site }) {
				const w = tensor as Tensor<"float32", 2>, columns = w.shape[1];
				if (columns <= tau) {
					record.note(`Rows of ${columns} weights cannot reach ${tau} times their mean`);
				}
				const rows = rowMagnitudes(w), pending = magnitudes(w, tau, rows.means);
				return () => {
					const found = pending.read(), { means } = rows.read();
					checkFinite(found, site.site);
					record.measure({ ...site, value: Math.abs(found.largest[0]!.value) });
					const { entries } = take(found, ({ value }) => Math.abs(value) > tau);
					const findings = entries.map(({ value, row, column }): Finding => ({
						...site,
						row,
						column,
						value: Math.fround(value * means[row]!),
						ratio: Math.abs(value),
					}));
					record.flag(findings, found.over);
				};
			},
		}),
	});
}
