// dequantize.cu: each block type against a plain reading of its layout, all half-precision numbers, and
// the row permutation of rotary projections.

import { assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import {
  BLOCK_TYPES,
  BLOCKS,
  half,
  randomBlocks,
  valuesOf,
} from "../../../src/doctor/self_test/block_types.ts";
import { checkBlocks } from "../../../src/doctor/self_test/dequantize.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, given, kernelTest, wanted } from "./bench.ts";
import recorded from "../../fixtures/gguf_blocks.json" with { type: "json" };

kernelTest("each block type is read as its layout says", (device, random) => {
  for (const type of BLOCK_TYPES) {
    const { values } = BLOCKS[type];
    for (const [rows, count] of [[1, 1], [3, 2], [31, 3], [2, 18], [65, 1]] as const) {
      const blocks = randomBlocks(random, type, rows * count * values);
      for (const dtype of ["float32", "bfloat16"] as const) {
        checkBlocks(device, type, blocks, rows, count * values, { dtype });
      }
    }
    const many = device.multiprocessors * 8 * 8 + 1; // more rows than warps of a full grid
    checkBlocks(device, type, randomBlocks(random, type, many * values), many, values);
  }
});

kernelTest("blocks have the values that llama.cpp's reference gives them", (device) => {
  for (const [type, { blocks, values }] of Object.entries(recorded)) {
    const bytes = fromBase64(blocks);
    const expected = new Float32Array(fromBase64(values).buffer);
    const y = wanted(device, "float32", expected.length);
    device.kernel(`dequantize_${type}_float32`)
      .overRows(1, y.pointer, given(device, "uint8", bytes).pointer, 1, expected.length, 0);
    assertEquals(y.take(), expected, type);
    assertEquals(Float32Array.from(valuesOf(type as keyof typeof BLOCKS, bytes)), expected, type);
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

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

const q4 = (device: Device, random: Random, prefix = "") =>
  checkBlocks(device, "Q4_0", randomBlocks(random, "Q4_0", 96), 1, 96, { prefix });
const q3 = (device: Device, random: Random, prefix = "") =>
  checkBlocks(device, "Q3_K", randomBlocks(random, "Q3_K", 512), 1, 512, { prefix });
const uneven = (device: Device, random: Random, prefix = "") =>
  checkBlocks(device, "IQ4_XS", randomBlocks(random, "IQ4_XS", 512), 1, 512, { prefix });
const permuted = (device: Device, random: Random, prefix = "") =>
  checkBlocks(device, "F32", randomBlocks(random, "F32", 256), 8, 32, { prefix, headDimension: 4 });
faultsAreFound([
  {
    name: "nibbles are centred on 7",
    file: "dequantize.cu",
    from: "nibble(quanta, i) - 8",
    to: "nibble(quanta, i) - 7",
    check: q4,
  },
  {
    name: "pairs keep the file's order",
    file: "dequantize.cu",
    from: "dequantize<F32>(y, blocks, rows, columns, head_dimension)",
    to: "dequantize<F32>(y, blocks, rows, columns, 0)",
    check: permuted,
  },
  {
    name: "scales' upper bits come from the wrong byte",
    file: "dequantize_k.cu",
    from: "scales[8 + k % 4]",
    to: "scales[8 + k / 4]",
    check: q3,
  },
  {
    name: "one number of the table is off by one",
    file: "dequantize_i.cu",
    from: "0x7159453526190d01ull",
    to: "0x7159453626190d01ull",
    check: uneven,
  },
]);
