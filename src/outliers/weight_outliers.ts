// Outliers of weights: entries far above the mean of their row.

import type { Probe, TapContext } from "../nn/probe.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Projection, WeightAnalysis, WeightRatio, WeightValue } from "./analysis.ts";
import {
	type AxisMagnitudes,
	checkFinite,
	columnMagnitudes,
	magnitudes,
	rowMagnitudes,
} from "./magnitudes.ts";
import { expertOf } from "./activation_outliers.ts";
import { largestIndices, lowerMedian } from "./ranking.ts";
import { Reading } from "./reading.ts";

const TOP = 5;
const PROJECTIONS: Record<string, Projection> = {
	"attn.query.weight": "query",
	"attn.key.weight": "key",
	"attn.value.weight": "value",
	"attn.output.weight": "output",
	"mlp.gate.weight": "gate",
	"mlp.up.weight": "up",
	"mlp.down.weight": "down",
};
/** The projections in the order of a block. */
export const PROJECTION_ORDER: readonly Projection[] = Object.values(PROJECTIONS);

/** The taps of all projections' weights. */
export const WEIGHT_TAPS: readonly string[] = Object.keys(PROJECTIONS).flatMap((name) => {
	const ofExperts = name.replace(/^mlp\./, "mlp.experts.*.");
	return [...new Set([name, ofExperts])].map((each) => `layers.*.${each}`);
});

/** The projection that a weight's tap is of. */
export function projectionOf(name: string): Projection {
	return PROJECTIONS[name.replace(/^layers\.\d+\./, "").replace(/experts\.\d+\./, "")]!;
}

function extremalRatios({ maxima, means }: AxisMagnitudes): Float32Array {
	// A row or column of zeros has no ratio; 0 keeps it out of the top.
	return maxima.map((maximum, i) => means[i]! > 0 ? maximum / means[i]! : 0);
}

function topRatios(ratios: Float32Array): WeightRatio[] {
	return largestIndices(ratios, TOP).map((index) => ({ index, ratio: ratios[index]! }));
}

/**
 * Finds weight outliers: entries with |w| > τ · mean|row| (paper §3.1), and the rows and columns with the
 * largest max/mean (paper §3.2). Give it to a model's forward pass, then ask for the result.
 */
export class WeightOutlierProbe implements Probe {
	/** The weights it takes. */
	readonly taps: readonly string[] = WEIGHT_TAPS;
	readonly #tau: number;
	readonly #reading = new Reading();
	readonly #results: WeightAnalysis[] = [];

	/**
	 * Makes a probe for one run.
	 *
	 * @param tau τ
	 */
	constructor(tau: number) {
		this.#tau = tau;
	}

	/** Queues the statistics of one tensor, [out, in]. */
	receive(w: Tensor<"float32">, { layer, name }: TapContext): void {
		const matrix = w as Tensor<"float32", 2>;
		const rows = rowMagnitudes(matrix);
		const columns = columnMagnitudes(matrix);
		// As multiples of their rows' means, entries have the mean 1: τ times it is τ itself.
		const all = magnitudes(matrix, this.#tau, rows.means);
		this.#reading.after(w.device, () => {
			const found = all.read();
			checkFinite(found, name);
			const { over, largest } = found;
			const rowStatistics = rows.read();
			const columnRatios = extremalRatios(columns.read());
			const weightValue = ({ value, row, column }: typeof largest[number]): WeightValue => ({
				// Two roundings away from the weight at most: its division by the mean, and this.
				value: Math.fround(value * rowStatistics.means[row]!),
				row,
				column,
				ratio: Math.abs(value),
			});
			this.#results.push({
				layer: layer + 1,
				projection: projectionOf(name),
				...expertOf(name),
				shape: [matrix.shape[0], matrix.shape[1]],
				mean: rowStatistics.means.reduce((sum, mean) => sum + mean, 0) / matrix.shape[0],
				top: largest.slice(0, TOP).map(weightValue),
				outlierCount: over,
				outliers: largest.slice(0, over).map(weightValue),
				topRows: topRatios(extremalRatios(rowStatistics)),
				topColumns: topRatios(columnRatios),
				medianColumnRatio: lowerMedian(columnRatios),
			});
		});
	}

	/** What was found, by layer and projection, once the forward pass is over. */
	async result(): Promise<WeightAnalysis[]> {
		await this.#reading.finish();
		return this.#results.sort((a, b) =>
			a.layer - b.layer || (a.expert ?? 0) - (b.expert ?? 0) ||
			PROJECTION_ORDER.indexOf(a.projection) - PROJECTION_ORDER.indexOf(b.projection)
		);
	}
}
