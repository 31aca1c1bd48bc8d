// CompressibleWeights of small magnitude set to zero (paper, Table 3).

import { keep, noGrad, scope, Tensor } from "../../tensor/mod.ts";
import {
	asFloat32,
	type Compressed,
	type CompressibleWeights,
	type Matrix,
	type MatrixOptions,
	type MatrixReport,
	selectMatrices,
} from "./matrices.ts";

/** Options of {@linkcode pruneMagnitude}. */
export interface PruneOptions extends MatrixOptions {
	/** Share of the weights that become 0. @default {0.5} */
	sparsity?: number;
	/** Among which weights the smallest are chosen: all together, those of a layer, a matrix or a row. @default "global" */
	among?: "global" | "layer" | "matrix" | "row";
}

/** Up to where weights of a group become 0: all below `bits`, and the first `ties` that equal it. */
interface Limit {
	bits: number;
	ties: number;
}

const LOW = 0xffff, MAGNITUDE = 0x7fffffff;

/** The bits of a parameter's float32 values, which order as their magnitudes do once the sign is off. */
function bitsOf(parameter: Tensor): Uint32Array<ArrayBuffer> {
	const values = noGrad(() =>
		scope(() => asFloat32(parameter as Tensor<"float32">).dataSync())
	) as Float32Array<ArrayBuffer>;
	return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/**
 * The limit below which `count` of the values lie, by two counts of 16 bits each.
 *
 * @param pieces the values, each time anew
 */
function limitOf(pieces: () => Iterable<Uint32Array>, count: number): Limit {
	if (count === 0) return { bits: 0, ties: 0 };
	let prefix = -1, left = count;
	const counts = new Float64Array(2 ** 16);
	for (const piece of pieces()) {
		for (let i = 0; i < piece.length; i++) counts[(piece[i]! & MAGNITUDE) >>> 16]!++;
	}
	while (left > counts[++prefix]!) left -= counts[prefix]!;
	counts.fill(0);
	for (const piece of pieces()) {
		for (let i = 0; i < piece.length; i++) {
			const bits = piece[i]! & MAGNITUDE;
			if (bits >>> 16 === prefix) counts[bits & LOW]!++;
		}
	}
	let low = -1;
	while (left > counts[++low]!) left -= counts[low]!;
	return { bits: prefix * 2 ** 16 + low, ties: left };
}

/** Sets values of a group to 0, the first of equal ones; tells how many there were, and the squares of what was lost. */
function prune(values: Uint32Array, limit: Limit): { zeros: number; size: number; lost: number } {
	const floats = new Float32Array(values.buffer, values.byteOffset, values.length);
	let zeros = 0, size = 0, lost = 0;
	for (let i = 0; i < values.length; i++) {
		const bits = values[i]! & MAGNITUDE, square = floats[i]! * floats[i]!;
		size += square;
		if (bits < limit.bits || (bits === limit.bits && limit.ties-- > 0)) {
			lost += square;
			values[i] = 0;
		}
		if (floats[i] === 0) zeros++;
	}
	return { zeros, size, lost };
}

/**
 * Sets the ⌊sparsity · N⌋ weights of the smallest magnitude to 0; of equal ones, those that come first.
 *
 * @example Half of a model's weights
 * ```ts ignore
 * const { parameters, matrices } = pruneMagnitude(model.parameters);
 * ```
 */
export function pruneMagnitude(
	weights: CompressibleWeights,
	options: PruneOptions = {},
): Compressed<MatrixReport> {
	const { sparsity = 0.5, among = "global" } = options;
	if (!(sparsity >= 0 && sparsity <= 1)) {
		throw new RangeError(
			`Cannot set a share of ${sparsity} of the weights to 0: it must be 0 to 1`,
		);
	}
	const matrices = selectMatrices(weights, options);
	const countOf = (some: readonly Matrix[]) =>
		Math.floor(sparsity * some.reduce((sum, { rows, columns }) => sum + rows * columns, 0));
	const within = (bits: Uint32Array, { firstRow, rows, columns }: Matrix) =>
		bits.subarray(firstRow * columns, (firstRow + rows) * columns);
	// Matrices are read once more each time, so that never more than one parameter is in memory.
	function* read(some: readonly Matrix[]) {
		let name = "", bits = new Uint32Array();
		for (const matrix of some) {
			if (matrix.name !== name) bits = bitsOf(weights.get(name = matrix.name)!);
			yield within(bits, matrix);
		}
	}
	const groupOf = (name: string) =>
		among === "global" ? "" : /^layers\.\d+\./.exec(name)?.[0] ?? name;
	const limits = new Map<string, Limit>();
	if (among === "global" || among === "layer") {
		for (const group of new Set(matrices.map(({ name }) => groupOf(name)))) {
			const some = matrices.filter(({ name }) => groupOf(name) === group);
			limits.set(group, limitOf(() => read(some), countOf(some)));
		}
	}
	const parameters = new Map(weights), reports: MatrixReport[] = [];
	for (const name of new Set(matrices.map(({ name }) => name))) {
		const parameter = weights.get(name)!, bits = bitsOf(parameter);
		for (const matrix of matrices.filter((matrix) => matrix.name === name)) {
			const all = within(bits, matrix), { columns } = matrix;
			const pieces = among === "row"
				? Array.from(
					{ length: matrix.rows },
					(_, i) => all.subarray(i * columns, (i + 1) * columns),
				)
				: [all];
			let [zeros, size, lost] = [0, 0, 0];
			for (const piece of pieces) {
				const limit = limits.get(groupOf(name)) ??
					limitOf(() => [piece], Math.floor(sparsity * piece.length));
				const done = prune(piece, limit);
				zeros += done.zeros;
				size += done.size;
				lost += done.lost;
			}
			reports.push({
				...matrix,
				zeros: zeros / all.length,
				relativeError: size > 0 ? Math.sqrt(lost / size) : 0,
			});
		}
		const pruned = new Float32Array(bits.buffer, bits.byteOffset, bits.length);
		parameters.set(
			name,
			keep(Tensor.from<"float32", 2>(parameter.device, "float32", [
				...parameter.shape,
			] as unknown as [number, number], pruned)),
		);
	}
	return { parameters, matrices: reports };
}
