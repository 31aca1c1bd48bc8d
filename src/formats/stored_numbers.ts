// Numbers as checkpoints store them, onto the device: by a kernel, or first to float32 here.

import type { FloatType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { StoredTensor } from "./checkpoint.ts";
import { fillFromBlocks } from "./dequantize.ts";
import type { SafetensorsType } from "./safetensors_header.ts";
import type { Staging } from "./staging.ts";

/** Bits of an 8-bit float: its exponent's width and bias, and whether the largest exponent means infinity. */
function float8Values(exponentBits: number, bias: number, infinities: boolean): Float32Array {
	const mantissaBits = 7 - exponentBits, largest = 2 ** exponentBits - 1;
	return Float32Array.from({ length: 256 }, (_, bits) => {
		const sign = bits & 0x80 ? -1 : 1, mantissa = bits & (2 ** mantissaBits - 1);
		const exponent = (bits & 0x7f) >> mantissaBits;
		if (infinities && exponent === largest) return mantissa ? NaN : sign * Infinity;
		if (!infinities && (bits & 0x7f) === 0x7f) return NaN;
		const fraction = mantissa / 2 ** mantissaBits;
		return sign * (exponent ? 1 + fraction : fraction) * 2 ** (Math.max(exponent, 1) - bias);
	});
}

/** How the types that no kernel converts become float32. */
const TO_FLOAT32: Partial<
	Record<SafetensorsType, (bytes: ArrayBuffer) => Float32Array<ArrayBuffer>>
> = {
	F64: (bytes) => Float32Array.from(new Float64Array(bytes)),
	I64: (bytes) => Float32Array.from(new BigInt64Array(bytes), Number),
	I32: (bytes) => Float32Array.from(new Int32Array(bytes)),
	I16: (bytes) => Float32Array.from(new Int16Array(bytes)),
	I8: (bytes) => Float32Array.from(new Int8Array(bytes)),
	U64: (bytes) => Float32Array.from(new BigUint64Array(bytes), Number),
	U32: (bytes) => Float32Array.from(new Uint32Array(bytes)),
	U16: (bytes) => Float32Array.from(new Uint16Array(bytes)),
	U8: (bytes) => Float32Array.from(new Uint8Array(bytes)),
	BOOL: (bytes) => Float32Array.from(new Uint8Array(bytes)),
	F8_E4M3: (bytes) => {
		const values = float8Values(4, 7, false);
		return Float32Array.from(new Uint8Array(bytes), (bits) => values[bits]!);
	},
	F8_E5M2: (bytes) => {
		const values = float8Values(5, 15, true);
		return Float32Array.from(new Uint8Array(bytes), (bits) => values[bits]!);
	},
};

/**
 * Fills a contiguous tensor with rows of a stored one; neighbours are read at once.
 *
 * @param tensor how it is stored
 * @param read fills memory with bytes of it, from one on
 * @param rowAt which of its rows comes i-th
 * @param staging page-locked memory that the bytes pass through, if given
 */
export function fillFromStored(
	into: Tensor<FloatType>,
	{ type, shape, byteLength }: { type: SafetensorsType } & StoredTensor,
	read: (into: Uint8Array<ArrayBuffer>, from: number) => void,
	{ rowAt = (i) => i, staging }: { rowAt?: (i: number) => number; staging?: Staging | undefined } =
		{},
): void {
	if (into.size === 0) return;
	const columns = shape.at(-1) ?? 1;
	const width = byteLength / shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
	const readRows = (bytes: Uint8Array<ArrayBuffer>, first: number) => {
		for (let i = 0, end; i * width < bytes.length; i = end) {
			end = i + 1;
			while (end * width < bytes.length && rowAt(first + end) === rowAt(first + i) + end - i) end++;
			read(bytes.subarray(i * width, end * width), rowAt(first + i) * width);
		}
	};
	const convert = TO_FLOAT32[type];
	if (!convert) {
		return fillFromBlocks(into, type as "F32" | "F16" | "BF16", width, readRows, staging);
	}
	fillFromBlocks(into, "F32", 4 * columns, (bytes, first) => {
		const raw = new Uint8Array(bytes.length / (4 * columns) * width);
		readRows(raw, first);
		bytes.set(new Uint8Array(convert(raw.buffer).buffer));
	}, staging);
}
