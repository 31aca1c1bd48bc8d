// The criterion of the paper's code for attention.

import { div, sum, type Tensor } from "../../tensor/mod.ts";
import { defineDetector, type Detector, type Finding } from "./detector.ts";
import { queue, requireFinite } from "./reductions.ts";

/**
 * Attention outliers (code of "Systematic Outliers in Large Language Models", 2025): keys whose cumulative attention is
 * at least ρ = 0.1 of their head's sum. Early keys are seen by more queries, and short sequences have few keys: compare
 * with an untrained network, or with {@linkcode sinkRate}, which counts visible queries.
 */
export function attentionShare({ share = 0.1 }: { share?: number } = {}): Detector {
	return defineDetector({
		name: "attention-share",
		definition: `keys j with sum_i A[i, j] >= ${share} * sum_ij A[i, j], of a head`,
		source: "Systematic Outliers in Large Language Models, 2025 (their code)",
		thresholds: { share },
		statistic: { name: "max_j of sum_i A[i, j] / sum_ij A[i, j]", of: "largest" },
		watch: (_model, record) => ({
			taps: ["layers.*.attn.cumulative"],
			receive(tensor, _context, site) {
				const cumulative = tensor as Tensor<"float32", 2>, [heads, tokens] = cumulative.shape;
				const read = queue(() => [div(cumulative, sum(cumulative, 1, { keepDims: true }))]);
				return () => {
					const [shares] = read(), found: Finding[] = [];
					let largest = 0, count = 0;
					shares!.forEach((value, i) => {
						requireFinite(value, site, "cumulative attention");
						largest = Math.max(largest, value);
						if (value < share) return;
						count++;
						found.push({
							...site,
							head: Math.floor(i / tokens),
							token: i % tokens,
							value,
							ratio: value,
						});
					});
					record.flag(found, count);
					record.measure({ ...site, value: largest });
					record.numbers.heads = (record.numbers.heads ?? 0) + heads;
				};
			},
		}),
	});
}
