// Which matrices of a model compression changes, and what is told of each.

import { cast, contiguous, type FloatType, type Tensor } from "../../tensor/mod.ts";

/** Parameters of a model by name, matrices [out, in]. */
export type CompressibleWeights = ReadonlyMap<string, Tensor<FloatType>>;

/** Which matrices. */
export interface MatrixOptions {
	/**
	 * Whether a parameter is compressed. @default the matrices of the layers: not embeddings, output layer, norms and
	 * biases
	 */
	selects?: (name: string, parameter: Tensor<FloatType>) => boolean;
	/**
	 * Rows of each matrix that a parameter is made of, one below the other, as of query, key and value. By default a
	 * parameter is one matrix.
	 */
	parts?: (name: string, parameter: Tensor<FloatType>) => readonly number[];
}

/** The compressed parameters; free those that are not the given ones. */
export interface Compressed<R> {
	/** All parameters: float32 copies of those that are compressed, the given tensors of the others. */
	parameters: Map<string, Tensor<FloatType>>;
	/** What was done to each matrix, in order. */
	matrices: R[];
}

/** A matrix, as it is told of. */
export interface MatrixReport {
	/** The parameter it is in. */
	name: string;
	/** Rows of the parameter before it. */
	firstRow: number;
	/** Its rows. */
	rows: number;
	/** Its columns. */
	columns: number;
	/** ‖W - Ŵ‖ / ‖W‖ of the matrix before and after; 0 of one of zeros. */
	relativeError: number;
	/** Share of its entries that are 0 afterwards. */
	zeros: number;
}

/** A matrix within a parameter. */
export interface Matrix {
	name: string;
	firstRow: number;
	rows: number;
	columns: number;
}

const inLayers = (name: string, { shape }: Tensor<FloatType>) =>
	name.startsWith("layers.") && shape.length === 2;

/** The matrices that are compressed, in the order of the parameters and their rows. */
export function selectMatrices(
	weights: CompressibleWeights,
	{ selects = inLayers, parts }: MatrixOptions,
) {
	return Array.from(weights).filter((one) => selects(...one)).flatMap(([name, parameter]) => {
		const [rows = 1, columns = 1] = parameter.shape;
		if (parameter.shape.length !== 2) {
			throw new RangeError(
				`Cannot compress ${name} of shape [${parameter.shape}]: it is no matrix`,
			);
		}
		const of = parts?.(name, parameter) ?? [];
		const each = of.length > 0 ? of : [rows];
		if (each.reduce((a, b) => a + b) !== rows || !each.every((n) => Number.isInteger(n) && n > 0)) {
			throw new RangeError(
				`Cannot compress ${name} of ${rows} rows in parts of ${each.join(" + ")} rows`,
			);
		}
		let firstRow = 0;
		return each.map((rows): Matrix => {
			const matrix = { name, firstRow, rows, columns };
			firstRow += rows;
			return matrix;
		});
	});
}

/** A float32 copy of a parameter, or the contiguous parameter itself. */
export function asFloat32(parameter: Tensor<FloatType>): Tensor<"float32", 2> {
	const exact = parameter.dtype === "bfloat16"
		? cast(parameter as Tensor<"bfloat16", 2>, "float32")
		: parameter as Tensor<"float32", 2>;
	return contiguous(exact);
}
