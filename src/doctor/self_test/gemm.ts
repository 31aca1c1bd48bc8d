// Products of row-major matrices against sums in float64; the columns of cuBLAS are not seen from here.

import { gemm, type GemmType } from "../../cuda/gemm.ts";
import { assertClose, type Bench, type SelfTest, TOLERANCE } from "./self_test.ts";

/** One product; `gap` elements lie between rows. */
export interface Product {
	rows: number;
	columns: number;
	inner: number;
	transposeA?: boolean;
	transposeB?: boolean;
	tf32?: boolean;
	batch?: number;
	shareA?: boolean;
	gap?: number;
	alpha?: number;
	beta?: number;
}

/** Compares a product of random matrices with sums in float64. */
export function checkProduct(
	bench: Bench,
	input: GemmType,
	output: GemmType,
	of: Product,
): number {
	const { rows, columns, inner, transposeA = false, transposeB = false, tf32 = false } = of;
	const { batch = 1, gap = 0, beta = 0, alpha = 1 } = of;
	const strides = {
		a: (transposeA ? rows : inner) + gap,
		b: (transposeB ? inner : columns) + gap,
		c: columns + gap,
	};
	const sizes = {
		a: (transposeA ? inner : rows) * strides.a,
		b: (transposeB ? columns : inner) * strides.b,
		c: rows * strides.c,
	};
	const draw = (length: number, type: GemmType, poison = false) =>
		bench.given(type, poison ? new Float32Array(length).fill(NaN) : bench.normals(length));
	const a = draw(sizes.a * (of.shareA ? 1 : batch), input), b = draw(sizes.b * batch, input);
	const c = draw(sizes.c * batch, output, beta === 0);
	const strideA = of.shareA ? 0 : sizes.a;
	const extents = { rows, columns, inner, batch, transposeA, transposeB };
	gemm(bench.device, {
		a: { pointer: a.pointer, rowStride: strides.a, batchStride: strideA },
		b: { pointer: b.pointer, rowStride: strides.b, batchStride: sizes.b },
		c: { pointer: c.pointer, rowStride: strides.c, batchStride: sizes.c },
		...extents,
		...{ tf32, alpha, beta, input, output },
	});
	const expected = c.numbers.slice(), scales = new Float64Array(expected.length);
	for (let i = 0; i < batch; i++) {
		for (let r = 0; r < rows; r++) {
			for (let column = 0; column < columns; column++) {
				let sum = 0, scale = 0;
				for (let k = 0; k < inner; k++) {
					const x = a.numbers[i * strideA + (transposeA ? k * strides.a + r : r * strides.a + k)];
					const at = transposeB ? column * strides.b + k : k * strides.b + column;
					const product = x * b.numbers[i * sizes.b + at];
					sum += product;
					scale += Math.abs(product);
				}
				const at = i * sizes.c + r * strides.c + column;
				const old = beta === 0 ? 0 : beta * c.numbers[at];
				expected[at] = alpha * sum + old;
				scales[at] = Math.abs(alpha) * scale + Math.abs(old);
			}
		}
	}
	const rounds = tf32 && input === "float32";
	const tolerance = rounds ? TOLERANCE.tf32Product(inner) : TOLERANCE.product(inner);
	return assertClose(c, expected, tolerance, `${input} → ${output} ${JSON.stringify(of)}`, scales);
}

const ENDS: [GemmType, GemmType][] = [
	["float32", "float32"],
	["bfloat16", "float32"],
	["bfloat16", "bfloat16"],
];

/** Products by cuBLAS, which are no kernels of ours. */
export const selfTests: SelfTest[] = ENDS.map(([input, output]) => ({
	kernels: [],
	name: `product of ${input} into ${output}`,
	run(bench) {
		const shape = { rows: 33, columns: 65, inner: 127, batch: 3, alpha: -0.5, beta: 1 };
		return [false, true].map((transposeB) =>
			checkProduct(bench, input, output, { ...shape, transposeB })
		);
	},
}));
