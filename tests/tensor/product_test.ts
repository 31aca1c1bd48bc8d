// How few calls of gemm a product takes; its values are tested through matmul and linear.

import { assertEquals } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { multiply } from "../../src/tensor/product.ts";
import { device, deviceTest } from "./on_device.ts";

/** Calls of gemm in `body`. */
function products(body: () => Tensor): number {
	const cublas = device.libraries.cublas as unknown as Record<
		string,
		(...args: unknown[]) => number
	>;
	const gemm = cublas.cublasGemmStridedBatchedEx!;
	let calls = 0;
	cublas.cublasGemmStridedBatchedEx = (...args) => (calls++, gemm(...args));
	try {
		body().dispose();
	} finally {
		cublas.cublasGemmStridedBatchedEx = gemm;
	}
	return calls;
}

deviceTest("a product is one call where one batch axis steps evenly", () => {
	const zeros = (...shape: number[]) => Tensor.zeros<"float32", number>(device, "float32", shape);
	using x = zeros(2, 3, 4, 5), w = zeros(5, 6), b = zeros(2, 3, 5, 6), odd = zeros(3, 5, 6);
	const count = (a: Tensor, b: Tensor) => products(() => multiply(a, b, "float32"));
	assertEquals(count(x, w), 1, "one matrix for all");
	assertEquals(count(x, b), 1, "batches of the same shape");
	assertEquals(count(x, odd), 2, "an axis more on one side");
	using heads = x.permute([0, 2, 1, 3]), keys = heads.transpose();
	assertEquals(count(heads, keys), 2, "heads that lie between tokens");
});
