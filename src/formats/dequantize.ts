// From blocks of quantized numbers to numbers on the device, by a kernel.

import type { FloatType } from "../tensor/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { BlockType } from "./gguf_header.ts";
import type { Staging } from "./staging.ts";

/**
 * The numbers that blocks stand for; in bfloat16, rounded to nearest even.
 *
 * @param blocks [rows, bytes of a row]
 * @param type their block type
 * @param into [rows, columns]: where they go
 */
export function dequantize(
	blocks: Tensor<"uint8", 2>,
	type: BlockType,
	into: Tensor<FloatType, 2>,
): void {
	const [rows, columns] = into.shape;
	if (blocks.shape[0] !== rows) {
		throw new RangeError(
			`Cannot dequantize blocks of ${blocks.shape[0]} rows into [${into.shape}]`,
		);
	}
	blocks.device.kernel(`dequantize_${type}_${into.dtype}`)
		.overRows(rows, into.pointer, blocks.pointer, rows, columns);
}

/** Bytes that are read at a time where no page-locked memory is given. */
const PIECE_BYTES = 2 ** 24;

/**
 * Fills a contiguous tensor with the numbers of blocks, some rows at a time.
 *
 * @param rowBytes bytes of a row of blocks
 * @param read fills memory with the bytes of rows, from a row on
 * @param staging page-locked memory that the bytes pass through, if given
 */
export function fillFromBlocks(
	into: Tensor<FloatType>,
	type: BlockType,
	rowBytes: number,
	read: (bytes: Uint8Array<ArrayBuffer>, row: number) => void,
	staging?: Staging,
): void {
	const { device, size } = into;
	if (size === 0) return;
	const columns = into.shape.at(-1) ?? 1, rows = size / columns;
	const fitting = Math.floor((staging?.pieceBytes ?? PIECE_BYTES) / rowBytes);
	const staged = fitting >= 1 ? staging : undefined;
	using matrix = into.asStrided<2>([rows, columns], [columns, 1]);
	// What is stored as it is used needs no kernel.
	const plain = type === (into.dtype === "float32" ? "F32" : "BF16");
	for (let row = 0, count; row < rows; row += count) {
		count = Math.min(rows - row, Math.max(1, fitting));
		const bytes = count * rowBytes, first = row;
		using some = matrix.slice(row, row + count);
		using blocks = plain ? null : Tensor.empty<"uint8", 2>(device, "uint8", [count, rowBytes]);
		const pointer = blocks?.pointer ?? some.pointer;
		if (staged) staged.upload(pointer, bytes, (memory) => read(memory, first));
		else {
			const memory = new Uint8Array(bytes);
			read(memory, first);
			device.upload(pointer, memory);
		}
		if (blocks) dequantize(blocks, type, some);
	}
}
