// Random matrices with orthogonal rows or columns.

import { type Device, type Generator, normal, Tensor } from "../tensor/mod.ts";

/**
 * A random matrix whose rows, or columns if they are fewer, are orthogonal vectors of one length: normal numbers, made
 * orthogonal one vector after the other on the CPU (Gram and Schmidt's procedure, twice for rounding's sake).
 *
 * @param shape [rows, columns]
 * @param length of the vectors
 */
export function orthogonal(
	device: Device,
	shape: readonly number[],
	length: number,
	generator: Generator,
): Tensor<"float32"> {
	const [rows, columns] = shape as [number, number];
	const [count, size] = rows <= columns ? [rows, columns] : [columns, rows];
	using random = normal([count, size], { device, generator });
	const values = Float64Array.from(random.dataSync());
	const vectors = Array.from(
		{ length: count },
		(_, i) => values.subarray(i * size, (i + 1) * size),
	);
	for (const [i, vector] of vectors.entries()) {
		for (let pass = 0; pass < 2; pass++) {
			for (const before of vectors.slice(0, i)) {
				let product = 0;
				for (let j = 0; j < size; j++) product += vector[j]! * before[j]!;
				for (let j = 0; j < size; j++) vector[j]! -= product * before[j]!;
			}
			const norm = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
			for (let j = 0; j < size; j++) vector[j]! /= norm;
		}
	}
	const data = rows <= columns
		? values
		: Float64Array.from(values, (_, at) => vectors[at % count]![Math.floor(at / count)]!);
	return Tensor.from(device, "float32", shape, data.map((x) => x * length));
}
