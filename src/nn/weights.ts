// Where a model's parameters come from: memory, or a checkpoint that is read layer by layer.

import type { FloatType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { WeightSet } from "./weight_set.ts";
import type { Probes } from "./probe.ts";

/** The parameters of a model. What is returned is to be freed after use; that frees no resident parameter. */
export interface Weights extends Disposable {
  /** Those of these parameters outside of the layers that exist: matrices in the type, vectors in float32. */
  outside(names: readonly string[], dtype: FloatType): WeightSet;
  /** The embeddings of tokens, [ids.length, width]. Weights of a checkpoint want them as a list. */
  embed(ids: Tensor<"int32", 1>, list?: readonly number[]): Tensor<"float32", 2>;
  /**
   * The weights of one layer.
   *
   * @param probes those that want matrices get them, in float32
   */
  layer(layer: number, dtype: FloatType, probes: Probes): WeightSet;
}
