// From blocks of quantized numbers to numbers on the device, by a kernel.

import type { FloatType } from "../tensor/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { BlockType } from "./gguf_header.ts";

/**
 * The numbers that blocks stand for; in bfloat16, rounded to nearest even.
 *
 * @param blocks [rows, bytes of a row]
 * @param type their block type
 * @param into [rows, columns]: where they go
 * @param headDimension if given, rows are reordered within each head of that many rows from GGUF's
 * order for the LLaMA family (rotary pairs side by side) to Hugging Face's (first halves, then second)
 */
export function dequantize(
  blocks: Tensor<"uint8", 2>,
  type: BlockType,
  into: Tensor<FloatType, 2>,
  headDimension = 0,
): void {
  const [rows, columns] = into.shape;
  if (blocks.shape[0] !== rows || (headDimension && rows % headDimension !== 0)) {
    throw new RangeError(
      `Cannot dequantize blocks of ${blocks.shape[0]} rows into [${into.shape}]` +
        (headDimension ? ` with heads of ${headDimension} rows` : ""),
    );
  }
  blocks.device.kernel(`dequantize_${type}_${into.dtype}`)
    .overRows(rows, into.pointer, blocks.pointer, rows, columns, headDimension);
}

/**
 * Fills a contiguous tensor with the numbers of blocks.
 *
 * @param bytes all rows of blocks
 * @param columns numbers of a row
 */
export function fillFromBlocks(
  into: Tensor<FloatType>,
  type: BlockType,
  bytes: Uint8Array<ArrayBuffer>,
  columns: number,
): void {
  const { device, size } = into, rows = size / columns;
  if (size === 0) return;
  using blocks = Tensor.empty<"uint8", 2>(device, "uint8", [rows, bytes.length / rows]);
  device.upload(blocks.pointer, bytes);
  using matrix = into.asStrided<2>([rows, columns], [columns, 1]);
  dequantize(blocks, type, matrix);
}
