// Tensors of a GGUF file on the device: the numbers of every block type, from random bytes, bit for bit
// as a plain reading of the format has them; GGUF's order of query and key rows undone.

import { assertEquals, assertThrows } from "@std/assert";
import { GgufError, GgufFile, Tensor } from "../../mod.ts";
import { dequantize } from "../../src/formats/dequantize.ts";
import { blockLayout, type BlockType } from "../../src/formats/gguf.ts";
import { randomBlocks, valuesOf } from "../../src/doctor/self_test/block_types.ts";
import { Random } from "../random.ts";
import { device, deviceTest } from "../tensor/on_device.ts";
import { type TensorToWrite, tinyVocabulary, writeGguf } from "./write_gguf.ts";

const generator = new Random();

/** Random blocks, and the values they stand for. */
function randomTensor(name: string, type: BlockType, shape: number[]) {
	const size = shape.reduce((a, b) => a * b), whole = Math.ceil(size / 32) * 32;
	const unquantized = blockLayout[type].elements === 1;
	const blocks = randomBlocks(generator, type, unquantized ? whole : size);
	const values = [...Float32Array.from(valuesOf(type, blocks)).subarray(0, size)];
	const data = blocks.subarray(0, size / blockLayout[type].elements * blockLayout[type].bytes);
	return { written: { name, shape, type, data } as TensorToWrite, values };
}

/** The blocks of a matrix on the device. */
function upload(file: GgufFile, name: string): Tensor<"uint8", 2> {
	const tensor = file.tensor(name), rows = tensor.shape[0];
	const blocks = Tensor.empty<"uint8", 2>(device, "uint8", [rows, tensor.byteLength / rows]);
	device.upload(blocks.pointer, file.read(tensor));
	return blocks;
}

async function withTensors(
	tensors: TensorToWrite[],
	use: (file: GgufFile) => void | Promise<void>,
): Promise<void> {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		const metadata = {
			"general.architecture": { kind: "string", value: "llama" },
			...tinyVocabulary(),
		} as const;
		writeGguf(path, { metadata, tensors });
		using file = await GgufFile.open(path);
		await use(file);
	} finally {
		await Deno.remove(path);
	}
}

for (const type of Object.keys(blockLayout) as BlockType[]) {
	const { elements } = blockLayout[type], unit = Math.max(elements, 32);
	const shapes = [
		[unit],
		[1, 2 * unit],
		[7, 3 * unit],
		[130, unit],
		[2, 3, 2 * unit],
		...elements === 1 ? [[1], [5, 33], [3, 7]] : [],
	];
	deviceTest(`${type} tensors of any shape become the numbers they stand for`, async () => {
		const made = shapes.map((shape, i) => randomTensor(`t${i}`, type, shape));
		await withTensors(made.map(({ written }) => written), async (file) => {
			for (const [i, { values }] of made.entries()) {
				using numbers = Tensor.empty<"float32", number>(device, "float32", shapes[i]);
				file.loadInto(numbers, `t${i}`);
				assertEquals(await numbers.data(), Float32Array.from(values), `[${shapes[i]}]`);
				if (shapes[i].length !== 2) continue;
				const [height, columns] = shapes[i];
				const rows = [height - 1, 0, height >> 1, 0];
				using some = Tensor.empty<"float32", 2>(device, "float32", [rows.length, columns]);
				file.loadRows(some, `t${i}`, rows);
				assertEquals(
					[...await some.data()],
					rows.flatMap((row) => values.slice(row * columns, (row + 1) * columns)).map(Math.fround),
				);
			}
		});
	});
}

deviceTest("rows that do not fit, and tensors that are not there, are refused", async () => {
	const { written } = randomTensor("x", "F32", [4, 3]);
	await withTensors([written], (file) => {
		using blocks = upload(file, "x");
		using three = Tensor.empty<"float32", 2>(device, "float32", [3, 3]);
		assertThrows(
			() => dequantize(blocks, "F32", three),
			RangeError,
			"Cannot dequantize blocks of 4 rows into [3,3]",
		);
		const before = device.liveBytes;
		assertThrows(() => file.loadInto(three, "y"), GgufError, '"y"');
		assertEquals(device.liveBytes, before);
	});
});
