// GGUF's block types by their layout, each value read alone and slowly: what the kernels are compared with.

import type { Random } from "./random.ts";

/** A half-precision number by the definition of its fields. */
export function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return exponent === 0
    ? sign * mantissa * 2 ** -24
    : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** The bytes of one block. */
class Block {
  readonly #data: DataView;
  readonly #at: number;
  constructor(data: DataView, at: number) {
    this.#data = data;
    this.#at = at;
  }
  byte(i: number): number {
    return this.#data.getUint8(this.#at + i);
  }
  signed(i: number): number {
    return this.#data.getInt8(this.#at + i);
  }
  half(i: number): number {
    return half(this.#data.getUint16(this.#at + i, true));
  }
  float(i: number): number {
    return this.#data.getFloat32(this.#at + i, true);
  }
  /** `count` bits from bit `first` of the byte on. */
  bits(byte: number, first: number, count: number): number {
    return this.byte(byte) >> first & (1 << count) - 1;
  }
  /** Quantum i of 32 that have 4 bits: those of the first 16 are in the low halves of 16 bytes. */
  nibble(start: number, i: number): number {
    return this.bits(start + i % 16, i < 16 ? 0 : 4, 4);
  }
}

/** A block type: its values, its bytes, where its scales in half precision are, and its value i. */
interface Layout {
  values: number;
  bytes: number;
  halves: number[];
  value: (block: Block, i: number) => number;
}

const UNEVEN = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const FP4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6];

/** Scale and minimum of a run of 32 values in Q4_K and Q5_K. */
function scaleAndMinimum(b: Block, i: number): { d: number; m: number } {
  const run = i >> 5, k = run % 4;
  const d = run < 4 ? b.bits(4 + k, 0, 6) : b.bits(12 + k, 0, 4) + 16 * b.bits(4 + k, 6, 2);
  const m = run < 4 ? b.bits(8 + k, 0, 6) : b.bits(12 + k, 4, 4) + 16 * b.bits(8 + k, 6, 2);
  return { d: b.half(0) * d, m: b.half(2) * m };
}

/** Every block type; the unquantized ones as if they had blocks of 32. */
export const BLOCKS = {
  F32: { values: 32, bytes: 128, halves: [], value: (b, i) => b.float(4 * i) },
  F16: { values: 32, bytes: 64, halves: [], value: (b, i) => b.half(2 * i) },
  BF16: {
    values: 32,
    bytes: 64,
    halves: [],
    value: (b, i) =>
      new Float32Array(Uint32Array.of((b.byte(2 * i) | b.byte(2 * i + 1) << 8) << 16).buffer)[0]!,
  },
  Q4_0: { values: 32, bytes: 18, halves: [0], value: (b, i) => b.half(0) * (b.nibble(2, i) - 8) },
  Q4_1: {
    values: 32,
    bytes: 20,
    halves: [0, 2],
    value: (b, i) => b.half(0) * b.nibble(4, i) + b.half(2),
  },
  Q5_0: {
    values: 32,
    bytes: 22,
    halves: [0],
    value: (b, i) => b.half(0) * (b.nibble(6, i) + 16 * b.bits(2 + (i >> 3), i % 8, 1) - 16),
  },
  Q5_1: {
    values: 32,
    bytes: 24,
    halves: [0, 2],
    value: (b, i) => b.half(0) * (b.nibble(8, i) + 16 * b.bits(4 + (i >> 3), i % 8, 1)) + b.half(2),
  },
  Q8_0: { values: 32, bytes: 34, halves: [0], value: (b, i) => b.half(0) * b.signed(2 + i) },
  MXFP4: {
    values: 32,
    bytes: 17,
    halves: [],
    value: (b, i) => FP4[b.nibble(1, i)]! * 2 ** (b.byte(0) - 127),
  },
  Q2_K: {
    values: 256,
    bytes: 84,
    halves: [80, 82],
    value: (b, i) => {
      const quantum = b.bits(16 + 32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2);
      return b.half(80) * b.bits(i >> 4, 0, 4) * quantum - b.half(82) * b.bits(i >> 4, 4, 4);
    },
  },
  Q3_K: {
    values: 256,
    bytes: 110,
    halves: [108],
    value: (b, i) => {
      const low = b.bits(32 + 32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2);
      const high = b.bits(i % 32, i >> 5, 1), k = i >> 4;
      const scale = b.bits(96 + k % 8, k < 8 ? 0 : 4, 4) +
        16 * b.bits(104 + k % 4, 2 * (k >> 2), 2);
      return b.half(108) * (scale - 32) * (low + 4 * high - 4);
    },
  },
  Q4_K: {
    values: 256,
    bytes: 144,
    halves: [0, 2],
    value: (b, i) => {
      const { d, m } = scaleAndMinimum(b, i);
      return d * b.bits(16 + 32 * (i >> 6) + i % 32, i & 32 ? 4 : 0, 4) - m;
    },
  },
  Q5_K: {
    values: 256,
    bytes: 176,
    halves: [0, 2],
    value: (b, i) => {
      const { d, m } = scaleAndMinimum(b, i);
      const low = b.bits(48 + 32 * (i >> 6) + i % 32, i & 32 ? 4 : 0, 4);
      return d * (low + 16 * b.bits(16 + i % 32, i >> 5, 1)) - m;
    },
  },
  Q6_K: {
    values: 256,
    bytes: 210,
    halves: [208],
    value: (b, i) => {
      const low = b.bits(64 * (i >> 7) + i % 64, i & 64 ? 4 : 0, 4);
      const high = b.bits(128 + 32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2);
      return b.half(208) * b.signed(192 + (i >> 4)) * (low + 16 * high - 32);
    },
  },
  Q8_K: { values: 256, bytes: 292, halves: [], value: (b, i) => b.float(0) * b.signed(4 + i) },
  IQ4_NL: {
    values: 32,
    bytes: 18,
    halves: [0],
    value: (b, i) => b.half(0) * UNEVEN[b.nibble(2, i)]!,
  },
  IQ4_XS: {
    values: 256,
    bytes: 136,
    halves: [0],
    value: (b, i) => {
      const run = i >> 5;
      const low = b.bits(4 + (run >> 1), 4 * (run % 2), 4);
      const high = b.bits(2 + (run >> 2), 2 * (run % 4), 2);
      return b.half(0) * (low + 16 * high - 32) * UNEVEN[b.nibble(8 + 16 * run, i % 32)]!;
    },
  },
  TQ1_0: {
    values: 256,
    bytes: 54,
    halves: [52],
    value: (b, i) => {
      const [start, first, count] = i < 160 ? [0, 0, 32] : i < 240 ? [32, 160, 16] : [48, 240, 4];
      let rest = b.byte(start + (i - first) % count), digit = 0;
      for (let left = Math.floor((i - first) / count); left >= 0; left--) {
        digit = rest * 3 >> 8;
        rest = rest * 3 & 255;
      }
      return b.half(52) * (digit - 1);
    },
  },
  TQ2_0: {
    values: 256,
    bytes: 66,
    halves: [64],
    value: (b, i) => b.half(64) * (b.bits(32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2) - 1),
  },
} satisfies Record<string, Layout>;

/** The block types that can be read. */
export type BlockType = keyof typeof BLOCKS;

/** Their names. */
export const BLOCK_TYPES = Object.keys(BLOCKS) as BlockType[];

/** The values of blocks. */
export function valuesOf(type: BlockType, bytes: Uint8Array<ArrayBuffer>): Float64Array {
  const layout: Layout = BLOCKS[type], data = new DataView(bytes.buffer, bytes.byteOffset);
  return Float64Array.from(
    { length: bytes.length / layout.bytes * layout.values },
    (_, i) =>
      layout.value(
        new Block(data, Math.floor(i / layout.values) * layout.bytes),
        i % layout.values,
      ),
  );
}

/** Random bytes whose scales are ordinary numbers: the blocks of `values` values, a whole number of blocks. */
export function randomBlocks(
  random: Random,
  type: BlockType,
  values: number,
): Uint8Array<ArrayBuffer> {
  const layout: Layout = BLOCKS[type];
  const bytes = random.bytes(values / layout.values * layout.bytes);
  const view = new DataView(bytes.buffer);
  const ordinary = (at: number) =>
    view.setUint16(at, random.below(0x7c00) | random.below(2) << 15, true);
  for (let at = 0; at < bytes.length; at += layout.bytes) {
    if (type === "F16" || type === "BF16") { for (let i = 0; i < 64; i += 2) ordinary(at + i); }
    if (type === "F32") {
      for (let i = 0; i < 128; i += 4) view.setFloat32(at + i, random.normals(1)[0]!, true);
    }
    if (type === "Q8_K") view.setFloat32(at, random.normals(1)[0]!, true);
    if (type === "MXFP4") view.setUint8(at, random.below(250)); // what is larger may be infinite
    for (const offset of layout.halves) ordinary(at + offset);
  }
  return bytes;
}
