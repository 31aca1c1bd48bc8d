// Outliers of activations: of the hidden states h and of the down-projection inputs x_down.

import type { Probe, TapContext } from "../nn/probe.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ActivationAnalysis, ActivationStatistics, ActivationValue } from "./analysis.ts";
import {
	checkFinite,
	columnMagnitudes,
	type Entry,
	magnitudes,
	rowMagnitudes,
} from "./magnitudes.ts";
import { largestIndices } from "./ranking.ts";
import { Reading } from "./reading.ts";

/** How many of the largest values and features are reported a layer and sequence. */
const TOP = 10;
/** For how many first tokens the maximum is reported. */
const FIRST_TOKENS = 64;

/** Places of a model where the paper finds activation outliers, and their taps. */
export const ACTIVATION_TAPS = {
	hiddenState: "layers.*.output",
	downInput: "layers.*.mlp.down.input",
} as const;

/** The expert that a tap is of, if it is of one. */
export function expertOf(name: string): { expert?: number } {
	const found = /\.experts\.(\d+)\./.exec(name);
	return found ? { expert: Number(found[1]) } : {};
}

/**
 * Finds activation outliers: entries with |x| > τ · mean|x|, the mean over all T · C entries of a layer
 * and sequence (paper §3.1). Give it to a model's forward pass, then ask for the result.
 */
export class ActivationOutlierProbe implements Probe {
	/** The tap it takes. */
	readonly taps: readonly string[];
	readonly #tau: number;
	readonly #reading = new Reading();
	readonly #layers = new Map<number, ActivationStatistics[]>();

	/**
	 * Makes a probe for one run.
	 *
	 * @param tap such as `ACTIVATION_TAPS.hiddenState`
	 * @param tau τ
	 */
	constructor(tap: string, tau: number) {
		this.taps = [...new Set([tap, tap.replace(".mlp.", ".mlp.experts.*.")])];
		this.#tau = tau;
	}

	/** Queues the statistics of one tensor, [T, C]. */
	receive(x: Tensor<"float32">, { name, layer, sequence, positions }: TapContext): void {
		const matrix = x as Tensor<"float32", 2>;
		const tokenOf = (row: number) => positions?.[row] ?? row;
		const early = positions?.filter((position) => position < FIRST_TOKENS).length ?? FIRST_TOKENS;
		const all = magnitudes(matrix, this.#tau);
		using first = matrix.slice(0, Math.min(early, matrix.shape[0]));
		const tokens = early > 0 ? rowMagnitudes(first) : null;
		const features = columnMagnitudes(matrix);
		const value = ({ value, row, column }: Entry): ActivationValue => ({
			value,
			token: tokenOf(row),
			feature: column,
		});
		this.#reading.after(x.device, () => {
			const found = all.read();
			checkFinite(found, `${name} of sequence ${sequence}`);
			const { mean, median, over, largest } = found;
			const { maxima, rows } = features.read();
			const ofTokens = [...tokens?.read().maxima ?? []];
			const tokenMaxima = new Array<number>(ofTokens.length ? tokenOf(ofTokens.length - 1) + 1 : 0)
				.fill(0);
			for (const [row, maximum] of ofTokens.entries()) tokenMaxima[tokenOf(row)] = maximum;
			const statistics: ActivationStatistics = {
				sequence,
				...expertOf(name),
				mean,
				median,
				top: largest.slice(0, TOP).map(value),
				outlierCount: over,
				outliers: largest.slice(0, over).map(value),
				tokenMaxima,
				topFeatures: largestIndices(maxima, TOP)
					.map((feature) => ({
						feature,
						value: maxima[feature]!,
						token: tokenOf(rows[feature]!),
					})),
			};
			this.#layers.set(layer, [...this.#layers.get(layer) ?? [], statistics]);
		});
	}

	/** What was found, once the forward pass is over. */
	async result(): Promise<ActivationAnalysis> {
		await this.#reading.finish();
		const layers = [...this.#layers].sort(([a], [b]) => a - b).map(([layer, sequences]) => ({
			layer: layer + 1,
			sequences: sequences.sort((a, b) =>
				a.sequence - b.sequence || (a.expert ?? 0) - (b.expert ?? 0)
			),
		}));
		return { layers };
	}
}
