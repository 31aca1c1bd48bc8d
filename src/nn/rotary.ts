// Rotary positions: each pair of features (i, i + d/2) of a query or key turns by position · θ_i.

import type { Device } from "../cuda/device.ts";
import type { GemmType } from "../cuda/gemm.ts";
import { contiguous } from "../tensor/contiguous.ts";
import { rotary } from "../tensor/rotary.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Heads } from "./attention/softmax_attention.ts";

/** Cosines and sines of every position and pair. */
export class RotaryTable implements Disposable {
  /** [T, d/2] */
  readonly cosine: Tensor<"float32", 2>;
  /** [T, d/2] */
  readonly sine: Tensor<"float32", 2>;

  /**
   * @param tokens T
   * @param dimension d
   * @param base the base of θ_i = base^(-2i/d)
   * @param factors [d/2]: what each θ_i is divided by, for models with stretched contexts
   */
  constructor(
    device: Device,
    tokens: number,
    dimension: number,
    base: number,
    factors?: ArrayLike<number>,
  ) {
    const half = dimension / 2;
    const cosine = new Float32Array(tokens * half);
    const sine = new Float32Array(tokens * half);
    for (let i = 0; i < half; i++) {
      // Rounded to float32 at each step, as the models' own training code does.
      const theta = Math.fround(
        Math.fround(1 / Math.fround(base ** Math.fround(2 * i / dimension))) / (factors?.[i] ?? 1),
      );
      for (let t = 0; t < tokens; t++) {
        const angle = Math.fround(t * theta);
        cosine[t * half + i] = Math.cos(angle);
        sine[t * half + i] = Math.sin(angle);
      }
    }
    this.cosine = Tensor.from<"float32", 2>(device, "float32", [tokens, half], cosine);
    this.sine = Tensor.from<"float32", 2>(device, "float32", [tokens, half], sine);
  }

  /** Frees the tables. */
  [Symbol.dispose](): void {
    this.cosine.dispose();
    this.sine.dispose();
  }
}

/**
 * Splits the fused projection of a batch into heads and rotates the first features of queries and keys, composed of
 * tensor operations, so that gradients flow.
 *
 * @param qkv [B·T, (n + 2·kv)·d]
 * @param table angles of pairs of features; null for none
 * @param first position of the first token
 */
export function splitHeads(
  qkv: Tensor<GemmType, 2>,
  table: RotaryTable | null,
  heads: number,
  keyValueHeads: number,
  batch: number,
  first = 0,
): Heads {
  const kv = keyValueHeads, g = heads / kv;
  const T = qkv.shape[0] / batch, d = qkv.shape[1] / (heads + 2 * kv);
  const all = qkv.reshape([batch, T, heads + 2 * kv, d]);
  const part = (first: number, end: number, group: number) => {
    const some = all.slice(first, end, 2).reshape([batch, T, kv, group, d]);
    const byHead = contiguous(some.permute([0, 2, 1, 3, 4])); // B kv T g d
    return byHead.reshape([batch * kv, T, group, d]) as Tensor<GemmType, 4>;
  };
  const turned = (x: Tensor<GemmType, 4>) => table ? rotary(x, table, { axis: 1, first }) : x;
  const flat = (x: Tensor<GemmType, 4>) => x.reshape([batch * kv, T, d]);
  return {
    q: turned(part(0, heads, g)),
    k: flat(turned(part(heads, heads + kv, 1))),
    v: flat(part(heads + kv, heads + 2 * kv, 1)),
  };
}

/**
 * Splits the fused projection into heads and rotates queries and keys.
 *
 * @param qkv [T, (n + 2·kv)·d]
 */
export function splitHeadsRotary(
  qkv: Tensor<GemmType, 2>,
  table: RotaryTable,
  heads: number,
  keyValueHeads: number,
): Heads {
  const { device, dtype } = qkv;
  const [tokens, width] = qkv.shape;
  const d = width / (heads + 2 * keyValueHeads);
  const group = heads / keyValueHeads;
  const q = Tensor.empty<GemmType, 4>(device, dtype, [keyValueHeads, tokens, group, d]);
  const k = Tensor.empty<GemmType, 3>(device, dtype, [keyValueHeads, tokens, d]);
  const v = Tensor.empty<GemmType, 3>(device, dtype, [keyValueHeads, tokens, d]);
  device.kernel(`split_heads_rotary_${dtype}`).overRows(
    tokens,
    q.pointer,
    k.pointer,
    v.pointer,
    qkv.pointer,
    table.cosine.pointer,
    table.sine.pointer,
    tokens,
    heads,
    keyValueHeads,
    d,
  );
  return { q, k, v };
}
