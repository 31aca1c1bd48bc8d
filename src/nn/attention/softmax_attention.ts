// Causal softmax attention with grouped queries. Scores exist for some queries of the heads that share a
// key-value head at a time, so memory never grows with heads × T²; cumulative attention is summed on the
// way. These pieces of work are independent and run side by side.

import { gemm, type GemmType } from "../../cuda/gemm.ts";
import { swapAxes } from "../../tensor/swap_axes.ts";
import { checkShape, Tensor } from "../../tensor/tensor.ts";

/** Rows of scores for each multiprocessor that works on them: few enough that they stay in its cache. */
const ROWS_PER_MULTIPROCESSOR = 192;
/** Numbers of keys are multiples of this, so that few different products have to be prepared. */
const KEY_STEP = 128;

/** Queries, keys and values of one sequence, split into heads. */
export interface Heads<D extends GemmType = GemmType> {
  /** [kv, T, g, d]: the g heads that share a key-value head side by side; head k·g + i is [k, :, i, :] */
  q: Tensor<D, 4>;
  /** [kv, T, d] */
  k: Tensor<D, 3>;
  /** [kv, T, d] */
  v: Tensor<D, 3>;
}

/**
 * Causal softmax attention: softmax(q·kᵀ / √d) · v, each query seeing the keys up to its own position.
 *
 * @param heads queries, keys and values; if bfloat16, probabilities are rounded to it for the product
 * @param cumulative [kv·g, T], if given: Â_j = Σ_i A[i, j] of each head is added to it (paper §3.1)
 * @returns [T, kv·g·d], the heads side by side, of the type of `heads`
 */
export function softmaxAttention<D extends GemmType>(
  { q, k, v }: Heads<D>,
  cumulative?: Tensor<"float32", 2>,
): Tensor<D, 2> {
  const [kvHeads, tokens, group, d] = q.shape; // kv T g d
  checkShape("attention", "the keys", k.shape, [kvHeads, tokens, d]);
  checkShape("attention", "the values", v.shape, [kvHeads, tokens, d]);
  if (cumulative) {
    checkShape("attention", "the cumulative attention", cumulative.shape, [
      kvHeads * group,
      tokens,
    ]);
  }
  const { device, dtype } = q;
  const { lanes } = device;
  const elementBytes = dtype === "bfloat16" ? 2 : 4;
  const rows = ROWS_PER_MULTIPROCESSOR * device.multiprocessors / lanes.count;
  const block = Math.min(tokens, Math.max(1, Math.round(rows / group))); // queries at a time
  const blocks = Math.ceil(tokens / block);

  using stack = new DisposableStack();
  const scratch = (type: GemmType) =>
    Array.from(
      { length: lanes.count },
      () => stack.use(Tensor.empty(device, type, [block * group, tokens])).pointer,
    );
  const scores = scratch("float32");
  const probabilities = dtype === "bfloat16" ? scratch(dtype) : scores;
  const output = stack.use(
    Tensor.empty<"float32", 4>(device, "float32", [1, kvHeads, tokens, group * d]),
  );

  lanes.run(kvHeads * blocks, (item, lane) => {
    const kv = item % kvHeads;
    const first = (blocks - 1 - Math.floor(item / kvHeads)) * block; // the longest rows first
    const queries = Math.min(block, tokens - first);
    // The keys after them are invisible to all of these queries.
    const keys = Math.min(tokens, Math.ceil((first + queries) / KEY_STEP) * KEY_STEP);
    const firstRow = (kv * tokens + first) * group;
    gemm(device, {
      a: { pointer: q.pointer + firstRow * d * elementBytes, rowStride: d },
      b: { pointer: k.pointer + kv * tokens * d * elementBytes, rowStride: d },
      c: { pointer: scores[lane]!, rowStride: keys },
      rows: queries * group,
      columns: keys,
      inner: d,
      transposeB: true,
      input: dtype,
    });
    device.kernel(`softmax_causal_${dtype}`).overRows(
      queries * group,
      probabilities[lane]!,
      scores[lane]!,
      queries * group,
      group,
      first,
      keys,
      keys,
      1 / Math.sqrt(d),
    );
    if (cumulative) {
      device.kernel(`attention_column_sums_${dtype}`).overRows(
        group * Math.ceil(keys / 32),
        cumulative.pointer + kv * group * tokens * 4,
        probabilities[lane]!,
        group,
        queries,
        keys,
        keys,
        tokens,
      );
    }
    gemm(device, {
      a: { pointer: probabilities[lane]!, rowStride: keys },
      b: { pointer: v.pointer + kv * tokens * d * elementBytes, rowStride: d },
      c: { pointer: output.pointer + firstRow * d * 4, rowStride: d },
      rows: queries * group,
      columns: d,
      inner: keys,
      input: dtype,
    });
  });
  using merged = swapAxes(output, dtype); // 1 T kv gd
  return merged.reshape([tokens, kvHeads * group * d]);
}
