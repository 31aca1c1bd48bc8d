// A choice between two tensors, element by element.

import { defineOp } from "./autograd/define_op.ts";
import type { FloatType } from "./dtype.ts";
import { commonType, type Operand, zip3 } from "./elementwise.ts";
import type { MaxRank } from "./rank.ts";
import { sumTo } from "./sum_to.ts";
import type { Tensor } from "./tensor.ts";

/** The element types that {@linkcode where} chooses between. */
export type ChosenType = FloatType | "int32" | "uint8";

const isTensor = (operand: Operand): operand is Tensor => typeof operand !== "number";

const whereOp = defineOp("where", (condition: Tensor<"uint8">, a: Operand, b: Operand) => {
	if (condition.dtype !== "uint8") {
		throw new TypeError(
			`Cannot choose by a condition of ${condition.dtype}: it must be uint8, as comparisons give it`,
		);
	}
	const dtype = commonType("choose between", [a, b]);
	const shapes = [a, b].map((operand) => isTensor(operand) ? operand.shape : null);
	return {
		result: zip3("choose between", "where", dtype, condition, a, b) as Tensor,
		inputs: [a, b].filter(isTensor),
		saved: [condition],
		backward: (g, [condition], needs) => {
			const choose = (a: Operand, b: Operand) => zip3("where", "where", g.dtype, condition, a, b);
			const made = [() => choose(g, 0), () => choose(0, g)].filter((_, i) => shapes[i]);
			const to = shapes.filter((shape) => shape !== null);
			return made.map((make, i) => needs[i] ? sumTo(make() as Tensor<FloatType>, to[i]!) : null);
		},
	};
});

/**
 * a where `condition` is not 0, b elsewhere; the three are broadcast together. a or b may be a number. What is not
 * chosen has gradient 0, even where it is NaN.
 *
 * @example A causal mask
 * ```ts
 * import { Device, Tensor, where } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using mask = Tensor.from<"uint8", 2>(device, "uint8", [2, 2], [1, 0, 1, 1]);
 * using scores = Tensor.from<"float32", 2>(device, "float32", [2, 2], [1, 2, 3, 4]);
 * using masked = where(mask, scores, -Infinity);
 * console.log(masked.dataSync()); // Float32Array [1, -Infinity, 3, 4]
 * ```
 */
export function where<D extends ChosenType, R extends number, S extends number, C extends number>(
	condition: Tensor<"uint8", C>,
	a: Tensor<D, R>,
	b: Tensor<NoInfer<D>, S>,
): Tensor<D, MaxRank[MaxRank[R][S]][C]>;
/** The same with a number in b's place. */
export function where<D extends ChosenType, R extends number, C extends number>(
	condition: Tensor<"uint8", C>,
	a: Tensor<D, R>,
	b: number,
): Tensor<D, MaxRank[R][C]>;
/** The same with a number in a's place. */
export function where<D extends ChosenType, R extends number, C extends number>(
	condition: Tensor<"uint8", C>,
	a: number,
	b: Tensor<D, R>,
): Tensor<D, MaxRank[R][C]>;
export function where(condition: Tensor<"uint8">, a: Operand, b: Operand): Tensor {
	return whereOp(condition, a, b);
}
