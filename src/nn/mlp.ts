// The first half of an MLP: from the residual stream to x_down, the input of the down projection.

import { biasActivation, gelu, relu, silu, swiglu } from "../tensor/activation.ts";
import { cast } from "../tensor/cast.ts";
import type { FloatType } from "../tensor/dtype.ts";
import { linear } from "../tensor/linear.ts";
import type { MlpActivation, TransformerConfig } from "./config.ts";
import { type Hidden, project } from "./project.ts";
import type { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";

const ACTIVATIONS: Record<MlpActivation, <D extends FloatType>(x: Hidden<D>) => Hidden<D>> = {
  relu,
  silu,
  gelu,
  gelu_tanh: (x) => gelu(x, { approximate: "tanh" }),
};

/** x_down, the input of the down projection. */
export function downInput(
  run: Run,
  x: Hidden<FloatType>,
  weights: WeightSet,
  prefix: string,
  config: TransformerConfig,
): Hidden<FloatType> {
  const { kind, activation } = config.mlp;
  // Probes get it before it is rounded.
  const dtype = run.wants(`${prefix}.down.input`) ? "float32" : run.dtype;
  if (kind === "gated") {
    const gateUp = project(run, x, weights, `${prefix}.gate_up`, run.dtype);
    run.emit(`${prefix}.gate_up`, gateUp);
    if (activation === "silu") return swiglu(gateUp, dtype);
    const I = config.intermediateSize;
    return ACTIVATIONS[activation](gateUp.slice(0, I, 1)).mul(gateUp.slice(I, 2 * I, 1));
  }
  const weight = weights.matrix(`${prefix}.up`), bias = weights.vector(`${prefix}.up.bias`);
  if (!bias || run.wants(`${prefix}.up`)) {
    const up = project(run, x, weights, `${prefix}.up`, dtype);
    run.emit(`${prefix}.up`, up);
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
