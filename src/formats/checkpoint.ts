// What models are read from: named tensors of numbers in files, whatever the format.

import type { FloatType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Staging } from "./staging.ts";

/** A tensor in a checkpoint. */
export interface StoredTensor {
  /** Extents, outermost first. */
  readonly shape: readonly number[];
  /** How its numbers are stored, such as `"F16"` or `"Q4_K"`. */
  readonly type: string;
  /** Bytes in the file. */
  readonly byteLength: number;
}

/** An open checkpoint. Nothing of a tensor is in memory until it is asked for. */
export interface Checkpoint extends Disposable {
  /** The path it was opened by. */
  readonly path: string;
  /** The tensors by name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The tensor of that name; throws if there is none. */
  tensor(name: string): StoredTensor;
  /**
   * Fills a contiguous tensor with the numbers of a stored one; bfloat16 is rounded to nearest even.
   *
   * @param into of as many elements
   * @param staging page-locked memory that the bytes pass through, if given
   */
  loadInto(into: Tensor<FloatType>, name: string, staging?: Staging): void;
  /**
   * Fills a tensor with some rows of a stored matrix.
   *
   * @param into [rows.length, columns]
   */
  loadRows(into: Tensor<FloatType, 2>, name: string, rows: readonly number[]): void;
  /** The error of a problem with this checkpoint. */
  error(problem: string): Error;
}
