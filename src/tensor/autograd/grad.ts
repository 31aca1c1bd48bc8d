// Gradients as values: of a result with respect to tensors, and of functions.

import { keepReturned } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { type BackwardOptions, runBackward } from "./backward.ts";
import { enableGrad } from "./recording.ts";

/**
 * The gradients of a result with respect to tensors that it derives from, which may be leaves or between; the
 * `grad` of leaves is left as it is.
 *
 * @param output one number, unless a gradient to start from is given
 * @param inputs tensors that require a gradient
 * @returns a gradient an input, of its shape and dtype; null where `output` does not derive from it
 */
export function gradients<const I extends readonly Tensor[]>(
	output: Tensor,
	inputs: I,
	options: BackwardOptions = {},
): { -readonly [K in keyof I]: I[K] | null } {
	const edges = inputs.map(({ edge }, i) => {
		if (edge) return edge;
		throw new RangeError(
			`Cannot compute a gradient: input ${i} requires none; call its requireGrad() before it is used`,
		);
	});
	const found = runBackward(output, options, { edges, stop: false });
	return found as Tensor[] as { -readonly [K in keyof I]: I[K] | null };
}

/** A function's value and its gradients. */
export interface ValueAndGradients<O, I extends readonly Tensor[]> {
	/** What the function returned, detached. */
	value: O;
	/** A gradient an argument; zeros are null. */
	gradients: { -readonly [K in keyof I]: I[K] | null };
}

/**
 * The function that computes the value of `f`, one number, and its gradients with respect to its arguments.
 *
 * @example The slope of x³ at 2
 * ```ts
 * import { Device, mul, Tensor, valueAndGrad } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using x = Tensor.from<"float32", 0>(device, "float32", [], [2]);
 * const { value, gradients: [slope] } = valueAndGrad((x: Tensor<"float32", 0>) => mul(x, mul(x, x)))(x);
 * console.log(value.dataSync(), slope?.dataSync()); // Float32Array [8] Float32Array [12]
 * ```
 */
export function valueAndGrad<I extends readonly Tensor[], O extends Tensor>(
	f: (...inputs: I) => O,
): (...inputs: I) => ValueAndGradients<O, I> {
	return (...inputs) =>
		keepReturned(
			() => {
				const leaves = inputs.map((input) => {
					const leaf = input.detach();
					return leaf.isDifferentiable ? leaf.requireGrad() : leaf;
				});
				const output = enableGrad(() => f(...leaves as readonly Tensor[] as I));
				const differentiable = leaves.filter(({ requiresGrad }) => requiresGrad);
				const found = output.requiresGrad ? gradients(output, differentiable) : [];
				return {
					value: output.detach() as O,
					gradients: leaves.map((leaf) => {
						const at = differentiable.indexOf(leaf);
						return at < 0 ? null : found[at] ?? null;
					}) as Tensor[] as { -readonly [K in keyof I]: I[K] | null },
				};
			},
			"valueAndGrad",
			({ value, gradients }, into) => [value, ...gradients].forEach((one) => into.add(one)),
		);
}

/** The function that computes the gradients of `f`: {@linkcode valueAndGrad} without the value. */
export function grad<I extends readonly Tensor[]>(
	f: (...inputs: I) => Tensor,
): (...inputs: I) => { -readonly [K in keyof I]: I[K] | null } {
	return (...inputs) => {
		const { value, gradients } = valueAndGrad<I, Tensor>(f)(...inputs);
		value.dispose();
		return gradients;
	};
}
