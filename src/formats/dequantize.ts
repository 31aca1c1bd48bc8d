// Brings the tensors of a GGUF file onto the device: their blocks as bytes, then as numbers by a kernel.

import type { Device } from "../cuda/device.ts";
import type { GemmType } from "../cuda/gemm.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { BlockType, GgufFile, GgufTensor } from "./gguf.ts";
import type { Staging } from "./staging.ts";

/**
 * The raw blocks of a tensor on the device.
 *
 * @param staging where they pass through, if given
 * @returns [rows, bytes of a row], rows being the product of all extents but the last
 */
export function uploadBlocks(
  device: Device,
  file: GgufFile,
  tensor: GgufTensor,
  staging?: Staging,
): Tensor<"uint8", 2> {
  const rows = tensor.shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
  const blocks = Tensor.empty<"uint8", 2>(device, "uint8", [rows, tensor.byteLength / rows]);
  const memory = staging?.take(tensor.byteLength) ?? new Uint8Array(tensor.byteLength);
  file.read(tensor, memory);
  device.upload(blocks.pointer, memory);
  return blocks;
}

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
  into: Tensor<GemmType, 2>,
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

/** A tensor of a file as float32 numbers: [rows, columns], or [1, columns] for a vector. */
export function loadTensor(
  device: Device,
  file: GgufFile,
  name: string,
  staging?: Staging,
): Tensor<"float32", 2> {
  const tensor = file.tensor(name);
  using blocks = uploadBlocks(device, file, tensor, staging);
  const numbers = Tensor.empty<"float32", 2>(device, "float32", [
    blocks.shape[0],
    tensor.shape.at(-1)!,
  ]);
  dequantize(blocks, tensor.type, numbers);
  return numbers;
}
