// The header of a GGUF file: metadata and the table of tensors. Everything it claims is checked against
// the file before any data is read, so that a damaged or hostile file gives one clear `GgufError` and
// never a hang or a huge allocation.

import { FileError } from "./file_error.ts";
import { readAt } from "./local_file.ts";

/** How the numbers of a tensor are stored: plain, or in blocks that share a scale. */
export type BlockType =
	| "F32"
	| "F16"
	| "BF16"
	| "Q4_0"
	| "Q4_1"
	| "Q5_0"
	| "Q5_1"
	| "Q8_0"
	| "Q2_K"
	| "Q3_K"
	| "Q4_K"
	| "Q5_K"
	| "Q6_K"
	| "Q8_K"
	| "IQ1_S"
	| "IQ1_M"
	| "IQ2_XXS"
	| "IQ2_XS"
	| "IQ2_S"
	| "IQ3_XXS"
	| "IQ3_S"
	| "IQ4_NL"
	| "IQ4_XS"
	| "TQ1_0"
	| "TQ2_0"
	| "MXFP4";

/** The elements and the bytes of one block of each supported type. */
export const blockLayout: Readonly<Record<BlockType, { elements: number; bytes: number }>> = {
	F32: { elements: 1, bytes: 4 },
	F16: { elements: 1, bytes: 2 },
	BF16: { elements: 1, bytes: 2 },
	Q4_0: { elements: 32, bytes: 18 },
	Q4_1: { elements: 32, bytes: 20 },
	Q5_0: { elements: 32, bytes: 22 },
	Q5_1: { elements: 32, bytes: 24 },
	Q8_0: { elements: 32, bytes: 34 },
	Q2_K: { elements: 256, bytes: 84 },
	Q3_K: { elements: 256, bytes: 110 },
	Q4_K: { elements: 256, bytes: 144 },
	Q5_K: { elements: 256, bytes: 176 },
	Q6_K: { elements: 256, bytes: 210 },
	Q8_K: { elements: 256, bytes: 292 },
	IQ1_S: { elements: 256, bytes: 50 },
	IQ1_M: { elements: 256, bytes: 56 },
	IQ2_XXS: { elements: 256, bytes: 66 },
	IQ2_XS: { elements: 256, bytes: 74 },
	IQ2_S: { elements: 256, bytes: 82 },
	IQ3_XXS: { elements: 256, bytes: 98 },
	IQ3_S: { elements: 256, bytes: 110 },
	IQ4_NL: { elements: 32, bytes: 18 },
	IQ4_XS: { elements: 256, bytes: 136 },
	TQ1_0: { elements: 256, bytes: 54 },
	TQ2_0: { elements: 256, bytes: 66 },
	MXFP4: { elements: 32, bytes: 17 },
};

/** A tensor of a GGUF file: what it is and where its bytes are. */
export interface GgufTensor {
	/** Its name in the file, such as `blk.0.ffn_down.weight`. */
	name: string;
	/** Row-major, outermost first: `[out, in]` for a linear weight (GGUF writes it reversed). */
	shape: number[];
	/** How its numbers are stored. */
	type: BlockType;
	/** Bytes from the start of the file. */
	offset: number;
	/** Its length in bytes. */
	byteLength: number;
}

/** A value of a GGUF file's metadata. Only a 64-bit integer too large for a number is a bigint. */
export type GgufValue = number | bigint | boolean | string | (number | bigint | boolean | string)[];

/** What is wrong with a GGUF file, or why it cannot be read. */
export class GgufError extends FileError {
	/** The class's name, for printing. */
	override name = "GgufError";
}

// The numbers that GGUF gives to tensor types, by index; gaps are types that were withdrawn.
const tensorTypes =
	("F32 F16 Q4_0 Q4_1 Q4_2 Q4_3 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K " +
		"IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16 " +
		"Q4_0_4_4 Q4_0_4_8 Q4_0_8_8 TQ1_0 TQ2_0 IQ4_NL_4_4 IQ4_NL_4_8 IQ4_NL_8_8 MXFP4 NVFP4 Q1_0")
		.split(" ");

// The bytes of each kind of metadata value by GGUF's number for it; 0: of no fixed size.
const valueBytes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const STRING = 8, ARRAY = 9;

const MAX_HEADER_BYTES = 64 << 20; // four times the largest known: a vocabulary of 262,144 with merges
const MAX_DIMENSIONS = 4;
const MIN_STRING_BYTES = 8, MIN_PAIR_BYTES = 13, MIN_TENSOR_BYTES = 32;

/** The parser: goes through the header once, reading more of the file as it needs it. */
export class GgufHeader {
	/** The metadata by key. */
	readonly metadata = new Map<string, GgufValue>();
	/** The tensors by name. */
	readonly tensors = new Map<string, GgufTensor>();
	#path: string;
	#file: Deno.FsFile;
	#size: number;
	#bytes = new Uint8Array(0);
	#view = new DataView(this.#bytes.buffer);
	#at = 0;
	#utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

	/** Parses the header of an open file of `size` bytes. */
	constructor(path: string, file: Deno.FsFile, size: number) {
		this.#path = path;
		this.#file = file;
		this.#size = size;
		const { tensorCount, pairCount } = this.#preamble();
		for (let i = 0; i < pairCount; i++) this.#pair(i);
		this.#tensorTable(tensorCount);
	}

	#fail(problem: string): never {
		throw new GgufError(this.#path, problem);
	}

	// Makes sure that `count` more bytes are in memory. Called before every read.
	#need(count: number, what: string): void {
		const end = this.#at + count;
		if (end <= this.#bytes.length) return;
		if (end > this.#size) {
			this.#fail(`it is cut off in ${what}: ${end} bytes are needed, the file has ${this.#size}`);
		}
		if (end > MAX_HEADER_BYTES) {
			this.#fail(
				`${what} ends ${end} bytes into the file, the header may have ${MAX_HEADER_BYTES} at most`,
			);
		}
		const bytes = new Uint8Array(
			Math.min(this.#size, MAX_HEADER_BYTES, Math.max(end, 2 << 20, this.#bytes.length * 2)),
		);
		const got = readAt(this.#file, 0, bytes);
		if (got < bytes.length) this.#fail(`only ${got} of its ${this.#size} bytes can be read`);
		this.#bytes = bytes;
		this.#view = new DataView(bytes.buffer);
	}

	#u32(what: string): number {
		this.#need(4, what);
		this.#at += 4;
		return this.#view.getUint32(this.#at - 4, true);
	}

	// As a double: exact up to 2^53, and what is above fails its check all the same.
	#u64(what: string): number {
		this.#need(8, what);
		this.#at += 8;
		return this.#view.getUint32(this.#at - 4, true) * 2 ** 32 +
			this.#view.getUint32(this.#at - 8, true);
	}

	// A count of things that take at least `bytes` each: they must fit in what is left of the file.
	#count(bytes: number, what: string, unit = "entries"): number {
		const count = this.#u64(what);
		const room = Math.min(this.#size, MAX_HEADER_BYTES) - this.#at;
		if (count * bytes > room) {
			this.#fail(
				`${what} claims ${count} ${unit}, and what follows has room for ${
					Math.floor(room / bytes)
				}: it is damaged or cut off`,
			);
		}
		return count;
	}

	#string(what: string): string {
		const length = this.#count(1, what, "bytes");
		this.#need(length, what);
		const bytes = this.#bytes, start = this.#at, end = this.#at += length;
		if (length < 24) {
			// Most strings are short tokens: this is several times faster than a call of the decoder.
			let text = "";
			for (let i = start; i < end; i++) {
				const byte = bytes[i];
				if (byte < 0x80) text += String.fromCharCode(byte);
				else if (byte >= 0xc2 && byte < 0xe0 && i + 1 < end && (bytes[i + 1] & 0xc0) === 0x80) {
					text += String.fromCharCode((byte & 0x1f) << 6 | bytes[++i] & 0x3f);
				} else return this.#decode(start, end, what);
			}
			return text;
		}
		return this.#decode(start, end, what);
	}

	#decode(start: number, end: number, what: string): string {
		try {
			return this.#utf8.decode(this.#bytes.subarray(start, end));
		} catch {
			this.#fail(`${what}, ${end - start} bytes at byte ${start}, is not valid UTF-8`);
		}
	}

	#preamble(): { tensorCount: number; pairCount: number } {
		const magic = this.#size < 4 ? 0 : this.#u32("the magic number");
		if (magic !== 0x46554747) { // "GGUF"
			this.#fail(
				`it is not a GGUF file: it must begin with "GGUF" and ` +
					(this.#size < 4
						? `has ${this.#size} bytes`
						: `begins with the bytes ${
							Array.from(this.#bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0"))
								.join(" ")
						}`),
			);
		}
		const version = this.#u32("the version");
		if (version > 0 && version % 65536 === 0) {
			this.#fail("it is big-endian: only little-endian GGUF files are supported");
		}
		if (version !== 2 && version !== 3) {
			this.#fail(`it is of GGUF version ${version}: versions 2 and 3 are supported`);
		}
		const tensorCount = this.#count(MIN_TENSOR_BYTES, "the table of tensors");
		return { tensorCount, pairCount: this.#count(MIN_PAIR_BYTES, "the metadata") };
	}

	#pair(index: number): void {
		const key = this.#string(`the key of metadata entry ${index}`);
		const what = `metadata key "${key.length > 80 ? key.slice(0, 80) + "…" : key}"`;
		if (this.metadata.has(key)) this.#fail(`${what} appears twice`);
		const type = this.#u32(what);
		this.metadata.set(key, type === ARRAY ? this.#array(what) : this.#value(type, what));
	}

	#array(what: string): (number | bigint | boolean | string)[] {
		const type = this.#u32(what);
		if (type === ARRAY) this.#fail(`${what} is a list of lists, which is not supported`);
		const bytes = valueBytes[type];
		if (bytes === undefined) this.#fail(`${what} is a list of unknown kind ${type}`);
		const count = this.#count(bytes || MIN_STRING_BYTES, what);
		const values = [];
		for (let i = 0; i < count; i++) values.push(this.#value(type, what));
		return values;
	}

	#value(type: number, what: string): number | bigint | boolean | string {
		if (type === STRING) return this.#string(what);
		const bytes = valueBytes[type];
		if (!bytes) this.#fail(`${what} is of unknown kind ${type}`);
		this.#need(bytes, what);
		const at = this.#at, view = this.#view;
		this.#at += bytes;
		switch (type) {
			case 0:
				return view.getUint8(at);
			case 1:
				return view.getInt8(at);
			case 2:
				return view.getUint16(at, true);
			case 3:
				return view.getInt16(at, true);
			case 4:
				return view.getUint32(at, true);
			case 5:
				return view.getInt32(at, true);
			case 6:
				return view.getFloat32(at, true);
			case 7:
				if (view.getUint8(at) > 1) {
					this.#fail(`${what} must be 0 or 1, as a boolean, and is ${view.getUint8(at)}`);
				}
				return view.getUint8(at) === 1;
			case 12:
				return view.getFloat64(at, true);
			default: {
				const value = type === 10 ? view.getBigUint64(at, true) : view.getBigInt64(at, true);
				return Number.isSafeInteger(Number(value)) ? Number(value) : value;
			}
		}
	}

	#tensorTable(count: number): void {
		const alignment = this.metadata.get("general.alignment") ?? 32;
		if (
			typeof alignment !== "number" || !Number.isInteger(Math.log2(alignment)) ||
			alignment > 2 ** 31
		) {
			this.#fail(
				`metadata key "general.alignment" must be a power of two and is ${String(alignment)}`,
			);
		}
		for (let i = 0; i < count; i++) {
			const tensor = this.#tensor(i, alignment);
			if (this.tensors.has(tensor.name)) this.#fail(`tensor "${tensor.name}" appears twice`);
			this.tensors.set(tensor.name, tensor);
		}
		const start = Math.ceil(this.#at / alignment) * alignment;
		let previous: GgufTensor | undefined;
		for (const tensor of this.tensors.values()) tensor.offset += start;
		for (const tensor of [...this.tensors.values()].sort((a, b) => a.offset - b.offset)) {
			const end = tensor.offset + tensor.byteLength;
			if (end > this.#size) {
				this.#fail(
					`it is cut off: the data of tensor "${tensor.name}" ends at byte ${end}, the file has ` +
						`${this.#size}`,
				);
			}
			if (previous && previous.offset + previous.byteLength > tensor.offset) {
				this.#fail(
					`the data of tensors "${previous.name}" and "${tensor.name}" overlap at byte ${tensor.offset}`,
				);
			}
			previous = tensor;
		}
	}

	// One entry of the table. Its offset is still relative to the start of the data.
	#tensor(index: number, alignment: number): GgufTensor {
		const name = this.#string(`the name of tensor ${index}`);
		const what = `tensor "${name.length > 80 ? name.slice(0, 80) + "…" : name}"`;
		const dimensions = this.#u32(what);
		if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
			this.#fail(`${what} must have 1 to ${MAX_DIMENSIONS} dimensions and has ${dimensions}`);
		}
		const shape: number[] = [];
		for (let i = 0; i < dimensions; i++) shape.unshift(this.#u64(what));
		const code = this.#u32(what);
		const offset = this.#u64(what);

		const type = tensorTypes[code] as BlockType;
		if (!Object.hasOwn(blockLayout, type ?? "")) {
			this.#fail(
				`${what} is of type ${type ?? code}, which is not supported: supported are ` +
					Object.keys(blockLayout).join(", "),
			);
		}
		const { elements, bytes } = blockLayout[type];
		const total = shape.reduce((product, extent) => product * extent, 1);
		const byteLength = total / elements * bytes;
		if (shape.includes(0) || byteLength > this.#size) {
			this.#fail(
				`${what} has the shape [${
					shape.join(", ")
				}] in ${type}, ${byteLength} bytes: at least 1 and ` +
					`at most the file's ${this.#size} are possible`,
			);
		}
		if (shape[dimensions - 1] % elements !== 0) {
			this.#fail(
				`${what} has rows of ${shape[dimensions - 1]} elements: in ${type} it must be a multiple ` +
					`of ${elements}`,
			);
		}
		if (offset % alignment !== 0) {
			this.#fail(
				`${what} is at offset ${offset}, which is not a multiple of the alignment ${alignment}`,
			);
		}
		if (offset > this.#size) {
			this.#fail(
				`it is cut off: ${what} is at offset ${offset} of the data, the file has ${this.#size} bytes`,
			);
		}
		return { name, shape, type, offset, byteLength };
	}
}
