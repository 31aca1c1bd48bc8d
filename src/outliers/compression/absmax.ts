// CompressibleWeights rounded to a few bits, with the largest absolute value as the largest number (paper, Table 3): a single
// outlier makes the steps of all others coarse.

import {
	abs,
	cast,
	clamp,
	concatenate,
	div,
	equal,
	keep,
	max,
	mean,
	mul,
	noGrad,
	round,
	scope,
	square,
	sub,
	sum,
	type Tensor,
	where,
} from "../../tensor/mod.ts";
import {
	asFloat32,
	type Compressed,
	type CompressibleWeights,
	type MatrixOptions,
	type MatrixReport,
	selectMatrices,
} from "./matrices.ts";

/** Options of {@linkcode absmaxW8}. */
export interface AbsmaxOptions extends MatrixOptions {
	/** Bits of a weight, 2 to 16. @default {8} */
	bits?: number;
	/** What shares a scale: a matrix, an output row, an input column, or so many neighbors in a row. @default "tensor" */
	granularity?: "tensor" | "row" | "column" | { group: number };
}

/** A matrix that was rounded. */
export interface AbsmaxReport extends MatrixReport {
	/** The step between two values; the largest, if there are several. */
	scale: number;
	/** max|W| / mean|W| before. */
	maxOverMean: number;
}

/**
 * Rounds each matrix to whole multiples of s = max|W| / (2^(bits - 1) - 1): Ŵ = s · round(W / s), ties to even.
 * Values stay float32, so that any model runs with them.
 *
 * @example The weights of a model in 8 bits
 * ```ts ignore
 * const { parameters, matrices } = absmaxW8(model.parameters, { bits: 8 });
 * ```
 */
export function absmaxW8(
	weights: CompressibleWeights,
	options: AbsmaxOptions = {},
): Compressed<AbsmaxReport> {
	const { bits = 8, granularity = "tensor" } = options;
	if (!(Number.isInteger(bits) && bits >= 2 && bits <= 16)) {
		throw new RangeError(`Cannot round weights to ${bits} bits: it must be from 2 to 16`);
	}
	const matrices = selectMatrices(weights, options), reports: AbsmaxReport[] = [];
	const parameters = new Map(weights);
	noGrad(() => {
		for (const name of new Set(matrices.map(({ name }) => name))) {
			parameters.set(
				name,
				scope(() => {
					const whole = asFloat32(weights.get(name)!);
					const rounded = matrices.filter((matrix) => matrix.name === name).map((matrix) => {
						const { firstRow, rows, columns } = matrix;
						const before = whole.slice(firstRow, firstRow + rows);
						const scales = scalesOf(before, 2 ** (bits - 1) - 1, granularity, name);
						const after = roundTo(before, scales, 2 ** (bits - 1) - 1);
						const sizes = abs(before);
						const [size, error, largest, average, zeros, scale] = [
							sum(square(before)),
							sum(square(sub(before, after))),
							max(sizes),
							mean(sizes),
							sum(cast(equal(after, 0), "float32")),
							max(scales),
						].map((one) => one.item()) as [number, number, number, number, number, number];
						reports.push({
							...matrix,
							scale: largest > 0 ? scale : 0,
							maxOverMean: average > 0 ? largest / average : 0,
							relativeError: size > 0 ? Math.sqrt(error / size) : 0,
							zeros: zeros / (rows * columns),
						});
						return after;
					});
					return keep(rounded.length === 1 ? rounded[0]!.mul(1) : concatenate(rounded));
				}),
			);
		}
	});
	return { parameters, matrices: reports };
}

/** The scales of a matrix, in a shape that goes with {@linkcode roundTo}. */
function scalesOf(
	matrix: Tensor<"float32", 2>,
	levels: number,
	granularity: NonNullable<AbsmaxOptions["granularity"]>,
	name: string,
): Tensor<"float32"> {
	const sizes = abs(matrix), keepDims = { keepDims: true } as const;
	const largest: Tensor<"float32"> = (() => {
		if (granularity === "tensor") return max(sizes, undefined, keepDims);
		if (granularity === "row") return max(sizes, 1, keepDims);
		if (granularity === "column") return max(sizes, 0, keepDims);
		const { group } = granularity, [rows, columns] = matrix.shape;
		if (!(Number.isInteger(group) && group > 0 && columns % group === 0)) {
			throw new RangeError(
				`Cannot round ${name} of ${columns} columns in groups of ${group}: it must divide them`,
			);
		}
		return max(sizes.reshape([rows, columns / group, group]), 2, keepDims);
	})();
	// Where all is 0, any scale leaves it so.
	return div(where(equal(largest, 0), 1, largest) as Tensor<"float32">, levels);
}

function roundTo(
	matrix: Tensor<"float32", 2>,
	scales: Tensor<"float32">,
	levels: number,
): Tensor<"float32", 2> {
	const [rows, columns] = matrix.shape;
	const grouped: Tensor<"float32"> = scales.shape.length === 3
		? matrix.reshape([rows, scales.shape[1]!, columns / scales.shape[1]!])
		: matrix;
	const whole = clamp(round(div(grouped, scales)), { min: -levels, max: levels });
	return mul(whole, scales).reshape([rows, columns]) as Tensor<"float32", 2>;
}
