// Super weights.

import type { Probe, Transformer } from "../../nn/mod.ts";
import { scope, type Tensor } from "../../tensor/mod.ts";
import { checkFinite, magnitudes } from "../magnitudes.ts";
import { lowerMedian } from "../ranking.ts";
import { defineDetector, type Detector, type Site } from "./detector.ts";

/** Options of {@linkcode superWeights}. */
export interface SuperWeightsOptions {
	/** How many times the median over layers a spike must be. @default {5} */
	spike?: number;
}

/** The largest entry of a tensor. */
interface Spike {
	site: Site;
	token: number;
	feature: number;
	value: number;
}

/** A weight that spikes point at. */
interface Candidate {
	tap: string;
	row: number;
	column: number;
}

const keyOf = ({ layer, sequence }: Site) => `${layer} ${sequence}`;

/** Entries of weights, from a pass of one token over the model. */
async function readWeights(model: Transformer, wanted: readonly Candidate[]): Promise<number[]> {
	const found = new Map<Candidate, Tensor<"float32">>();
	const probe: Probe = {
		taps: [...new Set(wanted.map(({ tap }) => tap))],
		receive(w, { name }) {
			for (const each of wanted.filter(({ tap }) => tap === name)) {
				const { row, column } = each;
				const entry = scope(() => w.slice(row, row + 1).slice(column, column + 1, 1).mul(1));
				found.set(each, entry);
			}
		},
	};
	for (const hidden of await model.forward([[0]], { probes: [probe] })) hidden.dispose();
	const values: number[] = [];
	for (const each of wanted) {
		using entry = found.get(each)!;
		values.push((await entry.data())[0]!);
	}
	return values;
}

/**
 * Super weights (Yu et al. 2024, "The Super Weight in Large Language Models"): where the input of a down projection has
 * its largest value in column k and the output its own in row j, both far above those of the other layers, the weight
 * W[j, k] makes them. They judge by eye what is far above; here it is a factor of the median over layers. The result
 * tells which part of the output spike that one weight makes: near 1 confirms it. Costs another pass, of one token.
 */
export function superWeights({ spike = 5 }: SuperWeightsOptions = {}): Detector {
	return defineDetector({
		name: "super-weights",
		definition:
			"W[j, k] of a down projection with k = argmax|input|, j = argmax|output| of a sequence, both maxima " +
			`at least ${spike} times the median over layers of such maxima, at the same token`,
		source: "Yu et al. 2024, The Super Weight in Large Language Models",
		thresholds: { spike },
		statistic: { name: "max|output| / median over layers of max|output|", of: "largest" },
		watch(model, record) {
			const inputs = new Map<string, Spike[]>(), outputs = new Map<string, Spike>();
			return {
				taps: [
					"layers.*.mlp.down.input",
					"layers.*.mlp.experts.*.down.input",
					"layers.*.mlp.output",
				],
				receive(tensor, { name, sequence, positions }, site) {
					const pending = magnitudes(tensor as Tensor<"float32", 2>, 1);
					return () => {
						const found = pending.read();
						checkFinite(found, `${name} of sequence ${sequence}`);
						const [{ value, row, column }] = found.largest as [typeof found.largest[number]];
						const spike = { site, token: positions?.[row] ?? row, feature: column, value };
						const key = keyOf(site);
						if (name.endsWith(".mlp.output")) outputs.set(key, spike);
						else inputs.set(key, [...inputs.get(key) ?? [], spike]);
					};
				},
				async conclude() {
					const perSequence = Map.groupBy(outputs.values(), ({ site }) => site.sequence!);
					const flagged: { input: Spike; output: Spike; ratio: number; inputRatio: number }[] = [];
					for (const [sequence, all] of perSequence) {
						const typical = (spikes: readonly Spike[]) =>
							lowerMedian(Float64Array.from(spikes, ({ value }) => Math.abs(value)));
						const ofSequence = [...inputs.values()].flat()
							.filter(({ site }) => site.sequence === sequence);
						const usualOutput = typical(all), usualInput = typical(ofSequence);
						for (const output of all) {
							if (!(usualOutput > 0 && usualInput > 0)) {
								record.note("Sequences whose MLPs give 0 in half of the layers were left out");
								continue;
							}
							const ratio = Math.abs(output.value) / usualOutput;
							record.measure({ ...output.site, value: ratio });
							for (const input of inputs.get(keyOf(output.site)) ?? []) {
								const inputRatio = Math.abs(input.value) / usualInput;
								const isSpike = ratio >= spike && inputRatio >= spike;
								if (isSpike && input.token === output.token) {
									flagged.push({ input, output, ratio, inputRatio });
								}
							}
						}
					}
					if (flagged.length === 0) return;
					const candidateOf = ({ input, output }: typeof flagged[number]): Candidate => ({
						tap: input.site.site.replace(/input$/, "weight"),
						row: output.feature,
						column: input.feature,
					});
					const textOf = ({ tap, row, column }: Candidate) => `${tap} ${row} ${column}`;
					const wanted = [...new Map(flagged.map((each) => {
						const candidate = candidateOf(each);
						return [textOf(candidate), candidate] as const;
					})).values()];
					const values = await readWeights(model, wanted);
					const weightOf = new Map(wanted.map((each, i) => [textOf(each), values[i]!]));
					record.numbers.weights = wanted.length;
					for (const each of flagged) {
						const { input, output, ratio, inputRatio } = each;
						const { tap, row, column } = candidateOf(each),
							value = weightOf.get(textOf(candidateOf(each)))!;
						record.flag([{
							...input.site,
							site: tap,
							token: input.token,
							row,
							column,
							value,
							ratio,
							numbers: {
								input: input.value,
								inputRatio,
								output: output.value,
								share: value * input.value / output.value,
							},
						}]);
					}
				},
			};
		},
	});
}
