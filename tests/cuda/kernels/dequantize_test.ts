// dequantize*.cu: each block type against a plain reading of its layout and against recorded values, and all
// half-precision numbers.

import { assertEquals } from "@std/assert";
import {
	BLOCK_TYPES,
	BLOCKS,
	half,
	randomBlocks,
	valuesOf,
} from "../../../src/doctor/self_test/block_types.ts";
import { checkBlocks } from "../../../src/doctor/self_test/dequantize.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";
import recorded from "../../fixtures/gguf_blocks.json" with { type: "json" };

kernelTest("each block type is read as its layout says", (bench) => {
	for (const type of BLOCK_TYPES) {
		const { values } = BLOCKS[type];
		for (const [rows, count] of [[1, 1], [3, 2], [31, 3], [2, 18], [65, 1]] as const) {
			const blocks = randomBlocks(bench.random, type, rows * count * values);
			for (const dtype of ["float32", "bfloat16"] as const) {
				checkBlocks(bench, type, blocks, rows, count * values, dtype);
			}
		}
		const many = bench.device.multiprocessors * 8 * 8 + 1; // more rows than warps of a full grid
		checkBlocks(bench, type, randomBlocks(bench.random, type, many * values), many, values);
	}
});

kernelTest("blocks have the values that llama.cpp's reference gives them", (bench) => {
	for (const [type, { blocks, values }] of Object.entries(recorded)) {
		const bytes = fromBase64(blocks);
		const expected = new Float32Array(fromBase64(values).buffer);
		const y = bench.wanted("float32", expected.length);
		bench.device.kernel(`dequantize_${type}_float32`)
			.overRows(1, y.pointer, bench.given("uint8", bytes).pointer, 1, expected.length);
		assertEquals(y.take(), expected, type);
		assertEquals(Float32Array.from(valuesOf(type as keyof typeof BLOCKS, bytes)), expected, type);
	}
});

kernelTest("unquantized types have rows of any length", (bench) => {
	for (const type of ["F32", "F16", "BF16"] as const) {
		for (const columns of [1, 2, 31, 33, 63, 65, 127, 577]) {
			const rows = 32; // a whole number of blocks in all, as the reference counts
			checkBlocks(bench, type, randomBlocks(bench.random, type, rows * columns), rows, columns);
		}
	}
});

kernelTest("each of the 65,536 half-precision patterns has its value", (bench) => {
	const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
	const blocks = bench.given("uint8", new Uint8Array(bits.buffer));
	const y = bench.wanted("float32", bits.length);
	bench.device.kernel("dequantize_F16_float32").overRows(64, y.pointer, blocks.pointer, 64, 1024);
	const values = y.take();
	for (let i = 0; i < bits.length; i++) {
		assertEquals(Object.is(values[i], half(i)), true, `half 0x${i.toString(16)}: ${values[i]}`);
	}
});

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
	return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

const q4 = (bench: Bench) =>
	checkBlocks(bench, "Q4_0", randomBlocks(bench.random, "Q4_0", 96), 1, 96);
const q3 = (bench: Bench) =>
	checkBlocks(bench, "Q3_K", randomBlocks(bench.random, "Q3_K", 512), 1, 512);
const uneven = (bench: Bench) =>
	checkBlocks(bench, "IQ4_XS", randomBlocks(bench.random, "IQ4_XS", 512), 1, 512);
const one = (bench: Bench) =>
	checkBlocks(bench, "IQ1_M", randomBlocks(bench.random, "IQ1_M", 512), 1, 512);
const two = (bench: Bench) =>
	checkBlocks(bench, "IQ2_XS", randomBlocks(bench.random, "IQ2_XS", 512), 1, 512);
const three = (bench: Bench) =>
	checkBlocks(bench, "IQ3_S", randomBlocks(bench.random, "IQ3_S", 512), 1, 512);
faultsAreFound([
	{
		name: "nibbles are centred on 7",
		file: "dequantize.cu",
		from: "nibble(quanta, i) - 8",
		to: "nibble(quanta, i) - 7",
		check: q4,
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
	{
		name: "the number of minus signs is odd",
		file: "dequantize_grid.cu",
		from: "(parity & 1) << 7",
		to: "(~parity & 1) << 7",
		check: two,
	},
	{
		name: "a point's ninth bit is its neighbour's",
		file: "dequantize_grid.cu",
		from: "(ninth >> k & 1) << 8",
		to: "(ninth >> (k ^ 1) & 1) << 8",
		check: three,
	},
	{
		name: "each second point has the shift of the first",
		file: "dequantize_grid.cu",
		from: "(i / 8 * 4 + 3)",
		to: "(i / 16 * 8 + 3)",
		check: one,
	},
]);
