// Operations that gradients flow through: what they compute, and how their gradient is computed, in one place.

import { keepReturned } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { type Edge, GraphNode } from "./graph.ts";
import { isRecording, noGrad, noteUse } from "./recording.ts";

/** The gradients of an operation's results: one tensor, or for a list of results a list with null where none came. */
export type GradientOf<O> = O extends readonly Tensor[] ? { [I in keyof O]: O[I] | null } : O;

/** What an operation computed, and how its gradient is computed. */
export interface Computed<O, S extends readonly Tensor[]> {
	/** The result, or several. */
	result: O;
	/** The tensors that gradients flow to, in order. */
	inputs: readonly Tensor[];
	/** Tensors that `backward` needs. They are kept until then, whoever frees them meanwhile. */
	saved?: S;
	/**
	 * The gradient of each of `inputs`, of its shape and dtype; null where there is none.
	 *
	 * @param gradient of the result: what a small change of it does to the value that is derived
	 * @param saved what was saved, in its order. Use these: the operation's own variables may be freed by now.
	 * @param needs which inputs want a gradient
	 */
	backward(
		gradient: GradientOf<O>,
		saved: S,
		needs: readonly boolean[],
	): readonly (Tensor | null)[];
}

/**
 * Makes a differentiable operation. Every operation of this library is made by it.
 *
 * What `forward` and `backward` do is not recorded, and temporary tensors made in them are freed at their end.
 * `forward` may take what it likes; tensors that gradients flow to are those it names in `inputs`.
 *
 * @param name for errors
 * @example The cube of a vector
 * ```ts
 * import { defineOp, Device, mul, Tensor } from "@outlierscope/outlierscope";
 * const cube = defineOp("cube", (x: Tensor<"float32", 1>) => ({
 *   result: mul(x, mul(x, x)),
 *   inputs: [x],
 *   saved: [x],
 *   backward: (gradient, [x]) => [mul(gradient, mul(mul(x, x), 3))],
 * }));
 * const device = await Device.open();
 * using x = Tensor.from<"float32", 1>(device, "float32", [2], [1, 2]).requireGrad();
 * using y = cube(x);
 * using ones = Tensor.from<"float32", 1>(device, "float32", [2], [1, 1]);
 * y.backward({ gradient: ones });
 * console.log(x.grad?.dataSync()); // Float32Array [3, 12]
 * ```
 */
export function defineOp<
	A extends unknown[],
	O extends Tensor | readonly Tensor[],
	const S extends readonly Tensor[] = readonly [],
>(name: string, forward: (...args: A) => Computed<O, S>): (...args: A) => O {
	return (...args) => {
		const computed = keepReturned(
			() => record(name, noGrad(() => forward(...args))),
			`the operation ${name}`,
			(results, into) => results.forEach((result) => into.add(result)),
		);
		return (computed.length === 1 && !computed.list ? computed[0] : computed) as O;
	};
}

/** Results of an operation; `list` where it gives a list. */
type Results = Tensor[] & { list?: boolean };

function record<O, S extends readonly Tensor[]>(
	name: string,
	{ result, inputs, saved, backward }: Computed<O, S>,
): Results {
	const list = Array.isArray(result);
	// An input that is handed on becomes a tensor of its own, as it has a gradient of its own.
	const results: Results = (list ? [...result] : [result as Tensor])
		.map((one: Tensor, i, all) => inputs.includes(one) || all.indexOf(one) < i ? one.alias() : one);
	if (list) results.list = true;
	inputs.forEach((input) => {
		if (input.requiresGrad) noteUse(input);
	});
	const edges: (Edge | null)[] = inputs.map(({ edge }) => edge);
	if (!isRecording() || edges.every((edge) => edge === null)) return results;
	const node = new GraphNode(
		name,
		edges,
		inputs.map(({ dtype, shape }) => ({ dtype, shape })),
		(saved ?? []).map((tensor) => tensor.unownedAlias()),
		(gradients, saved, needs) =>
			backward(
				(list ? results.map((_, i) => gradients[i] ?? null) : gradients[0]) as GradientOf<O>,
				saved as readonly Tensor[] as S,
				needs,
			),
	);
	results.forEach((one, index) => one.isDifferentiable && one.joinGraph(node, index));
	return results;
}
