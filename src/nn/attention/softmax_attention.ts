// Attention over heads by products and row kernels. Scores exist for some queries of the heads that share a
// key-value head at a time, so memory never grows with heads × T², forward or backward; the backward pass
// computes them again. These pieces of work are independent and run side by side.

import type { Device } from "../../cuda/device.ts";
import { gemm } from "../../cuda/gemm.ts";
import { addInPlace, mul } from "../../tensor/arithmetic.ts";
import { defineOp } from "../../tensor/autograd/define_op.ts";
import { contiguous } from "../../tensor/contiguous.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { inType } from "../../tensor/precision.ts";
import { defaultGenerator, type Generator } from "../../tensor/random.ts";
import { sum } from "../../tensor/sums.ts";
import { swapAxes } from "../../tensor/swap_axes.ts";
import { checkShape, Tensor } from "../../tensor/tensor.ts";

/** Rows of scores for each multiprocessor that works on them: few enough that they stay in its cache. */
const ROWS_PER_MULTIPROCESSOR = 192;
/** Numbers of keys are multiples of this, so that few different products have to be prepared. */
const KEY_STEP = 128;

/** Queries, keys and values of B sequences, split into heads. */
export interface Heads<D extends FloatType = FloatType> {
  /** [B·kv, T, g, d]: the g heads that share a key-value head side by side; head k·g + i is [b·kv + k, :, i, :] */
  q: Tensor<D, 4>;
  /** [B·kv, S, d], S ≥ T: the queries are the last T of S positions */
  k: Tensor<D, 3>;
  /** [B·kv, S, d] */
  v: Tensor<D, 3>;
}

/** What queries see, and how. */
export interface AttentionOptions {
  /** B: how many sequences lie one after the other. @default {1} */
  batch?: number;
  /** Whether a query sees only the keys up to its own. @default {true} */
  causal?: boolean;
  /** How many keys a query sees, itself included; of causal attention only. */
  window?: number | undefined;
  /** ALiBi's slope of each head, [n]: logits are lowered by slope · |key - query|. */
  slopes?: Tensor<"float32", 1> | null;
  /** What products of queries and keys are multiplied by. @default {1/√d} */
  scale?: number;
  /** [n, S]: Â_j = Σ_i A[i, j] of each head is added to it (paper §3.1). Of one sequence, unrecorded. */
  cumulative?: Tensor<"float32", 2> | undefined;
  /** Leaves out weights by chance, for training; sums and maps are those before. */
  dropout?: AttentionDropout | undefined;
}

/** Dropout of attention weights. */
export interface AttentionDropout {
  /** Of each weight to be left out; those that stay are divided by 1 - probability. */
  probability: number;
  /** Where the numbers come from; by default the default generator. */
  generator?: Generator;
}

/** Dropout as the kernel takes it; the backward pass repeats the draw. */
type Drop = readonly [seed: number, draw: number, below: number, scale: number] | null;

function drawDropout({ dropout }: AttentionOptions): Drop {
  if (!dropout || dropout.probability === 0) return null;
  const { probability: p, generator = defaultGenerator } = dropout;
  if (!(p > 0 && p < 1)) {
    throw new RangeError(
      `Cannot compute attention: the probability of dropout is ${p}, not from 0 to below 1`,
    );
  }
  const { seed, offset } = generator.draw();
  return [seed, offset, Math.round(p * 2 ** 32), 1 / (1 - p)];
}

/** How scores become weights: softmax, or with a bias each by its sigmoid. */
type Weighting = { bias: number } | null;

/** Sizes of one call, and how its work is divided. */
class Plan {
  readonly device: Device;
  readonly dtype: FloatType;
  readonly batch: number;
  readonly folded: number; // B·kv
  readonly kv: number;
  readonly queries: number; // T
  readonly keys: number; // S
  readonly group: number;
  readonly d: number;
  readonly scale: number;
  readonly window: number;
  readonly causal: boolean;
  readonly block: number; // queries at a time

  constructor({ q, k, v }: Heads, options: AttentionOptions) {
    const [folded, queries, group, d] = q.shape, keys = k.shape[1];
    const { batch = 1, causal = true, window = 0, scale, slopes, cumulative } = options;
    checkShape("attention", "the keys", k.shape, [folded, keys, d]);
    checkShape("attention", "the values", v.shape, [folded, keys, d]);
    if (folded % batch !== 0 || keys < queries) {
      throw new RangeError(
        `Cannot compute attention of queries [${q.shape}] and keys [${k.shape}] of ${batch} sequences`,
      );
    }
    if (window && !causal) {
      throw new RangeError("Cannot compute attention: a window must be causal");
    }
    const heads = folded / batch * group;
    if (slopes) checkShape("attention", "the slopes", slopes.shape, [heads]);
    if (cumulative) {
      checkShape("attention", "the cumulative attention", cumulative.shape, [heads * batch, keys]);
    }
    this.device = q.device;
    this.dtype = q.dtype;
    this.batch = batch;
    this.folded = folded;
    this.kv = folded / batch;
    this.queries = queries;
    this.keys = keys;
    this.group = group;
    this.d = d;
    this.scale = scale ?? 1 / Math.sqrt(d);
    this.window = window;
    this.causal = causal;
    const { lanes, multiprocessors } = this.device;
    const rows = ROWS_PER_MULTIPROCESSOR * multiprocessors / lanes.count;
    this.block = Math.min(queries, Math.max(1, Math.round(rows / group)));
  }

  get blocks(): number {
    return Math.ceil(this.queries / this.block);
  }

  /** Memory for one block's scores, for each lane. */
  scratch(stack: DisposableStack, type: FloatType): number[] {
    const { device, block, group, keys } = this;
    return Array.from(
      { length: device.lanes.count },
      () => stack.use(Tensor.empty(device, type, [block * group, keys])).pointer,
    );
  }

  /** The queries of a block: the first, how many, and how many keys the last of them sees at most. */
  rangeOf(block: number): { first: number; count: number; keys: number } {
    const first = block * this.block, count = Math.min(this.block, this.queries - first);
    const seen = this.causal ? this.keys - this.queries + first + count : this.keys;
    // The keys after them are invisible to all of these queries.
    return { first, count, keys: Math.min(this.keys, Math.ceil(seen / KEY_STEP) * KEY_STEP) };
  }

  /** Leaves out some elements of rows of weights or their gradients, of which `firstRow` is the first. */
  drop(drop: Drop, at: number, rows: number, seen: number, firstRow: number, type = this.dtype) {
    if (!drop) return;
    this.device.kernel(`dropout_rows_${type}`)
      .overRows(rows, at, rows, seen, seen, firstRow, ...drop);
  }

  /** c = rows of a · b, or of a · bᵀ, of the heads' matrices. */
  product(
    a: { pointer: number; rowStride: number },
    b: { pointer: number; rowStride: number },
    c: { pointer: number; rowStride: number },
    sizes: { rows: number; columns: number; inner: number },
    more: { transposeA?: boolean; transposeB?: boolean; beta?: number } = {},
  ): void {
    gemm(this.device, { a, b, c, ...sizes, ...more, input: this.dtype });
  }
}

const attentionOp = defineOp("attention", (
  queries: Tensor<FloatType, 4>,
  keys: Tensor<FloatType, 3>,
  values: Tensor<FloatType, 3>,
  options: AttentionOptions,
  weighting: Weighting,
  drop: Drop,
) => {
  const q = contiguous(queries), k = contiguous(keys), v = contiguous(values);
  const plan = new Plan({ q, k, v }, options);
  const { device, dtype, batch, folded, kv, group, d } = plan;
  const { cumulative } = options, slopes = options.slopes ?? null;
  const T = plan.queries, S = plan.keys, size = dtype === "bfloat16" ? 2 : 4;
  const logSums = Tensor.empty<"float32", 3>(device, "float32", [folded, T, group]);
  const output = Tensor.empty<"float32", 4>(device, "float32", [batch, kv, T, group * d]);
  const visible = [plan.window, Number(plan.causal)] as const;

  using stack = new DisposableStack();
  const scores = plan.scratch(stack, "float32");
  const weights = dtype === "bfloat16" ? plan.scratch(stack, dtype) : scores;
  // Blocks of a head may be on several lanes at a time: each lane has sums of its own.
  const parts = [device.lanes.count, folded * group, S] as const;
  const sums = cumulative && Tensor.zeros<"float32", 3>(device, "float32", parts);
  device.lanes.run(folded * plan.blocks, (item, lane) => {
    const head = item % folded;
    const range = plan.rangeOf(plan.blocks - 1 - Math.floor(item / folded)); // the longest rows first
    const firstRow = (head * T + range.first) * group, rows = range.count * group;
    const seen = range.keys, position = S - T + range.first;
    plan.product(
      { pointer: q.pointer + firstRow * d * size, rowStride: d },
      { pointer: k.pointer + head * S * d * size, rowStride: d },
      { pointer: scores[lane]!, rowStride: seen },
      { rows, columns: seen, inner: d },
      { transposeB: true },
    );
    const shape = [rows, group, position, seen, seen, plan.scale, ...visible] as const;
    if (weighting) {
      device.kernel(`attention_sigmoid_${dtype}`)
        .overRows(rows, weights[lane]!, scores[lane]!, ...shape, weighting.bias);
    } else {
      const slope = slopes ? slopes.pointer + head % kv * group * 4 : 0;
      device.kernel(`attention_softmax_${dtype}`).overRows(
        rows,
        weights[lane]!,
        scores[lane]!,
        logSums.pointer + firstRow * 4,
        slope,
        ...shape,
      );
    }
    if (cumulative) {
      device.kernel(`attention_column_sums_${dtype}`).overRows(
        group * Math.ceil(seen / 32),
        sums!.pointer + (lane * folded + head) * group * S * 4,
        weights[lane]!,
        group,
        range.count,
        seen,
        seen,
        S,
      );
    }
    plan.drop(drop, weights[lane]!, rows, seen, firstRow);
    plan.product(
      { pointer: weights[lane]!, rowStride: seen },
      { pointer: v.pointer + head * S * d * size, rowStride: d },
      { pointer: output.pointer + firstRow * d * 4, rowStride: d },
      { rows, columns: d, inner: seen },
    );
  });
  for (let lane = 0; cumulative && lane < device.lanes.count; lane++) {
    addInPlace(cumulative, sums!.slice(lane, lane + 1).reshape(cumulative.shape));
  }
  const context = swapAxes(output, dtype).reshape([batch * T, kv * group * d]); // B T kv gd
  return {
    result: [context as Tensor, logSums as Tensor] as const,
    inputs: [queries, keys, values],
    saved: [q, k, v, context, logSums, ...slopes ? [slopes] : []],
    backward: ([given, dLogSums], [q, k, v, context, logSums, slopes]) => {
      const dContext = given ?? Tensor.zeros(device, dtype, context!.shape);
      const merged = [batch, T, kv, group * d];
      const dy = contiguous(dContext.reshape(merged).permute([0, 2, 1, 3])); // B kv T gd
      // Each row of weights sums to 1, so its mean gradient is dy · y; a weight moves log Σ exp too.
      const products = mul(toFloat32(dContext), toFloat32(context!)).reshape([
        batch,
        T,
        kv,
        group,
        d,
      ]);
      const inner = sum(products, -1).permute([0, 2, 1, 3]).reshape([folded, T, group]);
      const deltas = contiguous(dLogSums ? inner.sub(dLogSums as Tensor<"float32", 3>) : inner);
      const gradients = [q!, k!, v!].map(({ shape }) =>
        Tensor.zeros<"float32", number>(device, "float32", shape)
      );
      const [dq, dk, dv] = gradients.map(({ pointer }) => pointer);

      using stack = new DisposableStack();
      const scores = plan.scratch(stack, "float32"), dWeights = plan.scratch(stack, "float32");
      const weights = dtype === "bfloat16" ? plan.scratch(stack, dtype) : scores;
      const dScores = dtype === "bfloat16" ? plan.scratch(stack, dtype) : dWeights;
      // One lane does all blocks of a key-value head, in order: their sums are the same each time.
      device.lanes.run(folded, (head, lane) => {
        for (let block = 0; block < plan.blocks; block++) {
          const { first, count, keys: seen } = plan.rangeOf(block);
          const firstRow = (head * T + first) * group, rows = count * group;
          const atQuery = firstRow * d, atKey = head * S * d;
          const ofHead = (tensor: Tensor, at: number) => ({
            pointer: tensor.pointer + at * size,
            rowStride: d,
          });
          const scratch = (memory: number[]) => ({ pointer: memory[lane]!, rowStride: seen });
          const square = { rows, columns: seen, inner: d };
          plan.product(ofHead(q!, atQuery), ofHead(k!, atKey), scratch(scores), square, {
            transposeB: true,
          });
          plan.product(ofHead(dy, atQuery), ofHead(v!, atKey), scratch(dWeights), square, {
            transposeB: true,
          });
          plan.drop(drop, dWeights[lane]!, rows, seen, firstRow, "float32");
          const shape = [rows, group, S - T + first, seen, seen, plan.scale, ...visible] as const;
          const memory = [weights, dScores, scores, dWeights].map((each) => each[lane]!);
          if (weighting) {
            device.kernel(`attention_sigmoid_backward_${dtype}`)
              .overRows(rows, ...memory, ...shape, weighting.bias);
          } else {
            device.kernel(`attention_softmax_backward_${dtype}`).overRows(
              rows,
              ...memory,
              logSums!.pointer + firstRow * 4,
              deltas.pointer + firstRow * 4,
              slopes ? slopes.pointer + head % kv * group * 4 : 0,
              ...shape,
            );
          }
          plan.drop(drop, weights[lane]!, rows, seen, firstRow);
          plan.product(
            scratch(dScores),
            ofHead(k!, atKey),
            { pointer: dq! + atQuery * 4, rowStride: d },
            { rows, columns: d, inner: seen },
          );
          const down = { rows: seen, columns: d, inner: rows };
          const more = { transposeA: true, beta: 1 };
          const to = (pointer: number) => ({ pointer: pointer + atKey * 4, rowStride: d });
          plan.product(scratch(dScores), ofHead(q!, atQuery), to(dk!), down, more);
          plan.product(scratch(weights), ofHead(dy, atQuery), to(dv!), down, more);
        }
      });
      return gradients.map((gradient) => inType(gradient, dtype));
    },
  };
});

const toFloat32 = (x: Tensor) => inType(x as Tensor<FloatType>, "float32") as Tensor<"float32">;

/** Attention's result, and what other softmaxes need of it. */
export interface AttentionResult<D extends FloatType> {
  /** [B·T, n·d], the heads side by side, of the type of the heads */
  context: Tensor<D, 2>;
  /** log Σ exp of the logits that each query sees, [B·kv, T, g] */
  logSums: Tensor<"float32", 3>;
}

/**
 * Softmax attention: softmax(scale · q·kᵀ + bias) · v, with the logarithm of each softmax's denominator, through
 * which gradients flow as well: with it, extra keys and other denominators are arithmetic of one number a query.
 *
 * @param heads if bfloat16, weights are rounded to it for the product
 * @throws {RangeError} if the shapes do not fit
 */
export function softmaxAttentionWithSums<D extends FloatType>(
  { q, k, v }: Heads<D>,
  options: AttentionOptions = {},
): AttentionResult<D> {
  const [context, logSums] = attentionOp(q, k, v, options, null, drawDropout(options));
  return { context: context as Tensor<D, 2>, logSums: logSums as Tensor<"float32", 3> };
}

/**
 * The same without the sums.
 *
 * @returns [B·T, n·d], the heads side by side, of the type of `heads`
 */
export function softmaxAttention<D extends FloatType>(
  heads: Heads<D>,
  options: AttentionOptions = {},
): Tensor<D, 2> {
  const { context, logSums } = softmaxAttentionWithSums(heads, options);
  logSums.dispose();
  return context;
}

/**
 * Attention whose weights are 1 / (1 + exp(-(scale · q·kᵀ + bias))), each by itself.
 *
 * @returns [B·T, n·d], the heads side by side, of the type of `heads`
 */
export function sigmoidAttention<D extends FloatType>(
  { q, k, v }: Heads<D>,
  options: AttentionOptions,
  bias: number,
): Tensor<D, 2> {
  if (options.slopes) throw new RangeError("Cannot compute sigmoid attention with slopes");
  const [context, unused] = attentionOp(q, k, v, options, { bias }, drawDropout(options));
  unused.dispose();
  return context as Tensor<D, 2>;
}
