// dequantize.cu: each block type against a plain reading of its layout, all half-precision numbers, and
// the row permutation of rotary projections.

import { assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import type { Random } from "../../random.ts";
import { TOLERANCE } from "../../tolerance.ts";
import { assertClose, faultsAreFound, given, kernelTest, wanted } from "./bench.ts";

/** A half-precision number by the definition of its fields. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return exponent === 0
    ? sign * mantissa * 2 ** -24
    : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

type BlockType = "F32" | "F16" | "BF16" | "Q4_0" | "Q4_1" | "Q8_0";
const BYTES: Record<BlockType, number> = {
  F32: 128,
  F16: 64,
  BF16: 64,
  Q4_0: 18,
  Q4_1: 20,
  Q8_0: 34,
};

/** Value i of the block at `at`. */
function valueOf(type: BlockType, data: DataView, at: number, i: number): number {
  const scale = () => half(data.getUint16(at, true));
  const nibble = (quanta: number) => {
    const byte = data.getUint8(quanta + i % 16);
    return i < 16 ? byte & 15 : byte >> 4;
  };
  switch (type) {
    case "F32":
      return data.getFloat32(at + 4 * i, true);
    case "F16":
      return half(data.getUint16(at + 2 * i, true));
    case "BF16":
      return new Float32Array(Uint32Array.of(data.getUint16(at + 2 * i, true) << 16).buffer)[0];
    case "Q4_0":
      return scale() * (nibble(at + 2) - 8);
    case "Q4_1":
      return scale() * nibble(at + 4) + half(data.getUint16(at + 2, true));
    case "Q8_0":
      return scale() * data.getInt8(at + 2 + i);
  }
}

/** Random bytes whose scales are ordinary numbers. */
function randomBlocks(random: Random, type: BlockType, values: number): Uint8Array<ArrayBuffer> {
  const bytes = random.bytes(values * BYTES[type] / 32);
  const view = new DataView(bytes.buffer);
  const step = type === "F32" ? 4 : type === "F16" || type === "BF16" ? 2 : BYTES[type];
  for (let at = 0; at < bytes.length; at += step) {
    if (type === "F32") view.setFloat32(at, random.normals(1)[0], true);
    else view.setUint16(at, random.below(0x7c00) | random.below(2) << 15, true);
    if (type === "Q4_1") view.setUint16(at + 2, random.below(0x7c00), true);
  }
  return bytes;
}

function check(
  device: Device,
  type: BlockType,
  bytes: Uint8Array<ArrayBuffer>,
  rows: number,
  columns: number,
  { headDimension = 0, prefix = "" } = {},
) {
  const blocks = given(device, "uint8", bytes);
  const y = wanted(device, "float32", rows * columns);
  device.kernel(`${prefix}dequantize_${type}_float32`)
    .overRows(rows, y.pointer, blocks.pointer, rows, columns, headDimension);
  const view = new DataView(bytes.buffer);
  const expected = new Float64Array(rows * columns), sizes = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    // Row h·d + 2i + s of the file is row h·d + s·d/2 + i of the matrix.
    const d = headDimension, inside = d ? r % d : 0;
    const target = d ? r - inside + (inside % 2) * d / 2 + Math.floor(inside / 2) : r;
    for (let c = 0; c < columns; c++) {
      const index = r * columns + c;
      const at = Math.floor(index / 32) * BYTES[type];
      expected[target * columns + c] = valueOf(type, view, at, index % 32);
      sizes[target * columns + c] = Math.abs(expected[target * columns + c]) +
        (type === "Q4_1" ? 2 * Math.abs(half(view.getUint16(at + 2, true))) : 0);
    }
  }
  const tolerance = type.startsWith("Q") ? TOLERANCE.elementwise(2) : TOLERANCE.exact;
  const what = `${type} [${rows}, ${columns}] with heads of ${headDimension}`;
  assertClose(y.take(), expected, tolerance, what, sizes);
}

kernelTest("each block type is read as its layout says", (device, random) => {
  for (const type of Object.keys(BYTES) as BlockType[]) {
    for (const [rows, columns] of [[1, 32], [3, 64], [31, 96], [2, 576], [65, 32]]) {
      check(device, type, randomBlocks(random, type, rows * columns), rows, columns);
    }
    const many = device.multiprocessors * 8 * 8 + 1; // more rows than warps of a full grid
    check(device, type, randomBlocks(random, type, many * 32), many, 32);
  }
});

kernelTest("unquantized types have rows of any length", (device, random) => {
  for (const type of ["F32", "F16", "BF16"] as const) {
    for (const columns of [1, 2, 31, 33, 63, 65, 127, 577]) {
      const rows = 32; // a whole number of blocks in all, as the reference counts
      check(device, type, randomBlocks(random, type, rows * columns), rows, columns);
    }
  }
});

kernelTest("rows of rotary projections go to the half-split order", (device, random) => {
  for (const d of [2, 4, 64]) {
    check(device, "F32", randomBlocks(random, "F32", 3 * d * 32), 3 * d, 32, { headDimension: d });
    check(device, "Q4_0", randomBlocks(random, "Q4_0", 2 * d * 32), 2 * d, 32, {
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
  check(device, "Q4_0", randomBlocks(random, "Q4_0", 96), 1, 96, { prefix });
const permuted = (device: Device, random: Random, prefix = "") =>
  check(device, "F32", randomBlocks(random, "F32", 256), 8, 32, { prefix, headDimension: 4 });
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
