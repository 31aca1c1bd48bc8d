// The first half of an MLP: from the residual stream to x_down, the input of the down projection.

import {
	biasActivation,
	cast,
	type FloatType,
	gelu,
	linear,
	relu,
	silu,
	swiglu,
} from "../tensor/mod.ts";
import type { MlpActivation, TransformerConfig } from "./config.ts";
import { type Hidden, project } from "./project.ts";
import type { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";

/** The functions between the projections of an MLP. */
export const ACTIVATIONS: Record<MlpActivation, <D extends FloatType>(x: Hidden<D>) => Hidden<D>> =
	{
		relu,
		silu,
		gelu,
		gelu_tanh: (x) => gelu(x, { approximate: "tanh" }),
	};

/**
 * x_down, the input of the down projection.
 *
 * @param positions of the rows, where they are not all tokens in order
 */
export function downInput(
	run: Run,
	x: Hidden<FloatType>,
	weights: WeightSet,
	prefix: string,
	config: TransformerConfig,
	positions?: readonly number[],
): Hidden<FloatType> {
	const { kind, activation } = config.mlp;
	// Probes get it before it is rounded.
	const dtype = run.wants(`${prefix}.down.input`) ? "float32" : run.dtype;
	if (kind === "gated") {
		const gateUp = run.tap(
			`${prefix}.gate_up`,
			project(run, x, weights, `${prefix}.gate_up`, run.dtype),
			positions,
		);
		if (activation === "silu") return swiglu(gateUp, dtype);
		const I = config.intermediateSize;
		return ACTIVATIONS[activation](gateUp.slice(0, I, 1)).mul(gateUp.slice(I, 2 * I, 1));
	}
	const weight = weights.matrix(`${prefix}.up`), bias = weights.vector(`${prefix}.up.bias`);
	if (!bias || run.wants(`${prefix}.up`)) {
		const up = run.tap(
			`${prefix}.up`,
			project(run, x, weights, `${prefix}.up`, dtype),
			positions,
		);
		return ACTIVATIONS[activation](up);
	}
	const up = run.dtype === "bfloat16" && weight.dtype === "float32"
		? linear(x, weight, { dtype, compute: "bfloat16" })
		: linear(x as Hidden, weight, { dtype: dtype as "float32" });
	return biasActivation(
		up,
		(dtype === "float32" ? bias : cast(bias, dtype)) as typeof bias,
		activation,
	);
}
