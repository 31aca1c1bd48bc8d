// dequantize.cu: each block type against a plain reading of its layout, all half-precision numbers, and
// the row permutation of rotary projections.

import { assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import {
  type BlockType,
  BYTES,
  checkBlocks,
  half,
  randomBlocks,
} from "../../../src/doctor/self_test/dequantize.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, given, kernelTest, wanted } from "./bench.ts";

kernelTest("each block type is read as its layout says", (device, random) => {
  for (const type of Object.keys(BYTES) as BlockType[]) {
    for (const [rows, columns] of [[1, 32], [3, 64], [31, 96], [2, 576], [65, 32]]) {
      const blocks = randomBlocks(random, type, rows * columns);
      for (const dtype of ["float32", "bfloat16"] as const) {
        checkBlocks(device, type, blocks, rows, columns, { dtype });
      }
    }
    const many = device.multiprocessors * 8 * 8 + 1; // more rows than warps of a full grid
    checkBlocks(device, type, randomBlocks(random, type, many * 32), many, 32);
  }
});

kernelTest("unquantized types have rows of any length", (device, random) => {
  for (const type of ["F32", "F16", "BF16"] as const) {
    for (const columns of [1, 2, 31, 33, 63, 65, 127, 577]) {
      const rows = 32; // a whole number of blocks in all, as the reference counts
      checkBlocks(device, type, randomBlocks(random, type, rows * columns), rows, columns);
    }
  }
});

kernelTest("rows of rotary projections go to the half-split order", (device, random) => {
  for (const d of [2, 4, 64]) {
    checkBlocks(device, "F32", randomBlocks(random, "F32", 3 * d * 32), 3 * d, 32, {
      headDimension: d,
    });
    checkBlocks(device, "Q4_0", randomBlocks(random, "Q4_0", 2 * d * 32), 2 * d, 32, {
      headDimension: d,
    });
  }
});

kernelTest("each of the 65,536 half-precision patterns has its value", (device) => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const blocks = given(device, "uint8", new Uint8Array(bits.buffer));
  const y = wanted(device, "float32", bits.length);
  device.kernel("dequantize_F16_float32").overRows(64, y.pointer, blocks.pointer, 64, 1024, 0);
  const values = y.take();
  for (let i = 0; i < bits.length; i++) {
    assertEquals(Object.is(values[i], half(i)), true, `half 0x${i.toString(16)}: ${values[i]}`);
  }
});

const q4 = (device: Device, random: Random, prefix = "") =>
  checkBlocks(device, "Q4_0", randomBlocks(random, "Q4_0", 96), 1, 96, { prefix });
const permuted = (device: Device, random: Random, prefix = "") =>
  checkBlocks(device, "F32", randomBlocks(random, "F32", 256), 8, 32, { prefix, headDimension: 4 });
faultsAreFound([
  {
    name: "nibbles are centred on 7",
    file: "dequantize.cu",
    from: "nibble(block + 2, i) - 8",
    to: "nibble(block + 2, i) - 7",
    check: q4,
  },
  {
    name: "pairs keep the file's order",
    file: "dequantize.cu",
    from: "if (head_dimension) {",
    to: "if (false) {",
    check: permuted,
  },
]);
