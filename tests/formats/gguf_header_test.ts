// Damaged and hostile GGUF files: one clear error for each way a header can be wrong.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { GgufError, GgufFile } from "../../src/formats/gguf.ts";
import {
	everyType,
	metadata,
	problemOf,
	randomTensor,
	tensor,
	withFile,
	withOpen,
} from "./gguf_files.ts";
import { ggufBytes, type TypedValue } from "./write_gguf.ts";

Deno.test("GgufFile.open() refuses what is not a GGUF file", async () => {
	assertEquals(
		await problemOf(new TextEncoder().encode("PK\x03\x04 and so on")),
		'it is not a GGUF file: it must begin with "GGUF" and begins with the bytes 50 4b 03 04',
	);
	assertEquals(
		await problemOf(new Uint8Array(0)),
		'it is not a GGUF file: it must begin with "GGUF" and has 0 bytes',
	);
});

Deno.test("GgufFile.open() refuses other versions and big-endian files", async () => {
	for (const version of [0, 1, 4]) {
		assertEquals(
			await problemOf({ metadata, tensors: [], version }),
			`it is of GGUF version ${version}: versions 2 and 3 are supported`,
		);
	}
	assertEquals(
		await problemOf({ metadata, tensors: [], version: 3 << 24 }),
		"it is big-endian: only little-endian GGUF files are supported",
	);
	await withOpen({ metadata, tensors: [tensor], version: 2 }, (file) => {
		assertEquals(file.read(file.tensor("a")), tensor.data);
	});
});

Deno.test("GgufFile.open() names the tensor whose data is cut off", async () => {
	const bytes = ggufBytes({ metadata, tensors: everyType });
	assertEquals(
		await problemOf(bytes.subarray(0, bytes.length - 1)),
		`it is cut off: the data of tensor "t${
			everyType.length - 1
		}.weight" ends at byte ${bytes.length}, the file has ${bytes.length - 1}`,
	);
});

Deno.test("GgufFile.open() refuses a file cut off anywhere", async () => {
	const bytes = ggufBytes({
		metadata: { a: { kind: "string", value: ["x", "yz"] }, b: { kind: "float64", value: 1 } },
		tensors: [tensor, randomTensor("b", [5], "F32")],
	});
	for (let length = 0; length < bytes.length; length++) {
		const problem = await problemOf(bytes.subarray(0, length));
		assertMatch(problem, /cut off|not a GGUF/, `${length} bytes: ${problem}`);
	}
});

Deno.test("GgufFile.open() refuses tensors that overlap", async () => {
	const b = { ...randomTensor("b", [16], "F32"), offset: 64 };
	assertMatch(
		await problemOf({ metadata, tensors: [tensor, b] }),
		/^the data of tensors "a" and "b" overlap at byte \d+$/,
	);
});

Deno.test("GgufFile.open() refuses a tensor that is not aligned", async () => {
	assertEquals(
		await problemOf({ metadata, tensors: [{ ...tensor, offset: 16 }] }),
		'tensor "a" is at offset 16, which is not a multiple of the alignment 32',
	);
});

Deno.test("GgufFile.open() keeps to the alignment that a file declares", async () => {
	const aligned = (value: number) => ({
		...metadata,
		"general.alignment": { kind: "uint32", value } as const,
	});
	await withOpen({ metadata: aligned(256), tensors: everyType, alignment: 256 }, (file) => {
		for (const { name, data } of everyType) {
			assertEquals(file.tensor(name).offset % 256, 0);
			assertEquals(file.read(file.tensor(name)), data);
		}
	});
	for (const value of [0, 3, 48]) {
		assertEquals(
			await problemOf({ metadata: aligned(value), tensors: [] }),
			`metadata key "general.alignment" must be a power of two and is ${value}`,
		);
	}
});

Deno.test("GgufFile.open() refuses a name that appears twice", async () => {
	assertEquals(
		await problemOf({ metadata, tensors: [tensor, tensor] }),
		'tensor "a" appears twice',
	);
	const bytes = ggufBytes({
		metadata: { aa: { kind: "uint8", value: 1 }, ab: { kind: "uint8", value: 1 } },
		tensors: [],
	});
	bytes[bytes.lastIndexOf(0x62)] = 0x61; // "ab" to "aa"
	assertEquals(await problemOf(bytes), 'metadata key "aa" appears twice');
});

Deno.test("GgufFile.open() refuses impossible shapes", async () => {
	const shaped = (shape: number[]) => problemOf({ metadata, tensors: [{ ...tensor, shape }] });
	assertEquals(await shaped([]), 'tensor "a" must have 1 to 4 dimensions and has 0');
	assertEquals(await shaped([1, 1, 1, 1, 32]), 'tensor "a" must have 1 to 4 dimensions and has 5');
	assertMatch(await shaped([0, 32]), /^tensor "a" has the shape \[0, 32\] in Q8_0, 0 bytes/);
	assertMatch(await shaped([2 ** 31, 2 ** 40]), /at most the file's \d+ are possible$/);
	assertEquals(
		await shaped([32, 2]),
		'tensor "a" has rows of 2 elements: in Q8_0 it must be a multiple of 32',
	);
});

Deno.test("GgufFile.open() names a tensor type that is not supported", async () => {
	const problem = await problemOf({ metadata, tensors: [{ ...tensor, type: "NVFP4" }] });
	assertEquals(
		problem,
		'tensor "a" is of type NVFP4, which is not supported: supported are F32, F16, BF16, Q4_0, ' +
			"Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K, IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, " +
			"IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4",
	);
	const bytes = ggufBytes({ metadata: {}, tensors: [tensor] });
	bytes[24 + 8 + 1 + 4 + 16 + 1] = 77; // the type's second byte
	assertMatch(await problemOf(bytes), /^tensor "a" is of type 19720, which is not supported/);
});

Deno.test("GgufFile.open() refuses damaged metadata", async () => {
	const patched = (value: TypedValue, at: number, byte: number) => {
		const bytes = ggufBytes({ metadata: { k: value }, tensors: [] });
		bytes[24 + 8 + 1 + at] = byte; // counted from the kind of the value
		return problemOf(bytes);
	};
	assertEquals(
		await patched({ kind: "bool", value: true }, 4, 2),
		'metadata key "k" must be 0 or 1, as a boolean, and is 2',
	);
	assertEquals(
		await patched({ kind: "uint8", value: 1 }, 0, 13),
		'metadata key "k" is of unknown kind 13',
	);
	assertEquals(
		await patched({ kind: "uint8", value: [1] }, 4, 13),
		'metadata key "k" is a list of unknown kind 13',
	);
	assertEquals(
		await patched({ kind: "uint8", value: [1] }, 4, 9),
		'metadata key "k" is a list of lists, which is not supported',
	);
	assertMatch(
		await patched({ kind: "string", value: "é" }, 12, 0xff),
		/^metadata key "k", 2 bytes at byte \d+, is not valid UTF-8$/,
	);
});

Deno.test("GgufFile.open() allocates nothing for lengths that the file cannot hold", async () => {
	const claims = (at: number) => {
		const bytes = ggufBytes({
			metadata: { k: { kind: "string", value: ["x"] } },
			tensors: [],
		});
		bytes.fill(0xff, at, at + 6); // a 64-bit count of 2^48 - 1
		return problemOf(bytes);
	};
	const room =
		/claims 281474976710655 (entries|bytes), and what follows has room for \d+: it is damaged/;
	const start = performance.now();
	assertMatch(await claims(8), /^the table of tensors claims/);
	assertMatch(await claims(16), /^the metadata claims/);
	assertMatch(await claims(24), /^the key of metadata entry 0 claims/);
	assertMatch(await claims(24 + 9 + 8), room); // the list's
	assertMatch(await claims(24 + 9 + 16), room); // the string's in it
	assert(performance.now() - start < 1000);
});

Deno.test("GgufFile.open() reads a header of many megabytes", async () => {
	const words = Array.from({ length: 400_000 }, (_, i) => `é${i}`);
	const long = "x".repeat(3 << 20);
	const metadata: Record<string, TypedValue> = {
		words: { kind: "string", value: words },
		long: { kind: "string", value: long },
	};
	await withOpen({ metadata, tensors: [tensor] }, (file) => {
		assertEquals(file.strings("words"), words);
		assertEquals(file.string("long") === long, true);
		assertEquals(file.read(file.tensor("a")), tensor.data);
	});
});

Deno.test("GgufFile.open() refuses a header that takes the file for its string", async () => {
	const bytes = ggufBytes({ metadata: { k: { kind: "string", value: "x" } }, tensors: [] });
	new DataView(bytes.buffer).setBigUint64(24 + 9 + 4, 1n << 30n, true);
	await withFile(bytes, async (path) => {
		Deno.truncateSync(path, 2 ** 31); // a hole: it takes no room on the disk
		await assertRejects(
			() => GgufFile.open(path),
			GgufError,
			'metadata key "k" claims 1073741824 bytes, and what follows has room for 67108',
		);
	});
});

Deno.test("GgufFile.open() refuses a header of more than 64 MiB", async () => {
	const bytes = ggufBytes({
		metadata: { k: { kind: "string", value: "" }, l: { kind: "uint8", value: 1 } },
		tensors: [],
	});
	const start = 24 + 9 + 4 + 8; // of the string, which is made to fill all that is allowed
	new DataView(bytes.buffer).setBigUint64(start - 8, BigInt((64 << 20) - start), true);
	await withFile(bytes, async (path) => {
		Deno.truncateSync(path, 128 << 20);
		await assertRejects(
			() => GgufFile.open(path),
			GgufError,
			"the key of metadata entry 1 ends 67108872 bytes into the file, the header may have 67108864",
		);
	});
});

Deno.test("GgufFile.open() gives a valid file or a GgufError for random damage", async () => {
	const seed = Math.floor(Math.random() * 2 ** 31);
	let state = seed;
	const random = (below: number) => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return Math.floor(state / 2 ** 32 * below);
	};
	const original = ggufBytes({ metadata, tensors: everyType });
	const path = await Deno.makeTempFile({ suffix: ".gguf" });
	let refused = 0;
	try {
		for (let i = 0; i < 3000; i++) {
			const bytes = original.slice();
			const header = i % 2 === 0 ? 600 : Math.min(bytes.length, 65536);
			for (let flips = 1 + random(4); flips > 0; flips--) {
				bytes[random(header)] = random(3) === 0 ? 0xff : random(256);
			}
			Deno.writeFileSync(path, bytes);
			const start = performance.now();
			try {
				using file = await GgufFile.open(path);
				for (const tensor of file.tensors.values()) file.read(tensor);
			} catch (error) {
				refused++;
				assert(error instanceof GgufError, `Seed ${seed}, case ${i}: ${error}`);
			}
			const ms = performance.now() - start;
			assert(ms < 1000, `Seed ${seed}, case ${i} took ${ms} ms`);
		}
	} finally {
		await Deno.remove(path);
	}
	assert(refused > 300 && refused < 3000, `Seed ${seed}: ${refused} of 3000 refused`);
});
