// From the fused projection of a layer to the heads' results: split, rotate, attend.

import type { FloatType } from "../tensor/dtype.ts";
import { swapAxes } from "../tensor/swap_axes.ts";
import { Tensor } from "../tensor/tensor.ts";
import { softmaxAttention } from "./attention/softmax_attention.ts";
import type { TransformerConfig } from "./config.ts";
import type { WeightSet } from "./weight_set.ts";
import type { Hidden } from "./project.ts";
import { splitHeadsRotary } from "./rotary.ts";
import type { Run } from "./run.ts";

/**
 * @param qkv [B·T, (n + 2 kv) d]
 * @returns [B·T, n·d], the heads side by side
 */
export function attend(
  run: Run,
  qkv: Hidden<FloatType>,
  _input: Hidden<FloatType>,
  _weights: WeightSet,
  config: TransformerConfig,
): Hidden<FloatType> {
  const { heads, keyValueHeads, headDimension } = config;
  const split = splitHeadsRotary(qkv, run.rotary!, heads, keyValueHeads);
  if (run.wants("attn.q_rotated")) {
    const byHead = swapAxes(split.q, "float32"); // kv g T d
    run.emit("attn.q_rotated", byHead.reshape([heads, run.tokens, headDimension]));
  }
  run.emit("attn.k_rotated", split.k);
  run.emit("attn.v", split.v);
  const cumulative = run.wants("attn.cumulative")
    ? Tensor.zeros<"float32", 2>(qkv.device, "float32", [heads, run.tokens])
    : undefined;
  const context = softmaxAttention(split, cumulative);
  if (cumulative) run.emit("attn.cumulative", cumulative);
  return context;
}
