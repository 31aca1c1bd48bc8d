// Causal softmax attention with grouped queries. Scores exist for one block of queries at a time, so
// memory grows with heads × T and never with heads × T²; cumulative attention is summed on the way.

import { gemm, type GemmType } from "../../cuda/gemm.ts";
import { checkShape, Tensor } from "../../tensor/tensor.ts";

/** Queries whose scores exist at a time: few enough that they stay in cache. */
const QUERY_BLOCK = 256;

/** Queries, keys and values of one sequence, split into heads. */
export interface Heads<D extends GemmType = GemmType> {
  /** [n, T, d] */
  q: Tensor<D, 3>;
  /** [kv, T, d]; head h of the queries uses key-value head ⌊h · kv / n⌋ */
  k: Tensor<D, 3>;
  /** [kv, T, d] */
  v: Tensor<D, 3>;
}

/**
 * Causal softmax attention: softmax(q·kᵀ / √d) · v, each query seeing the keys up to its own position.
 *
 * @param heads queries, keys and values; if bfloat16, probabilities are rounded to it for the product
 * @param cumulative [n, T], if given: Â_j = Σ_i A[i, j] of each head is added to it (paper §3.1)
 * @returns [T, n·d], the heads side by side
 */
export function softmaxAttention(
  { q, k, v }: Heads,
  cumulative?: Tensor<"float32", 2>,
): Tensor<"float32", 2> {
  const [heads, tokens, d] = q.shape; // n T d
  const [kvHeads] = k.shape;
  checkShape("attention", "the keys", k.shape, [kvHeads, tokens, d]);
  checkShape("attention", "the values", v.shape, [kvHeads, tokens, d]);
  if (cumulative) {
    checkShape("attention", "the cumulative attention", cumulative.shape, [heads, tokens]);
  }
  if (heads % kvHeads !== 0) {
    throw new RangeError(
      `Cannot compute attention: ${heads} heads do not share ${kvHeads} key-value heads evenly`,
    );
  }
  const { device, dtype } = q;
  const group = heads / kvHeads;
  const elementBytes = dtype === "bfloat16" ? 2 : 4;
  const output = Tensor.empty<"float32", 2>(device, "float32", [tokens, heads * d]);
  const block = Math.min(QUERY_BLOCK, tokens);
  // Of the heads that share a key-value head: r Q T, and the same in bfloat16; float32 probabilities
  // overwrite the scores.
  using scores = Tensor.empty<"float32", 3>(device, "float32", [group, block, tokens]);
  using rounded = dtype === "bfloat16"
    ? Tensor.empty<"bfloat16", 3>(device, "bfloat16", [group, block, tokens])
    : null;
  const probabilities = rounded ?? scores;
  for (let kv = 0; kv < kvHeads; kv++) {
    const head = kv * group; // the first of the group
    const keysAndValues = kv * tokens * d * elementBytes;
    for (let first = 0; first < tokens; first += block) {
      const queries = Math.min(block, tokens - first);
      const keys = first + queries; // later keys are invisible to all of the block
      const scoreMatrix = { rowStride: keys, batchStride: queries * keys };
      gemm(device, {
        a: {
          pointer: q.pointer + (head * tokens + first) * d * elementBytes,
          rowStride: d,
          batchStride: tokens * d,
        },
        b: { pointer: k.pointer + keysAndValues, rowStride: d },
        c: { pointer: scores.pointer, ...scoreMatrix },
        rows: queries,
        columns: keys,
        inner: d,
        batch: group,
        transposeB: true,
        input: dtype,
      });
      device.kernel(`softmax_causal_${dtype}`).overRows(
        group * queries,
        probabilities.pointer,
        scores.pointer,
        group,
        queries,
        first,
        keys,
        keys,
        1 / Math.sqrt(d),
      );
      if (cumulative) {
        device.kernel(`attention_column_sums_${dtype}`).overRows(
          group * Math.ceil(keys / 32),
          cumulative.pointer + head * tokens * 4,
          probabilities.pointer,
          group,
          queries,
          keys,
          keys,
          tokens,
        );
      }
      gemm(device, {
        a: { pointer: probabilities.pointer, ...scoreMatrix },
        b: { pointer: v.pointer + keysAndValues, rowStride: d },
        c: {
          pointer: output.pointer + (first * heads + head) * d * 4,
          rowStride: heads * d,
          batchStride: d,
        },
        rows: queries,
        columns: d,
        inner: keys,
        batch: group,
        input: dtype,
      });
    }
  }
  return output;
}
