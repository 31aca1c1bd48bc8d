// Products of row-major matrices against float64; the columns of cuBLAS are not seen from here.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { CudaError } from "../../src/cuda/errors.ts";
import { gemm } from "../../src/cuda/gemm.ts";
import { checkProduct } from "../../src/doctor/self_test/gemm.ts";
import { given, kernelTest } from "./kernels/bench.ts";

const TYPES = [["float32", "float32"], ["bfloat16", "float32"], ["bfloat16", "bfloat16"]] as const;

for (const [input, output] of TYPES) {
	kernelTest(`products of ${input} into ${output} equal the sums`, (bench) => {
		for (const transposeB of [false, true]) {
			for (const [rows, columns, inner] of [[1, 1, 1], [1, 577, 63], [31, 2, 65], [33, 65, 127]]) {
				const shape = { rows, columns, inner, transposeB };
				checkProduct(bench, input, output, shape);
				checkProduct(bench, input, output, { ...shape, gap: 5, alpha: -0.5, beta: 1 });
				checkProduct(bench, input, output, { ...shape, batch: 3, shareA: true });
			}
		}
	});
}

kernelTest("products of many rows, for which the host packs a factor, equal the sums", (bench) => {
	for (const [input, output] of TYPES) {
		for (const transposeB of [false, true]) {
			for (const [rows, columns, inner] of [[256, 64, 64], [257, 65, 66], [300, 130, 257]]) {
				const shape = { rows, columns, inner, transposeB };
				checkProduct(bench, input, output, shape);
				checkProduct(bench, input, output, { ...shape, gap: 5, alpha: -0.5, beta: 1, batch: 2 });
			}
		}
	}
});

kernelTest("products of any shape, type and layout equal the sums", (bench) => {
	const coin = () => bench.random.below(2) === 1;
	for (let i = 0; i < 60; i++) {
		// Sizes of all magnitudes, most of them odd to whatever a product is cut into.
		const [rows, columns, inner] = [0, 0, 0].map(() =>
			1 + bench.random.below(2 ** (1 + bench.random.below(8)))
		);
		const [input, output] = TYPES[bench.random.below(TYPES.length)];
		checkProduct(bench, input, output, {
			rows,
			columns,
			inner,
			transposeA: coin(),
			transposeB: coin(),
			tf32: coin(),
			shareA: coin(),
			batch: 1 + bench.random.below(4),
			gap: bench.random.below(4),
			alpha: [1, -0.5, 3][bench.random.below(3)],
			beta: [0, 1, -0.25][bench.random.below(3)],
		});
	}
});

kernelTest(
	"products of 63 terms, which oneDNN's kernels for AMX do not survive, equal the sums",
	(bench) => {
		for (const [rows, columns] of [[33, 6], [142, 1], [67, 40]]) {
			for (const transposeA of [false, true]) {
				for (const output of ["float32", "bfloat16"] as const) {
					checkProduct(bench, "bfloat16", output, {
						rows,
						columns,
						inner: 63,
						transposeA,
						beta: 1,
					});
				}
			}
		}
	},
);

kernelTest("a refused product names its shape", ({ device }) => {
	const x = given(device, "float32", new Float32Array(4));
	const operand = { pointer: x.pointer, rowStride: 1 };
	const error = assertThrows(
		() =>
			gemm(device, {
				a: operand,
				b: operand,
				c: operand,
				rows: 2,
				columns: 2,
				inner: 2,
				input: "float32",
			}),
		CudaError,
	);
	assertEquals(error.function, "cublasGemmStridedBatchedEx");
	assertMatch(error.message, /product of 2×2 and 2×2, batch 1, float32$/);
});
