// Windows of tokens by seed and number, texts and JSON Lines as tokens, batches on the device.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { TokenFile, writeTokens } from "../../../mod.ts";
import {
	type DataSource,
	loadBatch,
	randomWindows,
	type Split,
	tokenizeFile,
	tokenList,
} from "../../../src/nn/training/data.ts";
import { inDirectory } from "../../subprocess.ts";
import { device, deviceTest } from "../../tensor/on_device.ts";

function sequence(source: DataSource, split: Split, index: number, tokens: number) {
	const inputs = new Int32Array(tokens), targets = new Int32Array(tokens);
	source.fill(split, index, inputs, targets);
	return { inputs: [...inputs], targets: [...targets] };
}

const counting = tokenList(Array.from({ length: 1000 }, (_, i) => i));

Deno.test("windows lie within their part, all places come, and targets follow inputs", () => {
	const data = randomWindows(counting, { seed: 5, validation: 0.98 });
	const first: Record<Split, Set<number>> = { train: new Set(), validation: new Set() };
	for (const split of ["train", "validation"] as const) {
		for (let i = 0; i < 400; i++) {
			const { inputs, targets } = sequence(data, split, i, 15);
			inputs.forEach((id, j) => {
				assertEquals(id, inputs[0]! + j);
				assertEquals(targets[j], id + 1);
			});
			first[split].add(inputs[0]!);
		}
	}
	assertEquals([...first.train].sort((a, b) => a - b), [0, 1, 2, 3, 4]); // of 20 tokens
	assert(Math.min(...first.validation) >= 20 && Math.max(...first.validation) + 15 <= 999);
	assert(first.validation.size > 300);
});

Deno.test("the same number gives the same window, another seed others", () => {
	const windows = (seed: number) =>
		[0, 1, 2, 77].map((i) => sequence(randomWindows(counting, { seed }), "train", i, 9));
	assertEquals(windows(1), windows(1));
	assert(JSON.stringify(windows(1)) !== JSON.stringify(windows(2)));
});

Deno.test("a start symbol comes first, and nothing is to be predicted from it", () => {
	const data = randomWindows(counting, { start: 1234 });
	const { inputs, targets } = sequence(data, "train", 3, 6);
	assertEquals([inputs[0], targets[0]], [1234, -1]);
	assertEquals(inputs.slice(2), inputs.slice(1, -1).map((id) => id + 1));
	assertEquals(targets.slice(1), inputs.slice(1).map((id) => id + 1));
});

Deno.test("windows longer than the tokens are refused, and shares that are none", () => {
	const data = randomWindows(tokenList([1, 2, 3, 4]), { validation: 0 });
	assertEquals(sequence(data, "train", 0, 3), { inputs: [1, 2, 3], targets: [2, 3, 4] });
	assertThrows(() => sequence(data, "train", 0, 4), RangeError, "only 4");
	assertThrows(
		() => sequence(data, "validation", 0, 1),
		RangeError,
		"for validation: there are only 0",
	);
	assertThrows(() => randomWindows(counting, { validation: 1 }), RangeError, "share of 1");
});

Deno.test("texts, JSON Lines and token files are read", () =>
	inDirectory(async (path) => {
		const encode = (text: string) => [...new TextEncoder().encode(text)];
		await Deno.writeTextFile(`${path}/a.txt`, "ab\n\nc");
		await Deno.writeTextFile(`${path}/b.jsonl`, '{"text":"ab"}\n{"text":"c"}\n');
		const plain = await tokenizeFile(`${path}/a.txt`, encode);
		assertEquals([...plain.read(0, plain.length) as Int32Array], [97, 98, 10, 10, 99]);
		for (const [file, separator] of [["a.txt", "\n\n"], ["b.jsonl", undefined]] as const) {
			const options = { end: 0, ...separator !== undefined && { separator } };
			const tokens = await tokenizeFile(`${path}/${file}`, encode, options);
			assertEquals([...tokens.read(0, tokens.length) as Int32Array], [97, 98, 0, 99, 0]);
		}
		const long = await tokenizeFile(`${path}/a.txt`, () => new Int32Array(100_000).fill(7));
		assertEquals([long.length, long.read(99_999, 1)[0]], [100_000, 7]);
		await writeTokens(`${path}/train.bin`, [Array.from({ length: 1000 }, (_, i) => i)]);
		using file = await TokenFile.open(`${path}/train.bin`);
		for (const index of [0, 9]) {
			assertEquals(
				sequence(randomWindows(file), "train", index, 50),
				sequence(randomWindows(counting), "train", index, 50),
			);
		}
	}));

deviceTest("a batch has the sequences one below the other", async () => {
	const data = randomWindows(counting);
	using batch = loadBatch(device, data, "train", 4, 3, 7);
	const rows = [4, 5, 6].map((index) => sequence(data, "train", index, 7));
	assertEquals(await batch.inputs.numbers(), rows.flatMap(({ inputs }) => inputs));
	assertEquals(await batch.targets.numbers(), rows.flatMap(({ targets }) => targets));
	assertEquals([...batch.inputs.shape], [3, 7]);
});
