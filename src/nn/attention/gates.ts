// What gates of a head's output are made of: a factor, and the linear map that it comes from.

import { mul } from "../../tensor/arithmetic.ts";
import { linear } from "../../tensor/linear.ts";
import { inType } from "../../tensor/precision.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { ParameterSpec } from "../parameters.ts";
import type { AttentionInputs, AttentionParameters } from "./attention.ts";
import { parameter, type Rows, softmaxRows, toContext } from "./rows.ts";

/** A factor of softmax attention's rows [B·T, n, d]. */
export function scaled<D extends "float32" | "bfloat16">(
	inputs: AttentionInputs<D>,
	factor: (rows: Rows) => Tensor<"float32">,
): Tensor<D, 2> {
	const { context } = softmaxRows(inputs);
	const gates = factor(context);
	inputs.gates?.(gates.detach() as Rows);
	return toContext(mul(context, gates) as Rows, inputs.heads.q.dtype);
}

/** x · Wᵀ + b in float32. */
export function project(inputs: AttentionInputs, parameters: AttentionParameters, name: string) {
	const bias = parameters[`${name}.bias`] && parameter<1>(parameters, `${name}.bias`);
	return linear(
		inType(inputs.input, "float32") as Tensor<"float32", 2>,
		parameter<2>(parameters, `${name}.weight`),
		{ bias },
	);
}

/** A bias of `size` numbers. */
export const bias = (name: string, size: number, constant: number): ParameterSpec => ({
	name,
	shape: [size],
	initialize: { constant },
	decay: false,
});
/** A matrix, [out, in]. */
export const matrix = (name: string, shape: readonly number[]): ParameterSpec => ({
	name,
	shape,
	initialize: { normal: 0.02 },
	decay: true,
});
