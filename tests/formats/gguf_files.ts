// Files for the tests of GGUF reading: written for a test, opened, removed; whole or damaged.

import { assertEquals, assertRejects } from "@std/assert";
import { blockLayout, type BlockType, GgufError, GgufFile } from "../../src/formats/gguf.ts";
import {
	type GgufContents,
	llamaMetadata,
	type TensorToWrite,
	tinyVocabulary,
	type TypedValue,
	writeGguf,
} from "./write_gguf.ts";

/** Runs `use` with the path of a file of this content, which is removed afterwards. */
export async function withFile<T>(
	content: Uint8Array | GgufContents,
	use: (path: string) => T | Promise<T>,
): Promise<T> {
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	try {
		if (content instanceof Uint8Array) Deno.writeFileSync(path, content);
		else writeGguf(path, content);
		return await use(path);
	} finally {
		await Deno.remove(path);
	}
}

/** Runs `use` with such a file opened. */
export function withOpen<T>(
	content: Uint8Array | GgufContents,
	use: (file: GgufFile) => T | Promise<T>,
): Promise<T> {
	return withFile(content, async (path) => {
		using file = await GgufFile.open(path);
		return await use(file);
	});
}

/** The problem that `GgufFile.open` finds in such a file. */
export function problemOf(content: Uint8Array | GgufContents): Promise<string> {
	return withFile(content, async (path) => {
		const error = await assertRejects(() => GgufFile.open(path), GgufError);
		assertEquals(error.path, path);
		assertEquals(error.message.startsWith(`Cannot use "${path}": `), true, error.message);
		return error.message.slice(`Cannot use "${path}": `.length);
	});
}

/** A tensor of random bytes. */
export function randomTensor(name: string, shape: number[], type: BlockType): TensorToWrite {
	const { elements, bytes } = blockLayout[type];
	const data = new Uint8Array(shape.reduce((a, b) => a * b) / elements * bytes);
	return { name, shape, type, data: crypto.getRandomValues(data) };
}

/** A tensor of each supported type. */
export const everyType = Object.keys(blockLayout).map((type, i) =>
	randomTensor(`t${i}.weight`, [3, 256 * (i % 3 + 1)], type as BlockType)
);
/** Metadata of a whole, tiny model. */
export const metadata: Record<string, TypedValue> = {
	...llamaMetadata({
		layers: 1,
		width: 32,
		heads: 2,
		keyValueHeads: 1,
		hidden: 64,
		vocabulary: 264,
	}),
	...tinyVocabulary(),
};
/** A tensor for files that need one. */
export const tensor = randomTensor("a", [2, 32], "Q8_0");
