// The types that TypeScript infers for the results of operations: dtype and rank through reductions, reshapes,
// products and the rest. Held by the type checker, which covers this file in every run of the tests; the functions
// are never run.

import { assert } from "@std/assert";
import {
	addLayerNorm,
	all,
	argmax,
	concatenate,
	crossEntropy,
	cumulativeSum,
	dropout,
	embedding,
	full,
	indexSelect,
	layerNorm,
	linear,
	matmul,
	max,
	mean,
	norm,
	normal,
	oneHot,
	randint,
	rmsNorm,
	softmax,
	split,
	stack,
	sum,
	takeAlongAxis,
	type Tensor,
	tensor,
	variance,
	zeros,
} from "../../mod.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
	: false;
/** Compiles only if the value has exactly the type. */
function is<T>() {
	return <V>(_value: V, ..._: Equal<V, T> extends true ? [] : ["the type is", V]): void => {};
}

declare const vector: Tensor<"float32", 1>;
declare const matrix: Tensor<"float32", 2>;
declare const cube: Tensor<"float32", 3>;
declare const batch: Tensor<"float32", 4>;
declare const half: Tensor<"bfloat16", 2>;
declare const ids: Tensor<"int32", 1>;
declare const table: Tensor<"int32", 2>;
declare const mask: Tensor<"uint8", 2>;
declare const any: Tensor<"float32">;

const promises: Record<string, () => void> = {
	"creation": () => {
		is<Tensor<"float32", 2>>()(tensor([[1, 2], [3, 4]]));
		is<Tensor<"int32", 1>>()(tensor([1, 2, 3], { dtype: "int32" }));
		is<Tensor<"float32", 0>>()(tensor(3));
		is<Tensor<"float32", 3>>()(zeros([2, 3, 4]));
		is<Tensor<"bfloat16", 1>>()(full([2], 1, { dtype: "bfloat16" }));
		is<Tensor<"float32", 2>>()(normal([2, 3]));
		is<Tensor<"int32", 1>>()(randint([5], 0, 3));
		// @ts-expect-error: no such dtype
		zeros([1], { dtype: "float16" });
		// @ts-expect-error: not a list of numbers
		tensor(["a"]);
	},
	"reductions": () => {
		is<Tensor<"float32", 0>>()(sum(cube));
		is<Tensor<"float32", 2>>()(sum(cube, 1));
		is<Tensor<"float32", 1>>()(mean(cube, [0, -1]));
		is<Tensor<"float32", 3>>()(max(cube, 0, { keepDims: true }));
		is<Tensor<"float32", 1>>()(variance(matrix, 1));
		is<Tensor<"float32", 0>>()(norm(matrix));
		is<Tensor<"int32", 1>>()(argmax(matrix, 1));
		is<Tensor<"uint8", 1>>()(all(mask, 1));
		is<Tensor<"float32", 2>>()(cumulativeSum(matrix, 1));
		is<Tensor<"float32">>()(sum(any, 0));
		// @ts-expect-error: whole numbers have no mean
		mean(ids);
		// @ts-expect-error: only masks
		all(matrix);
	},
	"products": () => {
		is<Tensor<"float32", 2>>()(matmul(matrix, matrix));
		is<Tensor<"float32", 1>>()(matmul(matrix, vector));
		is<Tensor<"float32", 0>>()(matmul(vector, vector));
		is<Tensor<"float32", 4>>()(matmul(batch, matrix));
		is<Tensor<"bfloat16", 2>>()(matmul(half, half, { dtype: "bfloat16" }));
		is<Tensor<"float32", 3>>()(linear(cube, matrix));
		// @ts-expect-error: dtypes differ
		matmul(matrix, half);
		// @ts-expect-error: a weight is a matrix
		linear(cube, vector);
	},
	"norms, softmax and losses": () => {
		is<Tensor<"float32", 3>>()(layerNorm(cube, vector));
		is<Tensor<"bfloat16", 2>>()(rmsNorm(matrix, vector, { dtype: "bfloat16" }));
		is<Tensor<"float32", 4>>()(softmax(batch));
		is<Tensor<"float32", 0>>()(crossEntropy(matrix, ids));
		is<Tensor<"float32", 1>>()(crossEntropy(matrix, ids, { reduction: "none" }));
		is<Tensor<"float32", 2>>()(dropout(matrix, 0.5));
		const [added, normed] = addLayerNorm(matrix, matrix, vector);
		is<Tensor<"float32", 2>>()(added);
		is<Tensor<"float32", 2>>()(normed);
		// @ts-expect-error: the gain is a vector
		layerNorm(cube, matrix);
		// @ts-expect-error: targets are whole numbers
		crossEntropy(matrix, vector);
	},
	"methods": () => {
		is<Tensor<"float32", 2>>()(vector.add(matrix));
		is<Tensor<"bfloat16", 2>>()(half.mul(2).sub(half).div(half));
		is<Tensor<"float32", 3>>()(cube.matmul(matrix));
		is<Tensor<"float32", 2>>()(cube.sum(0));
		is<Tensor<"float32", 3>>()(cube.mean([0, 1], { keepDims: true }));
		is<Tensor<"float32", 0>>()(cube.sum());
		is<Tensor<"float32">>()(any.add(vector));
		// @ts-expect-error: dtypes differ
		matrix.add(half);
		// @ts-expect-error: dtypes differ
		matrix.matmul(half);
	},
	"indexing and joining": () => {
		is<Tensor<"float32", 2>>()(embedding(ids, matrix));
		is<Tensor<"float32", 3>>()(embedding(table, matrix));
		is<Tensor<"float32", 2>>()(takeAlongAxis(matrix, table, 1));
		is<Tensor<"float32", 3>>()(indexSelect(cube, ids, 1));
		is<Tensor<"float32", 3>>()(oneHot(table, 5));
		is<Tensor<"bfloat16", 2>>()(concatenate([half, half]));
		is<Tensor<"float32", 3>>()(stack([matrix, matrix]));
		is<Tensor<"float32", 2>[]>()(split(matrix, 3));
		// @ts-expect-error: ids are whole numbers
		embedding(vector, matrix);
	},
};

Deno.test("the types of results are those that the operations promise", () => {
	assert(Object.keys(promises).length > 0); // the checker has done the rest
});
