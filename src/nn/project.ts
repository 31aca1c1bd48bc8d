// The two steps that all parts of a layer begin with: a linear map in the run's type, and a norm.

import { type FloatType, layerNorm, linear, rmsNorm, type Tensor } from "../tensor/mod.ts";
import type { TransformerConfig } from "./config.ts";
import type { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";

/** Rows of any width: hidden states, or what is computed of them. */
export type Hidden<D extends FloatType = "float32"> = Tensor<D, 2>;

/** x · Wᵀ + b, the inputs of the product in the run's type. */
export function project<D extends FloatType>(
	run: Run,
	x: Hidden<FloatType>,
	weights: WeightSet,
	name: string,
	dtype: D,
): Hidden<D> {
	const weight = weights.matrix(name), bias = weights.vector(`${name}.bias`);
	return (run.dtype === "bfloat16" && weight.dtype === "float32"
		? linear(x, weight, { dtype, bias, compute: "bfloat16" })
		: linear(x as Hidden, weight, { dtype: dtype as "float32", bias })) as Hidden<D>;
}

/** The norm of that name; h itself where the model has none there. */
export function norm<D extends FloatType>(
	h: Hidden,
	weights: WeightSet,
	name: string,
	{ norm: { kind, epsilon, single } }: TransformerConfig,
	dtype: D,
): Hidden<D> {
	const bias = weights.vector(`${name}.bias`);
	let gain = weights.vector(`${name}.weight`)!;
	if (single) gain = gain.expand([h.shape[1]]);
	return kind === "rms"
		? rmsNorm(h, gain, { epsilon, dtype })
		: layerNorm(h, gain, { epsilon, dtype, ...bias && { bias } });
}
