// Where weight outliers stand: the extremal ratio max|w| / mean|w| of every matrix and column (the paper's Fig. 5).

import type { TapContext } from "../../nn/probe.ts";
import { noGrad, norm, type Tensor } from "../../tensor/mod.ts";
import { expertOf } from "../activation_outliers.ts";
import type { Projection, WeightRatio } from "../analysis.ts";
import { type Definition, type DefinitionChoice, definitionOf } from "../definitions.ts";
import { type AxisMagnitudes, columnMagnitudes, rowMagnitudes } from "../magnitudes.ts";
import type { AnalysisProbe } from "../pass.ts";
import { largestIndices, lowerMedian } from "../ranking.ts";
import { Reading } from "../reading.ts";
import { PROJECTION_ORDER, projectionOf, WEIGHT_TAPS } from "../weight_outliers.ts";

/** Extremal ratios along one axis of a matrix. */
export interface AxisRatios {
	/** The largest, descending; equal ones by index. */
	top: WeightRatio[];
	/** The lower median of all. */
	median: number;
	/** No ratio can exceed this: how many weights there are along the axis. */
	limit: number;
}

/** The extremal ratios of one matrix [out, in]. */
export interface MatrixRatios {
	/** Layer, 0-based. */
	layer: number;
	/** Which projection. */
	projection: Projection;
	/** Of a mixture of experts: which one's. */
	expert?: number;
	/** [out, in]. */
	shape: [number, number];
	/** The ratio of the whole matrix, by the definition's `moduleRatio`: a point of Fig. 5a. */
	ratio: number;
	/** Of columns, features of the input; §3.2 of the paper, and Fig. 5b and 5c. */
	columns: AxisRatios;
	/** Of rows, features of the output. */
	rows: AxisRatios;
	/**
	 * Rows by ‖row‖ over the median ‖row‖. A neuron whose whole row of gate or up is large, as the paper's Fig. 7 shows,
	 * has no large max/mean.
	 */
	rowNorms: { top: WeightRatio[] };
}

/** The extremal ratio of every matrix and column: the paper's Fig. 5 as data. */
export interface ExtremalRatios {
	/** Every matrix, by layer and in the order of a block. */
	matrices: MatrixRatios[];
	/** The reference line of Fig. 5a: the median or mean over the matrices of a layer. */
	reference: { layer: number; ratio: number }[];
}

/** Measures extremal ratios. Give it to `runAnalyses`. */
export class ExtremalRatiosProbe implements AnalysisProbe<ExtremalRatios> {
	/** The weights it takes. */
	readonly taps: readonly string[] = WEIGHT_TAPS;
	readonly #definition: Definition;
	readonly #listed: number;
	readonly #reading = new Reading();
	readonly #matrices: MatrixRatios[] = [];

	/**
	 * Makes a probe for one pass.
	 *
	 * @param listed how many columns and rows of each matrix are listed; `Infinity` for all
	 */
	constructor(definition: DefinitionChoice = "default", listed = 10) {
		this.#definition = definitionOf(definition);
		this.#listed = listed;
		if (!(listed >= 1)) {
			throw new RangeError(`Cannot list ${listed} columns: it must be a number, 1 or more`);
		}
	}

	/** Queues the measurement of one tensor, [out, in]. */
	receive(w: Tensor<"float32">, { layer, name }: TapContext): void {
		const matrix = w as Tensor<"float32", 2>, [out, ins] = matrix.shape;
		const rows = rowMagnitudes(matrix), columns = columnMagnitudes(matrix);
		const norms = noGrad(() => norm(matrix, 1));
		this.#reading.after(w.device, () => {
			const byRow = rows.read(), byColumn = columns.read(), lengths = norms.readNow();
			norms.dispose();
			const wrong = byRow.maxima.findIndex((value) => !Number.isFinite(value));
			if (wrong >= 0) {
				throw new Error(
					`Cannot analyze ${name}: it holds ${
						byRow.maxima[wrong]
					} (row ${wrong}); the model's file may be damaged`,
				);
			}
			const typical = lowerMedian(lengths);
			const ofColumns = this.#ratios(byColumn, out), ofRows = this.#ratios(byRow, ins);
			const largest = ofColumns.top[0]!.ratio;
			this.#matrices.push({
				layer,
				projection: projectionOf(name),
				...expertOf(name),
				shape: [out, ins],
				ratio: this.#definition.moduleRatio === "column"
					? largest
					: Math.max(largest, ofRows.top[0]!.ratio),
				columns: ofColumns,
				rows: ofRows,
				rowNorms: { top: this.#top(lengths.map((value) => typical > 0 ? value / typical : 0)) },
			});
		});
	}

	#top(ratios: Float32Array): WeightRatio[] {
		return largestIndices(ratios, Math.min(this.#listed, ratios.length))
			.map((index) => ({ index, ratio: ratios[index]! }));
	}

	#ratios({ maxima, means }: AxisMagnitudes, limit: number): AxisRatios {
		// A line of zeros has no ratio; 0 keeps it out of the top.
		const ratios = maxima.map((maximum, i) => means[i]! > 0 ? maximum / means[i]! : 0);
		return { top: this.#top(ratios), median: lowerMedian(ratios), limit };
	}

	/** The ratios, once the pass is over. */
	async result(): Promise<ExtremalRatios> {
		await this.#reading.finish();
		const matrices = this.#matrices.sort((a, b) =>
			a.layer - b.layer || (a.expert ?? 0) - (b.expert ?? 0) ||
			PROJECTION_ORDER.indexOf(a.projection) - PROJECTION_ORDER.indexOf(b.projection)
		);
		const layers = [...new Set(matrices.map(({ layer }) => layer))];
		const reference = layers.map((layer) => {
			const ratios = Float64Array.from(
				matrices.filter((matrix) => matrix.layer === layer).map(({ ratio }) => ratio),
			);
			const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
			return {
				layer,
				ratio: this.#definition.moduleReference === "mean" ? mean : lowerMedian(ratios),
			};
		});
		return { matrices, reference };
	}
}
