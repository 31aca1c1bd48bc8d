// The product of matrices, and of batches of them.

import { defineOp } from "./autograd/define_op.ts";
import { broadcastPair } from "./broadcast.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { inType } from "./precision.ts";
import { multiply } from "./product.ts";
import { scope } from "./scope.ts";
import { sumTo } from "./sum_to.ts";
import type { Tensor } from "./tensor.ts";

/** `MatmulRank[R][S]`: the rank of a product; a vector's axis is summed away. */
export type MatmulRank = {
	1: { 1: 0; 2: 1; 3: 2; 4: 3; 5: 4; 6: 5; [rank: number]: number };
	2: { 1: 1; 2: 2; 3: 3; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	3: { 1: 2; 2: 3; 3: 3; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	4: { 1: 3; 2: 4; 3: 4; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	5: { 1: 4; 2: 5; 3: 5; 4: 5; 5: 5; 6: 6; [rank: number]: number };
	6: { 1: 5; 2: 6; 3: 6; 4: 6; 5: 6; 6: 6; [rank: number]: number };
	[rank: number]: { [rank: number]: number };
};

/** Options of {@linkcode matmul}. */
export interface MatmulOptions<Y extends FloatType> {
	/** Type of the result, which float32 factors have float32. Sums are float32. @default {"float32"} */
	dtype?: Y;
}

/** The sum over the batch of aᵀ · g, for a factor b that all of the batch shares: one product of many rows. */
function sharedGradient(a: Tensor, g: Tensor, dtype: FloatType): Tensor {
	const matrix = (x: Tensor) => contiguous(x).reshape([x.size / x.shape.at(-1)!, x.shape.at(-1)!]);
	return multiply(matrix(a).transpose(), matrix(g), dtype);
}

const matmulOp = defineOp("matmul", (a: Tensor, b: Tensor, dtype: FloatType) => ({
	result: multiply(a, b, dtype) as Tensor,
	inputs: [a, b],
	saved: [a, b],
	backward: (gradient, [a, b], needs) => {
		const input = a.dtype as FloatType, g = inType(gradient as Tensor<FloatType>, input);
		const shared = b.shape.length === 2 && a.shape.length > 2 && g.size > 0 && a.size > 0;
		const da = needs[0] ? sumTo(multiply(g, b.transpose(), input), a.shape) : null;
		const db = !needs[1]
			? null
			: shared
			? sharedGradient(a, g, input)
			: sumTo(multiply(a.transpose(), g, input), b.shape);
		return [da, db];
	},
}));

/**
 * The product of matrices, a · b, over the last axis of `a` and the second last of `b`. The axes before the last
 * two are a batch, and broadcast. A vector is a row on the left and a column on the right, whose axis the
 * result does not have. Transposed views are multiplied as they lie, without copies.
 *
 * @param a [..., m, k], or [k]
 * @param b [..., k, n], or [k], of the same dtype
 * @returns [..., m, n]
 * @throws {RangeError} if the shapes do not fit
 * @example Scores of queries against keys
 * ```ts
 * import { Device, matmul, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using q = Tensor.from<"float32", 2>(device, "float32", [2, 3], [1, 0, 0, 0, 1, 0]);
 * using k = Tensor.from<"float32", 2>(device, "float32", [2, 3], [1, 2, 3, 4, 5, 6]);
 * using scores = matmul(q, k.transpose());
 * console.log(scores.dataSync()); // Float32Array [1, 4, 2, 5]
 * ```
 */
export function matmul<
	D extends FloatType,
	R extends number,
	S extends number,
	Y extends "float32" | NoInfer<D> = "float32",
>(
	a: Tensor<D, R>,
	b: Tensor<NoInfer<D>, S>,
	{ dtype = "float32" as Y }: MatmulOptions<Y> = {},
): Tensor<Y, MatmulRank[R][S]> {
	const refuse = (why: string, Kind: typeof RangeError | typeof TypeError = RangeError) => {
		throw new Kind(`Cannot multiply [${a.shape}] and [${b.shape}]: ${why}`);
	};
	if (a.shape.length === 0 || b.shape.length === 0) refuse("a number has no axis; use mul()");
	if (a.dtype !== b.dtype) refuse(`they are ${a.dtype} and ${b.dtype}; cast one`, TypeError);
	if (a.dtype === "float32" && dtype !== "float32") {
		refuse(`float32 factors give float32, not ${dtype}`, TypeError);
	}
	const [left, right] = [asMatrix(a.shape, 0), asMatrix(b.shape, 1)];
	const inner = left.at(-1)!, rows = right.at(-2)!;
	if (inner !== rows) {
		refuse(
			`the last axis of the first, ${inner}, and ${
				b.shape.length === 1 ? "that" : "the second last"
			} of the second, ${rows}, must be equal`,
		);
	}
	if (broadcastPair(left.slice(0, -2), right.slice(0, -2)).includes(-1)) {
		refuse("counted from the last, extents before the last two must be equal, or one of them 1");
	}
	const result = left === a.shape && right === b.shape ? matmulOp(a, b, dtype) : scope(() => {
		const product = matmulOp(a.reshape(left), b.reshape(right), dtype);
		const axes = product.shape.slice(0, -2);
		if (left === a.shape) axes.push(product.shape.at(-2)!);
		if (right === b.shape) axes.push(product.shape.at(-1)!);
		return product.reshape(axes);
	});
	return result as Tensor<Y, MatmulRank[R][S]>;
}

/** The shape, with an axis of extent 1 put at `axis` of a vector's. */
function asMatrix(shape: readonly number[], axis: number): readonly number[] {
	return shape.length === 1 ? shape.toSpliced(axis, 0, 1) : shape;
}
