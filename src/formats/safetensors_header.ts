// The header of a safetensors file: names, dtypes, shapes and places of its tensors. Everything it claims is
// checked against the file before any data is read. Format: https://huggingface.co/docs/safetensors

import { FileError } from "./file_error.ts";

/** Bytes of an element. */
export const SAFETENSORS_BYTES: Record<SafetensorsType, number> = {
	F64: 8,
	F32: 4,
	F16: 2,
	BF16: 2,
	I64: 8,
	I32: 4,
	I16: 2,
	I8: 1,
	U64: 8,
	U32: 4,
	U16: 2,
	U8: 1,
	BOOL: 1,
	F8_E4M3: 1,
	F8_E5M2: 1,
};

/** Element type of a tensor in a safetensors file. */
export type SafetensorsType =
	| "F64"
	| "F32"
	| "F16"
	| "BF16"
	| "I64"
	| "I32"
	| "I16"
	| "I8"
	| "U64"
	| "U32"
	| "U16"
	| "U8"
	| "BOOL"
	| "F8_E4M3"
	| "F8_E5M2";

/** A tensor of a safetensors file: what it is and where its bytes are. */
export interface SafetensorsTensor {
	/** Its name in the file, such as `model.layers.0.mlp.down_proj.weight`. */
	name: string;
	/** Element type. */
	type: SafetensorsType;
	/** Extents, outermost first. */
	shape: number[];
	/** Bytes from the start of the file. */
	offset: number;
	/** Its length in bytes. */
	byteLength: number;
}

/** What is wrong with a safetensors file, or why it cannot be read or written. */
export class SafetensorsError extends FileError {
	/** The class's name, for printing. */
	override name = "SafetensorsError";
}

/** A header that was read and checked. */
export interface SafetensorsHeader {
	/** The tensors by name, in the order of their data. */
	tensors: Map<string, SafetensorsTensor>;
	/** Texts that the file's maker added. */
	metadata: Map<string, string>;
}

/** The most that the format allows. */
export const MAX_HEADER_BYTES = 100_000_000;

const isObject = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number =>
	Number.isSafeInteger(value) && value as number >= 0;
/** A name from a file, as an error quotes it. */
const quoted = (text: string) => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

/**
 * Reads a header.
 *
 * @param path for errors
 * @param text its JSON
 * @param dataBegin where the data begins in the file
 * @param fileSize bytes of the file
 * @throws {SafetensorsError} if it does not hold up
 */
export function parseSafetensorsHeader(
	path: string,
	text: string,
	dataBegin: number,
	fileSize: number,
): SafetensorsHeader {
	const fail = (problem: string, cause?: unknown): never => {
		throw new SafetensorsError(path, `${problem}; the file is damaged`, { cause });
	};
	let header: unknown;
	try {
		header = JSON.parse(text);
	} catch (cause) {
		fail("its header is not JSON", cause);
	}
	if (!isObject(header)) return fail("its header is not an object");
	const { __metadata__: texts = {}, ...entries } = header;
	if (!isObject(texts) || !Object.values(texts).every((value) => typeof value === "string")) {
		return fail("its metadata are not texts");
	}
	const tensors = Object.entries(entries).map(([name, entry]): SafetensorsTensor => {
		const what = `tensor ${quoted(name)}`;
		if (!isObject(entry)) return fail(`${what} is not described by an object`);
		const { dtype, shape, data_offsets: offsets } = entry;
		if (typeof dtype !== "string" || !Object.hasOwn(SAFETENSORS_BYTES, dtype)) {
			throw new SafetensorsError(
				path,
				`${what} has the dtype ${quoted(String(dtype))}, which is none of ` +
					Object.keys(SAFETENSORS_BYTES).join(", "),
			);
		}
		const type = dtype as SafetensorsType;
		if (!Array.isArray(shape) || !shape.every(isCount)) return fail(`${what} has no shape`);
		if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
			return fail(`${what} has no data_offsets`);
		}
		const [begin, end] = offsets as [number, number];
		const bytes = shape.reduce((product, extent) => product * extent, SAFETENSORS_BYTES[type]);
		if (end - begin !== bytes) {
			return fail(`${what} of ${type} [${shape}] needs ${bytes} bytes and is given ${end - begin}`);
		}
		return { name, type, shape, offset: dataBegin + begin, byteLength: bytes };
	});
	tensors.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
	let at = dataBegin;
	for (const { name, offset, byteLength } of tensors) {
		if (offset !== at) {
			return fail(`tensor ${quoted(name)} begins at byte ${offset}, where ${at} was expected`);
		}
		at += byteLength;
	}
	if (at !== fileSize) {
		return fail(
			at > fileSize
				? `its tensors need ${at} bytes and it has ${fileSize}: it was cut off`
				: `${fileSize - at} bytes follow its last tensor`,
		);
	}
	return {
		tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
		metadata: new Map(Object.entries(texts as Record<string, string>)),
	};
}
