// Reading GGUF files: what is read of whole ones, and what is said of files that are not there.

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { GGMLQuantizationType, gguf as parseReference } from "@huggingface/gguf";
import { type BlockType, GgufError, GgufFile } from "../../src/formats/gguf.ts";
import { smolLM2Path } from "../model.ts";
import { everyType, metadata, tensor, withFile, withOpen } from "./gguf_files.ts";
import type { TypedValue } from "./write_gguf.ts";

Deno.test("GgufFile.open() reads what @huggingface/gguf reads in a real file", async () => {
	const path = smolLM2Path();
	using file = await GgufFile.open(path);
	const reference = await parseReference(path, { allowLocalFile: true });
	for (const [key, value] of Object.entries(reference.metadata)) {
		if (["version", "tensor_count", "kv_count"].includes(key)) continue;
		assertEquals(file.metadata.get(key), value as never, key);
	}
	assertEquals(file.metadata.size, Number(reference.metadata.kv_count));
	assertEquals(
		[...file.tensors.values()].map(({ name, shape, type, offset }) => ({
			name,
			shape,
			type,
			offset,
		})),
		reference.tensorInfos.map(({ name, shape, dtype, offset }) => ({
			name,
			shape: shape.map(Number).reverse(),
			type: GGMLQuantizationType[dtype] as BlockType,
			offset: Number(offset + reference.tensorDataOffset),
		})),
	);
	assertEquals(file.tensor("blk.0.ffn_down.weight").shape, [576, 1536]);
	// The last tensor ends where the file does: the lengths in bytes are right for every type in it.
	const ends = [...file.tensors.values()].map((tensor) => tensor.offset + tensor.byteLength);
	assertEquals(Math.max(...ends), Deno.statSync(path).size);
});

Deno.test("GgufFile.read() gives the bytes of tensors of every type", async () => {
	await withOpen({ metadata, tensors: everyType }, (file) => {
		assertEquals([...file.tensors.keys()], everyType.map((tensor) => tensor.name));
		for (const { name, shape, type, data } of everyType.toReversed()) {
			const tensor = file.tensor(name);
			assertEquals([tensor.shape, tensor.type, tensor.byteLength], [
				[...shape],
				type as BlockType,
				data.length,
			]);
			assertEquals(file.read(tensor), data);
			const into = new Uint8Array(data.length);
			assert(file.read(tensor, into) === into);
			assertEquals(into, data);
		}
	});
});

Deno.test("GgufFile.read() reads parts of a tensor, and no more than there is", async () => {
	await withOpen({ metadata, tensors: [tensor] }, (file) => {
		const whole = file.read(file.tensor("a"));
		assertEquals(file.read(file.tensor("a"), new Uint8Array(5), 7), whole.slice(7, 12));
		assertThrows(
			() => file.read(file.tensor("a"), new Uint8Array(60), 9),
			RangeError,
			'Cannot read 60 bytes of tensor "a" from byte 9 on: it has 68',
		);
	});
});

Deno.test("GgufFile.read() names the tensor of a file cut off while open", async () => {
	await withOpen({ metadata, tensors: [tensor] }, (file) => {
		Deno.truncateSync(file.path, file.tensor("a").offset + 10);
		assertThrows(() => file.read(file.tensor("a")), GgufError, 'tensor "a" has 10 of 68 bytes');
	});
});

Deno.test("GgufFile[Symbol.dispose]() closes the file once and for all", async () => {
	await withFile({ metadata, tensors: [tensor] }, async (path) => {
		const file = await GgufFile.open(path);
		file[Symbol.dispose]();
		file[Symbol.dispose]();
		assertThrows(() => file.read(file.tensor("a")), GgufError, "it was closed");
	});
});

Deno.test("GgufFile.tensor() names a tensor that is missing", async () => {
	await withOpen({ metadata, tensors: everyType }, (file) => {
		assertThrows(
			() => file.tensor("output.weight"),
			GgufError,
			`it has no tensor "output.weight" among its ${everyType.length} ("t0.weight", "t1.weight", "t2.weight", …)`,
		);
	});
});

Deno.test("GgufFile.metadata holds values of every kind", async () => {
	const values: Record<string, TypedValue> = {
		a: { kind: "uint8", value: 200 },
		b: { kind: "int8", value: -100 },
		c: { kind: "uint16", value: 60000 },
		d: { kind: "int16", value: -30000 },
		e: { kind: "uint32", value: 4000000000 },
		f: { kind: "int32", value: -2000000000 },
		g: { kind: "float32", value: 0.5 },
		h: { kind: "float64", value: 0.1 },
		i: { kind: "uint64", value: 2n ** 64n - 1n },
		j: { kind: "int64", value: -(2n ** 40n) },
		k: { kind: "bool", value: true },
		l: { kind: "string", value: "\ufeffžluťoučký 🐎 kůň a dlouhý, dlouhý text" },
		m: { kind: "string", value: ["", "é", "ѱ", "\u07ff", "€", "🐎", "\u07ff\u0800"] },
		n: { kind: "float32", value: [1, -0.25, Infinity] },
		o: { kind: "bool", value: [true, false] },
		p: { kind: "uint8", value: [] },
		["__proto__"]: { kind: "uint8", value: 1 },
	};
	await withOpen({ metadata: values, tensors: [] }, (file) => {
		for (const [key, { value }] of Object.entries(values)) {
			const read = file.metadata.get(key);
			assertEquals(read, (key === "j" ? Number(value) : value) as typeof read, key);
		}
	});
});

Deno.test("GgufFile's typed getters give values of the kind asked for, or say what there is", async () => {
	const values: Record<string, TypedValue> = {
		count: { kind: "uint32", value: 3 },
		huge: { kind: "uint64", value: 2n ** 60n },
		name: { kind: "string", value: "tiny" },
		flag: { kind: "bool", value: false },
		words: { kind: "string", value: ["a", "b"] },
		scores: { kind: "float32", value: [1, 2] },
	};
	await withOpen({ metadata: values, tensors: [] }, (file) => {
		assertEquals(file.number("count"), 3);
		assertEquals(file.string("name"), "tiny");
		assertEquals(file.strings("words"), ["a", "b"]);
		assertEquals(file.numbers("scores"), [1, 2]);
		assertEquals(file.optionalBoolean("flag"), false);
		assertEquals(file.optionalNumber("none"), undefined);
		assertEquals(file.optionalString("none"), undefined);
		assertEquals(file.optionalNumbers("none"), undefined);
		assertEquals(file.optionalBoolean("none"), undefined);
		const throws = (get: () => unknown, problem: string) => {
			assertThrows(get, GgufError, `Cannot use "${file.path}": metadata key ${problem}`);
		};
		throws(() => file.number("none"), '"none" is missing: a number is needed');
		throws(() => file.string("none"), '"none" is missing: a string is needed');
		throws(() => file.strings("none"), '"none" is missing: a list of strings is needed');
		throws(() => file.number("name"), '"name" must be a number and is the string "tiny"');
		throws(() => file.number("words"), '"words" must be a number and is a list of 2 strings');
		throws(() => file.number("huge"), `"huge" must be a number and is the bigint "${2n ** 60n}"`);
		throws(() => file.string("count"), '"count" must be a string and is the number "3"');
		throws(
			() => file.strings("scores"),
			'"scores" must be a list of strings and is a list of 2 numbers',
		);
		throws(
			() => file.numbers("words"),
			'"words" must be a list of numbers and is a list of 2 strings',
		);
		throws(() => file.optionalBoolean("count"), '"count" must be a boolean and is the number "3"');
	});
});

Deno.test("GgufFile.open() names a file that is not there", async () => {
	const error = await assertRejects(() => GgufFile.open("/no/such.gguf"), GgufError);
	assertEquals(error.message, 'Cannot use "/no/such.gguf": there is no such file');
});

Deno.test("GgufFile.open() refuses a folder", async () => {
	const folder = await Deno.makeTempDir();
	const error = await assertRejects(() => GgufFile.open(folder), GgufError);
	assertMatch(error.message, /it is not a regular file|directory/i);
	await Deno.remove(folder);
});

Deno.test("GgufFile.open() says which permission is missing, and needs no other", async () => {
	await withFile({ metadata, tensors: [tensor] }, async (path) => {
		const module = new URL("../../src/formats/gguf.ts", import.meta.url).href;
		const code = `import { GgufFile } from ${JSON.stringify(module)};
      try { using file = await GgufFile.open(${JSON.stringify(path)});
        console.log(file.read(file.tensor("a")).length); }
      catch (error) { console.log(error.name + ": " + error.message); }`;
		const run = async (...flags: string[]) => {
			const { stdout } = await new Deno.Command(Deno.execPath(), {
				args: [
					"run",
					"--no-config",
					"--no-prompt",
					"--no-check",
					...flags,
					`data:application/typescript,${encodeURIComponent(code)}`,
				],
			}).output();
			return new TextDecoder().decode(stdout).trim();
		};
		assertEquals(await run(`--allow-read=${path}`), "68");
		assertEquals(
			await run(),
			`GgufError: Cannot use "${path}": Deno has no permission to read it, run with --allow-read="${path}"`,
		);
	});
});
