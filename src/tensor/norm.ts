// Normalization over the last axis, alone or of the sum of a residual stream and a branch.

import { defineOp } from "./autograd/define_op.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { elements } from "./strides.ts";
import { checkShape, Tensor } from "./tensor.ts";

/** Options of the norms. */
export interface NormOptions<D extends FloatType> {
	/** ε, added to the mean square. @default {1e-5} */
	epsilon?: number;
	/** Type of the result; the arithmetic is float32 in any case. @default {"float32"} */
	dtype?: D;
}

/** Options of the layer norm. */
export interface LayerNormOptions<D extends FloatType> extends NormOptions<D> {
	/** b, [H] */
	bias?: Tensor<"float32", 1> | undefined;
}

/** What a norm computes from, whichever it is. */
interface Arguments {
	x: Tensor<"float32">;
	branch?: Tensor<"float32">;
	gain: Tensor<"float32", 1>;
	bias?: Tensor<"float32", 1> | undefined;
	epsilon?: number;
	dtype?: FloatType;
}

/** Parts that the sums for gain and bias are taken in, so many a multiprocessor. */
const PARTS = 8;

/** Makes the operation; its results are the sum, if there is a branch, and the norm. */
function defineNorm(name: string, kernel: "rms_norm" | "layer_norm") {
	const centered = kernel === "layer_norm";
	return defineOp(
		name,
		({ x, branch, gain, bias, epsilon = 1e-5, dtype = "float32" }: Arguments) => {
			const { device, shape } = x, columns = gain.shape[0];
			const rows = elements(shape.slice(0, -1));
			const inputs: Tensor[] = branch ? [x, branch, gain] : [x, gain];
			if (bias) inputs.push(bias);
			const recorded = inputs.some((input) => input.requiresGrad);
			const empty = (shape: readonly number[]) =>
				Tensor.empty<"float32", number>(device, "float32", shape);
			const y = Tensor.empty<FloatType, number>(device, dtype, shape);
			const sums = branch && empty(shape);
			const means = recorded && centered ? empty([rows]) : undefined;
			const scales = recorded ? empty([rows]) : undefined;
			const from = contiguous(x), weights = contiguous(gain);
			device.kernel(`${kernel}_${dtype}`).overRows(
				rows,
				y.pointer,
				sums?.pointer ?? 0,
				means?.pointer ?? 0,
				scales?.pointer ?? 0,
				from.pointer,
				branch ? contiguous(branch).pointer : 0,
				weights.pointer,
				bias ? contiguous(bias).pointer : 0,
				rows,
				columns,
				epsilon,
			);
			const results: Tensor[] = sums ? [sums, y] : [y];
			const saved: Tensor[] = [sums ?? from, weights];
			if (scales) saved.push(scales);
			if (means) saved.push(means);
			return {
				result: results,
				inputs,
				saved,
				backward: (gradients, [from, weights, scales, means], needs) => {
					const ofSum = sums ? gradients[0] : null, ofNorm = gradients[results.length - 1];
					if (!ofNorm) return inputs.map((_, i) => i < 2 ? ofSum! : null);
					const g = contiguous(ofNorm), base = ofSum && contiguous(ofSum);
					const dx = empty(shape), first = sums ? 2 : 1; // of the parameters
					const count = Math.min(rows, PARTS * device.multiprocessors);
					const width = (centered ? 2 : 1) * columns;
					const parts = needs.slice(first).includes(true) ? empty([count, width]) : undefined;
					device.kernel(`${kernel}_backward_${g.dtype}`).overRows(
						count,
						dx.pointer,
						parts?.pointer ?? 0,
						g.pointer,
						base?.pointer ?? 0,
						from!.pointer,
						weights!.pointer,
						means?.pointer ?? 0,
						scales!.pointer,
						rows,
						columns,
						count,
					);
					const ofParameters: (Tensor | null)[] = inputs.slice(first).map(() => null);
					if (parts) {
						const totals = empty([width]);
						device.kernel("sum_parts")
							.overElements(width, totals.pointer, parts.pointer, count, width);
						ofParameters.forEach((_, i) => {
							ofParameters[i] = totals.slice(i * columns, (i + 1) * columns);
						});
					}
					return [...Array<Tensor>(first).fill(dx), ...ofParameters];
				},
			};
		},
	);
}

const rmsNormOp = defineNorm("rmsNorm", "rms_norm");
const layerNormOp = defineNorm("layerNorm", "layer_norm");
const addRmsNormOp = defineNorm("addRmsNorm", "rms_norm");
const addLayerNormOp = defineNorm("addLayerNorm", "layer_norm");

function check(operation: string, { x, branch, gain, bias }: Arguments): void {
	if (x.shape.length === 0) {
		throw new RangeError(`Cannot compute ${operation}: a number has no axis to norm`);
	}
	if (branch) checkShape(operation, "the branch", branch.shape, x.shape);
	checkShape(operation, "the gain", gain.shape, [x.shape.at(-1)!]);
	if (bias) checkShape(operation, "the bias", bias.shape, [x.shape.at(-1)!]);
}

/**
 * Root-mean-square norm over the last axis: y = x / √(mean(x²) + ε) · g.
 *
 * @param x [..., H]
 * @param gain g, [H]
 * @returns [..., H]
 * @throws {RangeError} if the shapes do not fit
 */
export function rmsNorm<R extends number, D extends FloatType = "float32">(
	x: Tensor<"float32", R>,
	gain: Tensor<"float32", 1>,
	options: NormOptions<D> = {},
): Tensor<D, R> {
	const given = { ...options, x, gain };
	check("rmsNorm", given);
	return rmsNormOp(given)[0] as Tensor<D, R>;
}

/**
 * Layer norm over the last axis: y = (x - mean(x)) / √(variance(x) + ε) · g + b, with the variance as the mean
 * of (x - mean(x))².
 *
 * @param x [..., H]
 * @param gain g, [H]
 * @returns [..., H]
 * @throws {RangeError} if the shapes do not fit
 */
export function layerNorm<R extends number, D extends FloatType = "float32">(
	x: Tensor<"float32", R>,
	gain: Tensor<"float32", 1>,
	options: LayerNormOptions<D> = {},
): Tensor<D, R> {
	const given = { ...options, x, gain };
	check("layerNorm", given);
	return layerNormOp(given)[0] as Tensor<D, R>;
}

/**
 * A branch added to the residual stream, and the {@linkcode rmsNorm} of the sum, in one pass.
 *
 * @param x [..., H]
 * @param branch [..., H]
 * @param gain g, [H]
 * @returns x + branch, and its norm
 * @throws {RangeError} if the shapes do not fit
 */
export function addRmsNorm<R extends number, D extends FloatType = "float32">(
	x: Tensor<"float32", R>,
	branch: Tensor<"float32", NoInfer<R>>,
	gain: Tensor<"float32", 1>,
	options: NormOptions<D> = {},
): [sum: Tensor<"float32", R>, normed: Tensor<D, R>] {
	const given = { ...options, x, branch, gain };
	check("addRmsNorm", given);
	return addRmsNormOp(given) as [Tensor<"float32", R>, Tensor<D, R>];
}

/**
 * A branch added to the residual stream, and the {@linkcode layerNorm} of the sum, in one pass.
 *
 * @param x [..., H]
 * @param branch [..., H]
 * @param gain g, [H]
 * @returns x + branch, and its norm
 * @throws {RangeError} if the shapes do not fit
 */
export function addLayerNorm<R extends number, D extends FloatType = "float32">(
	x: Tensor<"float32", R>,
	branch: Tensor<"float32", NoInfer<R>>,
	gain: Tensor<"float32", 1>,
	options: LayerNormOptions<D> = {},
): [sum: Tensor<"float32", R>, normed: Tensor<D, R>] {
	const given = { ...options, x, branch, gain };
	check("addLayerNorm", given);
	return addLayerNormOp(given) as [Tensor<"float32", R>, Tensor<D, R>];
}
