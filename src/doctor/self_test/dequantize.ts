// GGUF's block types against a plain reading of their layout.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { BLOCK_TYPES, BLOCKS, type BlockType, randomBlocks, valuesOf } from "./block_types.ts";
import { assertClose, bfloat16ToNumbers } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** Compares blocks dequantized on the device with a plain reading of their layout. */
export function checkBlocks(
  device: Device,
  type: BlockType,
  bytes: Uint8Array<ArrayBuffer>,
  rows: number,
  columns: number,
  { headDimension = 0, dtype = "float32" as FloatType, prefix = "" } = {},
): number {
  const blocks = given(device, "uint8", bytes);
  const y = wanted(device, dtype, rows * columns);
  device.kernel(`${prefix}dequantize_${type}_${dtype}`)
    .overRows(rows, y.pointer, blocks.pointer, rows, columns, headDimension);
  const values = valuesOf(type, bytes), expected = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    // Row h·d + 2i + s of the file is row h·d + s·d/2 + i of the matrix.
    const d = headDimension, inside = d ? r % d : 0;
    const target = d ? r - inside + (inside % 2) * d / 2 + Math.floor(inside / 2) : r;
    expected.set(values.subarray(r * columns, (r + 1) * columns), target * columns);
  }
  // Products of scales and quanta are exact: a minimum's addition rounds once, and so does Q8_K's product.
  const unquantized = type === "F32" || type === "F16" || type === "BF16";
  const tolerance = unquantized ? TOLERANCE.exact : TOLERANCE.elementwise(1);
  const what = `${type} [${rows}, ${columns}] with heads of ${headDimension} as ${dtype}`;
  const taken = y.take(), sizes = expected.map(Math.abs);
  return dtype === "float32"
    ? assertClose(taken, expected, tolerance, what, sizes)
    : assertClose(bfloat16ToNumbers(taken), expected, thenBfloat16(tolerance), what, sizes);
}

/** Each kernel of dequantize.cu, dequantize_k.cu and dequantize_i.cu. */
export const selfTests: SelfTest[] = BLOCK_TYPES.flatMap((type) =>
  (["float32", "bfloat16"] as const).map((dtype) => ({
    kernels: [`dequantize_${type}_${dtype}`],
    run: (device, random) =>
      Math.max(...[0, 4].map((headDimension) => {
        const columns = 3 * BLOCKS[type].values;
        const blocks = randomBlocks(random, type, 64 * columns);
        return checkBlocks(device, type, blocks, 64, columns, { headDimension, dtype });
      })),
  }))
);
