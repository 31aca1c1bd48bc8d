// Which axes and shapes reductions take and give, in types and at run time.

import { assertEquals, assertThrows } from "@std/assert";
import { argmax, crossEntropy, logSumExp, max, scope, sum, Tensor } from "../../mod.ts";
import { linesOf, reductionOf } from "../../src/tensor/axes.ts";
import { reduceMiddle } from "../../src/tensor/reduce.ts";
import { linesAlong } from "./plain.ts";
import { assertClose, device, deviceTest, normal } from "./on_device.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
	: false;
/** Compiles only if the types are the same. */
function same<A, B>(..._: Equal<A, B> extends true ? [] : ["the types differ", A, B]): void {}

/** Never run: what the types of reductions promise. */
export function promises(
	cube: Tensor<"float32", 3>,
	half: Tensor<"bfloat16", 2>,
	unknown: Tensor<"float32">,
	ids: Tensor<"int32", 1>,
): void {
	const whole = sum(cube), one = sum(cube, 1), two = max(cube, [0, -1]);
	same<typeof whole, Tensor<"float32", 0>>();
	same<typeof one, Tensor<"float32", 2>>();
	same<typeof two, Tensor<"float32", 1>>();
	const kept = logSumExp(cube, -1, { keepDims: true }),
		all = sum(half, undefined, { keepDims: true });
	same<typeof kept, Tensor<"float32", 3>>();
	same<typeof all, Tensor<"bfloat16", 2>>();
	const index = argmax(half, 0), flat = argmax(cube);
	same<typeof index, Tensor<"int32", 1>>();
	same<typeof flat, Tensor<"int32", 0>>();
	const any = sum(unknown, 0);
	same<typeof any, Tensor<"float32", number>>();
	const loss = crossEntropy(half, ids), losses = crossEntropy(half, ids, { reduction: "none" });
	same<typeof loss, Tensor<"float32", 0>>();
	same<typeof losses, Tensor<"float32", 1>>();
	// @ts-expect-error: targets of a matrix of logits are a vector
	crossEntropy(half, half);
	// @ts-expect-error: targets have one axis less
	crossEntropy(cube, ids);
	// @ts-expect-error: integers have no sum here
	sum(ids);
	// @ts-expect-error: moments are of float32
	logSumExp(half);
}

Deno.test("a reduction has the shapes that its axes leave", () => {
	const x = { shape: [2, 3, 5] };
	const of = (axes?: number | number[], keepDims = false) => {
		const { shape, kept, count } = reductionOf("sum", x, axes, { keepDims });
		return { shape, kept, count };
	};
	assertEquals(of(), { shape: [], kept: [1, 1, 1], count: 30 });
	assertEquals(of(-1), { shape: [2, 3], kept: [2, 3, 1], count: 5 });
	assertEquals(of([2, 0]), { shape: [3], kept: [1, 3, 1], count: 10 });
	assertEquals(of([]), { shape: [2, 3, 5], kept: [2, 3, 5], count: 1 });
	assertEquals(of(1, true), { shape: [2, 1, 5], kept: [2, 1, 5], count: 3 });
});

Deno.test("axes that are not there, or named twice, are refused", () => {
	const x = { shape: [2, 3] };
	assertThrows(
		() => reductionOf("sum", x, 2, {}),
		RangeError,
		"Cannot compute sum of [2,3]: there is no axis 2, only -2 to 1",
	);
	assertThrows(
		() => reductionOf("sum", x, [1, -1], {}),
		RangeError,
		"Cannot compute sum of [2,3] over axes 1,-1: one is named twice",
	);
});

deviceTest("lines go along the reduced axes, and back", () => {
	const shape = [2, 3, 4, 5], data = normal(120).map((v) => 1 + Math.abs(v));
	using x = Tensor.from<"float32", 4>(device, "float32", [2, 3, 4, 5], data);
	for (const axes of [[0], [1], [3], [0, 1], [1, 2], [0, 2], [1, 3], [0, 3], [0, 1, 2, 3], []]) {
		scope(() => {
			const { dense, extents, restore } = linesOf(x, reductionOf("sum", x, axes, {}));
			const sums = reduceMiddle("sum", dense, extents).dataSync();
			const lines = linesAlong({ shape, data: Float64Array.from(data) }, axes);
			assertClose(sums, lines.map((line) => line.reduce((a, b) => a + b, 0)), 1e-6, `${axes}`);
			assertEquals(restore(dense.reshape([120])).dataSync(), data);
		});
	}
});
