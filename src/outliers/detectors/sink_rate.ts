// Attention sinks, counted.

import { defineDetector, type Detector, type Finding } from "./detector.ts";
import { evenImportance, SINK, visibleTo } from "../measures.ts";
import { queue, requireFinite } from "./reductions.ts";

/** Options of {@linkcode sinkRate}. */
export interface SinkRateOptions {
	/** ε: from which importance on a head has a sink. @default {0.3} */
	epsilon?: number;
	/** T: only sequences of so many tokens are counted. @default {sequences of any length} */
	tokens?: number;
	/** k: the key. @default {0} */
	position?: number;
}

/**
 * The sink rate (Gu et al. 2024, "When Attention Sink Emerges in Language Models"): the share of (sequence, layer, head)
 * in which the mean attention that key k gets, over the queries that see it, exceeds ε. They use ε = 0.3, T = 64, k = 0,
 * and print it times 100. Attention whose rows do not add up to 1 is counted as it is.
 */
export function sinkRate(
	{ epsilon = SINK, tokens: only, position = 0 }: SinkRateOptions = {},
): Detector {
	return defineDetector({
		name: "sink-rate",
		definition:
			`share of (sequence, layer, head) with imp_${position} > ${epsilon}, imp_k = mean of A[i, k] ` +
			`over the queries i that see key k` +
			(only === undefined ? "" : `; sequences of ${only} tokens`),
		source: "Gu et al. 2024, When Attention Sink Emerges in Language Models",
		thresholds: { epsilon, position, ...only !== undefined && { tokens: only } },
		statistic: { name: `imp_${position} of a head`, of: "largest" },
		watch({ config }, record) {
			let heads = 0, sinks = 0, sum = 0, even = 0;
			return {
				taps: ["layers.*.attn.cumulative"],
				receive(cumulative, _context, site) {
					const [n, T] = cumulative.shape as [number, number];
					if ((only !== undefined && T !== only) || position >= T) {
						record.note(
							only === undefined
								? `Sequences of ${position} tokens or fewer have no key ${position} and were left out`
								: `Sequences that do not have ${only} tokens were left out`,
						);
						return null;
					}
					const read = queue(() => [cumulative.slice(position, position + 1, 1).mul(1)]);
					const seeing = visibleTo(config.attention, position, T);
					return () => {
						const importances = Array.from(read()[0]!, (value) => value / seeing);
						importances.forEach((value, head) =>
							requireFinite(value, site, `attention of head ${head}`)
						);
						const uniform = evenImportance(config.attention, position, T);
						const flagged = importances.flatMap((value, head): Finding[] =>
							value > epsilon ? [{ ...site, head, token: position, value, ratio: value }] : []
						);
						record.flag(flagged);
						record.measure({ ...site, value: Math.max(...importances) });
						heads += n;
						sinks += flagged.length;
						sum += importances.reduce((a, b) => a + b);
						even += uniform * n;
					};
				},
				conclude() {
					if (heads === 0) return;
					Object.assign(record.numbers, {
						rate: sinks / heads,
						mean: sum / heads,
						evenlySpread: even / heads,
					});
				},
			};
		},
	});
}
