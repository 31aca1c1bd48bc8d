// GGUF's block types by their layout, each value read alone and slowly: what the kernels are compared with.

import grids from "../../cuda/kernels/grids.cuh" with { type: "text" };
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
	short(i: number): number {
		return this.#data.getUint16(this.#at + i, true);
	}
	half(i: number): number {
		return half(this.short(i));
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

/** A grid: the quanta of its points, read from the digits that the kernels have. */
function grid(name: string, length: number, bits: number): number[][] {
	const [, count, lines] = new RegExp(String.raw`Grid<(\d+)> GRID_${name}\(([^)]*)\)`).exec(grids)!;
	const digits = lines!.match(/(?<=").*(?=")/g)!.join("").replaceAll("\\\\", "\\");
	const aPoint = digits.length / Number(count);
	return Array.from({ length: Number(count) }, (_, at) => {
		const point = [...digits.slice(at * aPoint, (at + 1) * aPoint)]
			.reduce((sum, digit, i) => sum + (digit.charCodeAt(0) - 48) * 64 ** i, 0);
		return Array.from({ length }, (_, i) => point >> i * bits & (1 << bits) - 1);
	});
}
const IQ1 = grid("IQ1", 8, 2);
const [IQ2_XXS, IQ2_XS, IQ2_S] = ["IQ2_XXS", "IQ2_XS", "IQ2_S"]
	.map((name) => grid(name, 8, 2).map((point) => point.map((quantum) => [8, 25, 43][quantum])));
const IQ3_XXS = grid("IQ3_XXS", 4, 3)
	.map((point) => point.map((quantum) => [4, 12, 20, 28, 36, 44, 52, 62][quantum]));
const IQ3_S = grid("IQ3_S", 4, 3).map((point) => point.map((quantum) => 2 * quantum + 1));

/** Sign i of 8, of which the first 7 are stored: the product of all is 1. */
function signOf(seven: number, i: number): number {
	const ones = (bits: number) => bits.toString(2).replaceAll("0", "").length;
	return i < 7 ? 1 - 2 * (seven >> i & 1) : 1 - 2 * (ones(seven) % 2);
}

const layout = (
	values: number,
	bytes: number,
	halves: number[],
	value: Layout["value"],
): Layout => ({ values, bytes, halves, value });

/** Every block type; the unquantized ones as if they had blocks of 32. */
export const BLOCKS = {
	F32: layout(32, 128, [], (b, i) => b.float(4 * i)),
	F16: layout(32, 64, [], (b, i) => b.half(2 * i)),
	BF16: layout(
		32,
		64,
		[],
		(b, i) =>
			new Float32Array(Uint32Array.of((b.byte(2 * i) | b.byte(2 * i + 1) << 8) << 16).buffer)[0],
	),
	Q4_0: layout(32, 18, [0], (b, i) => b.half(0) * (b.nibble(2, i) - 8)),
	Q4_1: layout(32, 20, [0, 2], (b, i) => b.half(0) * b.nibble(4, i) + b.half(2)),
	Q5_0: layout(
		32,
		22,
		[0],
		(b, i) => b.half(0) * (b.nibble(6, i) + 16 * b.bits(2 + (i >> 3), i % 8, 1) - 16),
	),
	Q5_1: layout(
		32,
		24,
		[0, 2],
		(b, i) => b.half(0) * (b.nibble(8, i) + 16 * b.bits(4 + (i >> 3), i % 8, 1)) + b.half(2),
	),
	Q8_0: layout(32, 34, [0], (b, i) => b.half(0) * b.signed(2 + i)),
	MXFP4: layout(32, 17, [], (b, i) => FP4[b.nibble(1, i)] * 2 ** (b.byte(0) - 127)),
	Q2_K: layout(256, 84, [80, 82], (b, i) => {
		const quantum = b.bits(16 + 32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2);
		return b.half(80) * b.bits(i >> 4, 0, 4) * quantum - b.half(82) * b.bits(i >> 4, 4, 4);
	}),
	Q3_K: layout(256, 110, [108], (b, i) => {
		const low = b.bits(32 + 32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2);
		const high = b.bits(i % 32, i >> 5, 1), k = i >> 4;
		const scale = b.bits(96 + k % 8, k < 8 ? 0 : 4, 4) +
			16 * b.bits(104 + k % 4, 2 * (k >> 2), 2);
		return b.half(108) * (scale - 32) * (low + 4 * high - 4);
	}),
	Q4_K: layout(256, 144, [0, 2], (b, i) => {
		const { d, m } = scaleAndMinimum(b, i);
		return d * b.bits(16 + 32 * (i >> 6) + i % 32, i & 32 ? 4 : 0, 4) - m;
	}),
	Q5_K: layout(256, 176, [0, 2], (b, i) => {
		const { d, m } = scaleAndMinimum(b, i);
		const low = b.bits(48 + 32 * (i >> 6) + i % 32, i & 32 ? 4 : 0, 4);
		return d * (low + 16 * b.bits(16 + i % 32, i >> 5, 1)) - m;
	}),
	Q6_K: layout(256, 210, [208], (b, i) => {
		const low = b.bits(64 * (i >> 7) + i % 64, i & 64 ? 4 : 0, 4);
		const high = b.bits(128 + 32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2);
		return b.half(208) * b.signed(192 + (i >> 4)) * (low + 16 * high - 32);
	}),
	Q8_K: layout(256, 292, [], (b, i) => b.float(0) * b.signed(4 + i)),
	IQ4_NL: layout(32, 18, [0], (b, i) => b.half(0) * UNEVEN[b.nibble(2, i)]),
	IQ4_XS: layout(256, 136, [0], (b, i) => {
		const run = i >> 5;
		const low = b.bits(4 + (run >> 1), 4 * (run % 2), 4);
		const high = b.bits(2 + (run >> 2), 2 * (run % 4), 2);
		return b.half(0) * (low + 16 * high - 32) * UNEVEN[b.nibble(8 + 16 * run, i % 32)];
	}),
	TQ1_0: layout(256, 54, [52], (b, i) => {
		const [start, first, count] = i < 160 ? [0, 0, 32] : i < 240 ? [32, 160, 16] : [48, 240, 4];
		let rest = b.byte(start + (i - first) % count), digit = 0;
		for (let left = Math.floor((i - first) / count); left >= 0; left--) {
			digit = rest * 3 >> 8;
			rest = rest * 3 & 255;
		}
		return b.half(52) * (digit - 1);
	}),
	TQ2_0: layout(
		256,
		66,
		[64],
		(b, i) => b.half(64) * (b.bits(32 * (i >> 7) + i % 32, 2 * (i >> 5 & 3), 2) - 1),
	),
	IQ1_S: layout(256, 50, [0], (b, i) => {
		const run = i >> 5, high = b.short(34 + 2 * run);
		const point = IQ1[b.byte(2 + (i >> 3)) + 256 * (high >> 3 * (i >> 3 & 3) & 7)];
		const scale = b.half(0) * (2 * (high >> 12 & 7) + 1);
		return scale * (point[i % 8] - 1 + (high & 0x8000 ? -1 : 1) / 8);
	}),
	IQ1_M: layout(256, 56, [], (b, i) => {
		const k = i >> 3, high = b.bits(32 + (k >> 1), 4 * (k % 2), 4);
		const point = IQ1[b.byte(k) + 256 * (high & 7)];
		const nibbles = [49, 51, 53, 55].map((at, i) => b.bits(at, 4, 4) << 4 * i);
		const d = half(nibbles.reduce((bits, nibble) => bits | nibble));
		const scale = b.short(48 + 2 * (i >> 6)) >> 3 * (i >> 4 & 3) & 7;
		return d * (2 * scale + 1) * (point[i % 8] - 1 + (high & 8 ? -1 : 1) / 8);
	}),
	IQ2_XXS: layout(256, 66, [0], (b, i) => {
		const at = 2 + 8 * (i >> 5), k = i >> 3 & 3, word = b.short(at + 4) + 65536 * b.short(at + 6);
		const size = IQ2_XXS![b.byte(at + k)][i % 8];
		const scale = b.half(0) * (0.5 + (word >>> 28)) / 4;
		return scale * size * signOf(word >>> 7 * k & 127, i % 8);
	}),
	IQ2_XS: layout(256, 74, [0], (b, i) => {
		const bits = b.short(2 + 2 * (i >> 3));
		const scale = b.half(0) * (0.5 + b.bits(66 + (i >> 5), i & 16 ? 4 : 0, 4)) / 4;
		return scale * IQ2_XS![bits & 511][i % 8] * signOf(bits >> 9, i % 8);
	}),
	IQ2_S: layout(256, 82, [0], (b, i) => {
		const k = i >> 3, point = b.byte(2 + k) + 256 * b.bits(66 + (i >> 5), 2 * (k % 4), 2);
		const scale = b.half(0) * (0.5 + b.bits(74 + (i >> 5), i & 16 ? 4 : 0, 4)) / 4;
		return scale * IQ2_S![point][i % 8] * (1 - 2 * b.bits(34 + k, i % 8, 1));
	}),
	IQ3_XXS: layout(256, 98, [0], (b, i) => {
		const at = 66 + 4 * (i >> 5), word = b.short(at) + 65536 * b.short(at + 2);
		const size = IQ3_XXS[b.byte(2 + (i >> 2))][i % 4];
		const scale = b.half(0) * (0.5 + (word >>> 28)) / 2;
		return scale * size * signOf(word >>> 7 * (i >> 3 & 3) & 127, i % 8);
	}),
	IQ3_S: layout(256, 110, [0], (b, i) => {
		const k = i >> 2, point = b.byte(2 + k) + 256 * b.bits(66 + (i >> 5), k % 8, 1);
		const scale = b.half(0) * (1 + 2 * b.bits(106 + (i >> 6), i & 32 ? 4 : 0, 4));
		return scale * IQ3_S[point][i % 4] * (1 - 2 * b.bits(74 + (i >> 3), i % 8, 1));
	}),
};

/** The block types that can be read. */
export type BlockType = keyof typeof BLOCKS;

/** Their names. */
export const BLOCK_TYPES = Object.keys(BLOCKS) as BlockType[];

/** The values of blocks. */
export function valuesOf(type: BlockType, bytes: Uint8Array<ArrayBuffer>): Float64Array {
	const layout = BLOCKS[type], data = new DataView(bytes.buffer, bytes.byteOffset);
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
	const layout = BLOCKS[type];
	const bytes = random.bytes(values / layout.values * layout.bytes);
	const view = new DataView(bytes.buffer);
	const ordinary = (at: number) =>
		view.setUint16(at, random.below(0x7c00) | random.below(2) << 15, true);
	for (let at = 0; at < bytes.length; at += layout.bytes) {
		if (type === "F16" || type === "BF16") { for (let i = 0; i < 64; i += 2) ordinary(at + i); }
		if (type === "F32") {
			for (let i = 0; i < 128; i += 4) view.setFloat32(at + i, random.normals(1)[0], true);
		}
		if (type === "Q8_K") view.setFloat32(at, random.normals(1)[0], true);
		if (type === "MXFP4") view.setUint8(at, random.below(250)); // what is larger may be infinite
		if (type === "IQ1_M") bytes[at + 55] &= 0xbf; // a bit of the exponent of its scattered scale
		for (const offset of layout.halves) ordinary(at + offset);
	}
	return bytes;
}
