// GGUF's block types against a plain reading of their layout.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** A half-precision number by the definition of its fields. */
export function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return exponent === 0
    ? sign * mantissa * 2 ** -24
    : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** The block types that can be read. */
export type BlockType = "F32" | "F16" | "BF16" | "Q4_0" | "Q4_1" | "Q8_0";
/** Bytes of 32 values. */
export const BYTES: Record<BlockType, number> = {
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
export function randomBlocks(
  random: Random,
  type: BlockType,
  values: number,
): Uint8Array<ArrayBuffer> {
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
  const what = `${type} [${rows}, ${columns}] with heads of ${headDimension} as ${dtype}`;
  const taken = y.take();
  return dtype === "float32"
    ? assertClose(taken, expected, tolerance, what, sizes)
    : assertClose(bfloat16ToNumbers(taken), expected, thenBfloat16(tolerance), what, sizes);
}

/** Each kernel of dequantize.cu. */
export const selfTests: SelfTest[] = (Object.keys(BYTES) as BlockType[]).flatMap((type) =>
  (["float32", "bfloat16"] as const).map((dtype) => ({
    kernels: [`dequantize_${type}_${dtype}`],
    run: (device, random) =>
      Math.max(...[0, 4].map((headDimension) => {
        const blocks = randomBlocks(random, type, 64 * 96);
        return checkBlocks(device, type, blocks, 64, 96, { headDimension, dtype });
      })),
  }))
);
