// Writes small GGUF files for tests: any metadata, any tensors given as raw bytes. It does not check
// what it is given, so that tests can write damaged files with it.

/** The kinds of metadata values by GGUF's numbers for them. */
export const ggufKinds = {
	uint8: 0,
	int8: 1,
	uint16: 2,
	int16: 3,
	uint32: 4,
	int32: 5,
	float32: 6,
	bool: 7,
	string: 8,
	array: 9,
	uint64: 10,
	int64: 11,
	float64: 12,
} as const;

/** The name of a kind of metadata value that is not a list. */
export type GgufKind = Exclude<keyof typeof ggufKinds, "array">;

/** A metadata value with its kind; a list of values makes a list of that kind. */
export interface TypedValue {
	kind: GgufKind;
	value: number | bigint | boolean | string | readonly (number | bigint | boolean | string)[];
}

/** The numbers of the tensor types that are supported, and of one that is not. */
export const ggufTypes = {
	F32: 0,
	F16: 1,
	Q4_0: 2,
	Q4_1: 3,
	Q5_0: 6,
	Q5_1: 7,
	Q8_0: 8,
	Q2_K: 10,
	Q3_K: 11,
	Q4_K: 12,
	Q5_K: 13,
	Q6_K: 14,
	Q8_K: 15,
	IQ2_XXS: 16,
	IQ2_XS: 17,
	IQ3_XXS: 18,
	IQ1_S: 19,
	IQ4_NL: 20,
	IQ3_S: 21,
	IQ2_S: 22,
	IQ4_XS: 23,
	IQ1_M: 29,
	BF16: 30,
	TQ1_0: 34,
	TQ2_0: 35,
	MXFP4: 39,
	NVFP4: 40,
} as const;

/** A tensor to be written. */
export interface TensorToWrite {
	name: string;
	/** Row-major, outermost first, as `GgufTensor.shape`. */
	shape: readonly number[];
	type: keyof typeof ggufTypes;
	data: Uint8Array;
	/** Bytes from the start of the data; where the tensor before it ends, aligned, if left out. */
	offset?: number;
}

/** What a file consists of. */
export interface GgufContents {
	metadata: Readonly<Record<string, TypedValue>>;
	tensors: readonly TensorToWrite[];
	/** 3 if left out. */
	version?: number;
	/** 32 if left out; not written to the metadata. */
	alignment?: number;
}

/** Returns the bytes of a GGUF file. */
export function ggufBytes(contents: GgufContents): Uint8Array<ArrayBuffer> {
	const { metadata, tensors, version = 3, alignment = 32 } = contents;
	const header: number[] = [];
	const scratch = new DataView(new ArrayBuffer(8));
	const put = (bytes: number) => {
		for (let i = 0; i < bytes; i++) header.push(scratch.getUint8(i));
	};
	const u32 = (value: number) => (scratch.setUint32(0, value, true), put(4));
	const u64 = (value: number | bigint) => (scratch.setBigUint64(0, BigInt(value), true), put(8));
	const text = (value: string) => {
		const bytes = new TextEncoder().encode(value);
		u64(bytes.length);
		for (const byte of bytes) header.push(byte);
	};
	const single = (kind: GgufKind, value: number | bigint | boolean | string) => {
		if (kind === "string") return text(String(value));
		if (kind === "uint64" || kind === "int64") return u64(BigInt.asUintN(64, BigInt(value)));
		const n = Number(value);
		if (kind === "float32") return scratch.setFloat32(0, n, true), put(4);
		if (kind === "float64") return scratch.setFloat64(0, n, true), put(8);
		scratch.setInt32(0, n, true);
		put(kind.endsWith("32") ? 4 : kind.endsWith("16") ? 2 : 1);
	};

	for (const char of "GGUF") header.push(char.charCodeAt(0));
	u32(version);
	u64(tensors.length);
	u64(Object.keys(metadata).length);
	for (const [key, { kind, value }] of Object.entries(metadata)) {
		text(key);
		if (typeof value === "object") {
			u32(ggufKinds.array);
			u32(ggufKinds[kind]);
			u64(value.length);
			for (const entry of value) single(kind, entry);
		} else {
			u32(ggufKinds[kind]);
			single(kind, value);
		}
	}
	const align = (length: number) => Math.ceil(length / alignment) * alignment;
	let end = 0;
	const offsets: number[] = [];
	for (const { name, shape, type, data, offset = align(end) } of tensors) {
		text(name);
		u32(shape.length);
		for (const extent of shape.toReversed()) u64(extent);
		u32(ggufTypes[type]);
		u64(offset);
		offsets.push(offset);
		end = offset + data.length;
	}
	const start = align(header.length);
	const length = tensors.reduce((most, { data }, i) => Math.max(most, offsets[i] + data.length), 0);
	const bytes = new Uint8Array(start + length);
	bytes.set(header);
	tensors.forEach(({ data }, i) => bytes.set(data, start + offsets[i]));
	return bytes;
}

/** Writes a GGUF file to a path. */
export function writeGguf(path: string, contents: GgufContents): void {
	Deno.writeFileSync(path, ggufBytes(contents));
}

/** GPT-2's name for each byte, as its vocabularies have it. */
export function byteNames(): string[] {
	const names: string[] = [];
	for (let byte = 0, unnamed = 0; byte < 256; byte++) {
		const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
		names.push(String.fromCodePoint(printable ? byte : 0x100 + unnamed++));
	}
	return names;
}

/**
 * The metadata of a tiny byte-level vocabulary: one control token `<|end|>`, the 256 bytes, and the
 * given merges ("t h" and such) with the tokens they make.
 */
export function tinyVocabulary(
	merges: readonly string[] = ["t h", "th e", "Ġ the", "a n", "an d", "Ġ and", "i n"],
	pre = "gpt-2",
): Record<string, TypedValue> {
	const tokens = ["<|end|>", ...byteNames(), ...merges.map((merge) => merge.replace(" ", ""))];
	return {
		"tokenizer.ggml.model": { kind: "string", value: "gpt2" },
		"tokenizer.ggml.pre": { kind: "string", value: pre },
		"tokenizer.ggml.tokens": { kind: "string", value: tokens },
		"tokenizer.ggml.token_type": { kind: "int32", value: tokens.map((_, i) => i === 0 ? 3 : 1) },
		"tokenizer.ggml.merges": { kind: "string", value: merges },
		"tokenizer.ggml.eos_token_id": { kind: "uint32", value: 0 },
	};
}

/** The metadata of a WordPiece vocabulary, as BERT has it: control tokens, and pieces that are a letter or a digit. */
export function pieceVocabulary(count = 77): Record<string, TypedValue> {
	const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
	const letters = Array.from({ length: 36 }, (_, i) => i.toString(36));
	const tokens = [...special, ...letters.map((letter) => `\u2581${letter}`), ...letters];
	return {
		"tokenizer.ggml.model": { kind: "string", value: "bert" },
		"tokenizer.ggml.pre": { kind: "string", value: "default" },
		"tokenizer.ggml.tokens": { kind: "string", value: tokens.slice(0, count) },
		"tokenizer.ggml.token_type": {
			kind: "int32",
			value: tokens.slice(0, count).map((_, i) => i < special.length ? 3 : 1),
		},
		"tokenizer.ggml.token_type_count": { kind: "uint32", value: 2 },
		"tokenizer.ggml.unknown_token_id": { kind: "uint32", value: 1 },
		"tokenizer.ggml.seperator_token_id": { kind: "uint32", value: 3 },
		"tokenizer.ggml.padding_token_id": { kind: "uint32", value: 0 },
		"tokenizer.ggml.bos_token_id": { kind: "uint32", value: 2 },
		"tokenizer.ggml.mask_token_id": { kind: "uint32", value: 4 },
	};
}

/** The sizes of a llama-architecture model, as its metadata gives them. */
export interface LlamaSizes {
	layers: number;
	width: number;
	heads: number;
	keyValueHeads: number;
	hidden: number;
	vocabulary: number;
	context?: number;
	ropeBase?: number;
	epsilon?: number;
}

/** The metadata of a llama-architecture model, without its vocabulary. */
export function llamaMetadata(sizes: LlamaSizes): Record<string, TypedValue> {
	const u32 = (value: number): TypedValue => ({ kind: "uint32", value });
	const f32 = (value: number): TypedValue => ({ kind: "float32", value });
	return {
		"general.architecture": { kind: "string", value: "llama" },
		"general.name": { kind: "string", value: "tiny" },
		"llama.block_count": u32(sizes.layers),
		"llama.context_length": u32(sizes.context ?? 128),
		"llama.embedding_length": u32(sizes.width),
		"llama.feed_forward_length": u32(sizes.hidden),
		"llama.attention.head_count": u32(sizes.heads),
		"llama.attention.head_count_kv": u32(sizes.keyValueHeads),
		"llama.attention.layer_norm_rms_epsilon": f32(sizes.epsilon ?? 1e-5),
		"llama.rope.freq_base": f32(sizes.ropeBase ?? 10000),
		"llama.rope.dimension_count": u32(sizes.width / sizes.heads),
		"llama.vocab_size": u32(sizes.vocabulary),
	};
}
