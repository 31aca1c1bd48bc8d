// Safetensors: files that Python wrote, files of ours, and files that are damaged.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Safetensors, SafetensorsError, saveSafetensors, scope, Tensor } from "../../mod.ts";
import { device, deviceTest, roundToBfloat16 } from "../tensor/on_device.ts";
import { numbers } from "../tensor/gradients.ts";
import { root } from "../../tools/project.ts";

const folder = `${root}/tests/fixtures/safetensors`;
const recorded: Record<string, { shape: number[]; values: (number | "inf" | "-inf" | "nan")[] }> =
	JSON.parse(Deno.readTextFileSync(`${folder}/values.json`));
const number = (value: number | string) =>
	typeof value === "number" ? value : { inf: Infinity, "-inf": -Infinity, nan: NaN }[value]!;

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
	const folder = await Deno.makeTempDir();
	try {
		await use(folder);
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
}

deviceTest("every element type is read as PyTorch reads it", async () => {
	using file = await Safetensors.open(`${folder}/types.safetensors`);
	assertEquals([...file.metadata].sort(), [["format", "pt"], ["made by", "é"]]);
	assertEquals([...file.tensors.keys()].sort(), Object.keys(recorded).sort());
	for (const [name, { shape, values }] of Object.entries(recorded)) {
		using single = file.load(device, name);
		using half = file.load(device, name, "bfloat16");
		assertEquals([...single.shape], shape, name);
		const expected = values.map(number);
		assertEquals(numbers(single), expected.map(Math.fround), name);
		assertEquals(numbers(half), expected.map(Math.fround).map(roundToBfloat16), name);
	}
});

deviceTest("a checkpoint of several files is opened by its folder or its index", async () => {
	for (const path of ["sharded", "sharded/model.safetensors.index.json"]) {
		using checkpoint = await Safetensors.open(`${folder}/${path}`);
		assertEquals([...checkpoint.tensors.keys()], ["a", "b", "c"]);
		using a = checkpoint.load(device, "a");
		using c = checkpoint.load(device, "c");
		assertEquals([numbers(a), numbers(c)], [[0, 1, 2, 3, 4, 5], [-1, -1, -1, -1]]);
	}
});

deviceTest("what was saved is read again, views as they show", async () => {
	await inFolder(async (folder) => {
		const path = `${folder}/a.safetensors`;
		using matrix = Tensor.from<"float32", 2>(device, "float32", [2, 3], [1, 2, 3, 4, 5, 6]);
		using turned = matrix.transpose();
		using ids = Tensor.from<"int32", 1>(device, "int32", [2], [-1, 7]);
		using half = Tensor.from<"bfloat16", 0>(device, "bfloat16", [], [0x3fc0]);
		for (let round = 0; round < 2; round++) { // the second replaces the first
			await saveSafetensors(path, { matrix, turned, ids, half }, { note: "n" });
		}
		assertEquals((await Array.fromAsync(Deno.readDir(folder))).length, 1);
		using file = await Safetensors.open(path);
		assertEquals([...file.metadata], [["format", "pt"], ["note", "n"]]);
		const read = (name: string) =>
			scope(() => {
				const tensor = file.load(device, name);
				return [file.tensor(name).type, [...tensor.shape], numbers(tensor)];
			});
		assertEquals(["matrix", "turned", "ids", "half"].map(read), [
			["F32", [2, 3], [1, 2, 3, 4, 5, 6]],
			["F32", [3, 2], [1, 4, 2, 5, 3, 6]],
			["I32", [2], [-1, 7]],
			["BF16", [], [1.5]],
		]);
		assertEquals((file.tensors.get("matrix")!.offset) % 8, 0);
	});
});

deviceTest("a file that cannot be written is left as it was", async () => {
	using x = Tensor.from<"float32", 1>(device, "float32", [1], [1]);
	await inFolder(async (folder) => {
		await Deno.mkdir(`${folder}/taken`);
		await assertRejects(
			() => saveSafetensors(`${folder}/taken`, { x }),
			SafetensorsError,
			"it cannot be written",
		);
		await assertRejects(
			() => saveSafetensors(`${folder}/no/file`, { x }),
			SafetensorsError,
			"it cannot be written",
		);
		assertEquals((await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name), ["taken"]);
		await assertRejects(() => saveSafetensors(`${folder}/a`, { __metadata__: x }), RangeError);
	});
});

/** A file of this header and as many bytes of data. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
	const text = new TextEncoder().encode(
		typeof header === "string" ? header : JSON.stringify(header),
	);
	const bytes = new Uint8Array(8 + text.length + dataBytes);
	new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
	bytes.set(text, 8);
	return bytes;
}

Deno.test("damaged files give one clear error", async () => {
	const entry = (dtype: unknown, shape: unknown, offsets: unknown) => ({
		dtype,
		shape,
		data_offsets: offsets,
	});
	const cases: [Uint8Array, string][] = [
		[new Uint8Array(5), "it has 5 bytes, too few"],
		[
			new Uint8Array(16).fill(255),
			"it announces a header of 18446744073709552000 bytes and has 16",
		],
		[fileOf("{", 0), "its header is not JSON"],
		[fileOf("[]", 0), "its header is not an object"],
		[fileOf({ __metadata__: { a: 1 } }, 0), "its metadata are not texts"],
		[fileOf({ a: 5 }, 0), 'tensor "a" is not described by an object'],
		[
			fileOf({ a: entry("F33", [1], [0, 4]) }, 4),
			'tensor "a" has the dtype "F33", which is none of F64, F32',
		],
		[fileOf({ a: entry("toString", [1], [0, 4]) }, 4), 'has the dtype "toString"'],
		[fileOf({ a: entry("F32", [-1], [0, 4]) }, 4), 'tensor "a" has no shape'],
		[fileOf({ a: entry("F32", [1], [0]) }, 4), 'tensor "a" has no data_offsets'],
		[
			fileOf({ a: entry("F32", [2], [0, 4]) }, 4),
			'tensor "a" of F32 [2] needs 8 bytes and is given 4',
		],
		[fileOf({ a: entry("F32", [2 ** 40, 2 ** 40], [0, 4]) }, 4), "needs 4.83"],
		[fileOf({ a: entry("F32", [1], [4, 8]) }, 8), "where"],
		[
			fileOf({ a: entry("F32", [1], [0, 4]), b: entry("F32", [1], [0, 4]) }, 4),
			'tensor "b" begins at byte',
		],
		[fileOf({ a: entry("F32", [2], [0, 8]) }, 4), "it was cut off"],
		[fileOf({ a: entry("F32", [1], [0, 4]) }, 6), "2 bytes follow its last tensor"],
	];
	await inFolder(async (folder) => {
		const path = `${folder}/a.safetensors`;
		for (const [bytes, message] of cases) {
			await Deno.writeFile(path, bytes);
			await assertRejects(() => Safetensors.open(path), SafetensorsError, message);
		}
		// Cut at every place, and with every byte of the header changed: opened, or refused by name.
		const whole = await Deno.readFile(
			`${root}/tests/fixtures/safetensors/sharded/model-00002-of-00002.safetensors`,
		);
		for (let length = 0; length < whole.length; length++) {
			await Deno.writeFile(path, whole.subarray(0, length));
			await assertRejects(() => Safetensors.open(path), SafetensorsError);
		}
		for (let at = 0; at < whole.length - 32; at++) {
			const changed = whole.slice();
			changed[at] ^= 1 << at % 8;
			await Deno.writeFile(path, changed);
			await Safetensors.open(path).then((file) => file[Symbol.dispose](), (error) => {
				if (!(error instanceof SafetensorsError)) throw error;
			});
		}
	});
});

Deno.test("an index that does not hold up, and paths that lead nowhere, are refused", async () => {
	await inFolder(async (folder) => {
		await assertRejects(
			() => Safetensors.open(`${folder}/none`),
			SafetensorsError,
			"there is no such file",
		);
		await assertRejects(() => Safetensors.open(folder), SafetensorsError, "the folder has neither");
		const index = `${folder}/model.safetensors.index.json`;
		const refused = async (text: string, message: string) => {
			await Deno.writeTextFile(index, text);
			await assertRejects(() => Safetensors.open(folder), SafetensorsError, message);
		};
		await refused("{", "it is no JSON");
		await refused("{}", "it has no weight_map");
		await refused('{"weight_map": {"a": "../a"}}', 'it puts "a" into "../a", no file beside it');
		await refused('{"weight_map": {"a": "b.safetensors"}}', "there is no such file");
		await Deno.writeFile(`${folder}/b.safetensors`, fileOf({}, 0));
		await refused(
			'{"weight_map": {"a": "b.safetensors"}}',
			'it puts "a" into b.safetensors, which does not have it',
		);
	});
});

Deno.test("a closed file and an unknown tensor are refused", async () => {
	const file = await Safetensors.open(`${folder}/types.safetensors`);
	assertThrows(() => file.tensor("none"), SafetensorsError, 'it has no tensor "none" among its');
	assertEquals(file.read("F32", new Uint8Array(3), 5), file.read("F32").slice(5, 8));
	assertThrows(
		() => file.read("F32", new Uint8Array(9), 40),
		RangeError,
		"from byte 40 on: it has 48",
	);
	file[Symbol.dispose]();
	assertThrows(() => file.read("F32"), SafetensorsError, "it was closed");
});
