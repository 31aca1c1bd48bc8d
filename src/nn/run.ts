// What the layers of a model need to know of the run that they take part in.

import type { FloatType } from "../tensor/dtype.ts";
import { noGrad } from "../tensor/autograd/recording.ts";
import { cast } from "../tensor/cast.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Attention } from "./attention/attention.ts";
import type { KeyValueCache } from "./key_value_cache.ts";
import type { Probes } from "./probe.ts";
import type { RotaryTable } from "./rotary.ts";

/** Options of a run. */
export interface RunOptions {
  /** Type of the inputs of products. */
  dtype: FloatType;
  /** B: how many sequences lie one after the other. */
  batch: number;
  /** T: how many tokens each has. */
  tokens: number;
  /** Who takes tensors from it. */
  probes: Probes;
  /** The layer, 0-based; -1 outside of the layers. */
  layer: number;
  /** Index of the sequence that probes are told. */
  sequence: number;
  /** Angles of rotary positions, if the model has them. */
  rotary: RotaryTable | null;
  /** Slopes of ALiBi, [n], if the model has them. */
  slopes: Tensor<"float32", 1> | null;
  /** What happens between the projections. */
  attention: Attention;
  /** Whether gradients may be asked for. */
  recorded: boolean;
  /** Keys and values of the tokens before, if this continues a sequence. */
  cache?: KeyValueCache;
}

/** One run of sequences of equal length through a layer. */
export class Run {
  readonly dtype: FloatType;
  readonly batch: number;
  readonly tokens: number;
  readonly rotary: RotaryTable | null;
  readonly slopes: Tensor<"float32", 1> | null;
  readonly attention: Attention;
  readonly recorded: boolean;
  readonly cache: KeyValueCache | null;
  readonly layer: number;
  readonly #probes: Probes;
  readonly #sequence: number;

  constructor(options: RunOptions) {
    this.dtype = options.dtype;
    this.batch = options.batch;
    this.tokens = options.tokens;
    this.rotary = options.rotary;
    this.slopes = options.slopes;
    this.attention = options.attention;
    this.recorded = options.recorded;
    this.cache = options.cache ?? null;
    this.#probes = options.probes;
    this.layer = options.layer;
    this.#sequence = options.sequence;
  }

  /** Position of the first token. */
  get first(): number {
    return this.cache?.tokens ?? 0;
  }

  /** Whether some probe takes this tap of the layer. */
  wants(tap: string): boolean {
    return this.#probes.wants(tap, this.layer);
  }

  /**
   * Hands a tensor to the probes that take this tap, in float32.
   *
   * @param positions of its rows, where they are not all tokens in order
   */
  emit(tap: string, tensor: Tensor<FloatType>, positions?: readonly number[]): void {
    if (!this.wants(tap)) return;
    noGrad(() => {
      using exact = tensor.dtype === "float32"
        ? tensor.detach()
        : cast(tensor as Tensor<"bfloat16">, "float32");
      this.#probes.emit(tap, exact as Tensor<"float32">, this.layer, this.#sequence, positions);
    });
  }
}
