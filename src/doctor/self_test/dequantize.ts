// GGUF's block types against a plain reading of their layout.

import { BLOCK_TYPES, BLOCKS, type BlockType, randomBlocks, valuesOf } from "./block_types.ts";
import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** Compares blocks dequantized on the device with a plain reading of their layout. */
export function checkBlocks(
	bench: Bench,
	type: BlockType,
	bytes: Uint8Array<ArrayBuffer>,
	rows: number,
	columns: number,
	dtype: FloatType = "float32",
): number {
	const y = bench.wanted(dtype, rows * columns);
	bench.overRows(`dequantize_${type}_${dtype}`, rows, y, bytes, rows, columns);
	const expected = valuesOf(type, bytes).slice(0, rows * columns);
	// Products of scales and quanta are exact: a minimum's addition rounds once, and so does Q8_K's product.
	const unquantized = type === "F32" || type === "F16" || type === "BF16";
	const tolerance = unquantized ? TOLERANCE.exact : TOLERANCE.elementwise(1);
	return assertClose(y, expected, tolerance, `${type} [${rows}, ${columns}] as ${dtype}`);
}

/** Each kernel of dequantize.cu, dequantize_grid.cu, dequantize_i.cu and dequantize_k.cu. */
export const selfTests = BLOCK_TYPES.flatMap((type) =>
	FLOATS.map((dtype) =>
		selfTest([`dequantize_${type}_${dtype}`], (bench) => {
			const columns = 3 * BLOCKS[type].values,
				blocks = randomBlocks(bench.random, type, 64 * columns);
			return checkBlocks(bench, type, blocks, 64, columns, dtype);
		})
	)
);
