// GGUF files: the metadata, the table of tensors, and one tensor at a time, as bytes or as numbers on a device.

import type { FloatType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Checkpoint, entryOf, readBytes } from "./checkpoint.ts";
import { fillFromBlocks } from "./dequantize.ts";
import { GgufError, GgufHeader, type GgufTensor, type GgufValue } from "./gguf_header.ts";
import { openLocalFile } from "./local_file.ts";
import type { Staging } from "./staging.ts";

export {
	blockLayout,
	type BlockType,
	GgufError,
	type GgufTensor,
	type GgufValue,
} from "./gguf_header.ts";

/**
 * An open GGUF file (version 2 or 3, little-endian).
 *
 * @example Read one tensor's bytes
 * ```ts ignore
 * using file = await GgufFile.open("model.gguf");
 * const tensor = file.tensor("token_embd.weight"); // shape [vocabulary, width]
 * const bytes = file.read(tensor);
 * ```
 */
export class GgufFile implements Checkpoint {
	/** The path it was opened by. */
	readonly path: string;
	/** The path, as the only file. */
	readonly files: readonly string[];
	/** The metadata, by key. */
	readonly metadata: ReadonlyMap<string, GgufValue>;
	/** The tensors by name, in the order of the file's table. */
	readonly tensors: ReadonlyMap<string, GgufTensor>;
	#file: Deno.FsFile | undefined;

	private constructor(path: string, file: Deno.FsFile) {
		const header = new GgufHeader(path, file, file.statSync().size);
		this.path = path;
		this.files = [path];
		this.metadata = header.metadata;
		this.tensors = header.tensors;
		this.#file = file;
	}

	/**
	 * Opens a file and checks its whole header, without reading any tensor's data.
	 *
	 * @param path A local file; the only permission used is reading it.
	 * @throws {GgufError} If it cannot be opened, is not a GGUF file, or its header does not hold up.
	 */
	static async open(path: string): Promise<GgufFile> {
		const file = await openLocalFile(
			path,
			(problem, cause) => new GgufError(path, problem, { cause }),
		);
		try {
			return new GgufFile(path, file);
		} catch (error) {
			file.close();
			if (error instanceof GgufError) throw error;
			throw new GgufError(
				path,
				`reading failed: ${error instanceof Error ? error.message : error}`,
				{
					cause: error,
				},
			);
		}
	}

	/**
	 * Returns the tensor of that name.
	 *
	 * @throws {GgufError} If the file has none.
	 */
	tensor(name: string): GgufTensor {
		return entryOf(this.tensors, name, (problem) => this.error(problem));
	}

	/**
	 * Reads bytes of a tensor, as they are stored.
	 *
	 * @param tensor One of this file's.
	 * @param into Where to put them. A new array for all of them if left out.
	 * @param from Where in the tensor to begin.
	 * @returns `into`, filled.
	 * @throws {RangeError} If the tensor does not have as many.
	 * @throws {GgufError} If the file was closed or has become shorter since it was opened.
	 */
	read(
		tensor: GgufTensor,
		into?: Uint8Array<ArrayBuffer>,
		from = 0,
	): Uint8Array<ArrayBuffer> {
		return readBytes(this.#file, tensor, into, from, (problem) => this.error(problem));
	}

	/** Fills a contiguous tensor with the numbers of a stored one: see `Checkpoint`. */
	loadInto(into: Tensor<FloatType>, name: string, staging?: Staging): void {
		const tensor = this.tensor(name), rowBytes = this.#rowBytes(tensor);
		const read = (bytes: Uint8Array<ArrayBuffer>, row: number) =>
			this.read(tensor, bytes, row * rowBytes);
		fillFromBlocks(into, tensor.type, rowBytes, read, staging);
	}

	/** Fills a tensor with some rows of a stored matrix: see `Checkpoint`. */
	loadRows(into: Tensor<FloatType, 2>, name: string, rows: readonly number[]): void {
		const tensor = this.tensor(name), rowBytes = this.#rowBytes(tensor);
		fillFromBlocks(into, tensor.type, rowBytes, (bytes, first) => {
			for (let at = 0, i = first; at < bytes.length; at += rowBytes, i++) {
				this.read(tensor, bytes.subarray(at, at + rowBytes), rows[i]! * rowBytes);
			}
		});
	}

	#rowBytes({ byteLength, shape }: GgufTensor): number {
		return byteLength / shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
	}

	/** The error of a problem with this file. */
	error(problem: string): GgufError {
		return new GgufError(this.path, problem);
	}

	/** Returns a metadata number, or throws a `GgufError` if it is missing or not a number. */
	number(key: string): number {
		return this.#required(key, this.optionalNumber(key), "a number");
	}

	/** Returns a metadata number, or undefined if there is none; throws a `GgufError` if it is not a number. */
	optionalNumber(key: string): number | undefined {
		return this.#typed(key, "a number", (value): value is number => typeof value === "number");
	}

	/** Returns a metadata string, or throws a `GgufError` if it is missing or not a string. */
	string(key: string): string {
		return this.#required(key, this.optionalString(key), "a string");
	}

	/** Returns a metadata string, or undefined if there is none; throws a `GgufError` if it is not a string. */
	optionalString(key: string): string | undefined {
		return this.#typed(key, "a string", (value): value is string => typeof value === "string");
	}

	/** Returns a metadata boolean, or undefined if there is none; throws a `GgufError` if it is not a boolean. */
	optionalBoolean(key: string): boolean | undefined {
		return this.#typed(key, "a boolean", (value): value is boolean => typeof value === "boolean");
	}

	/** Returns a metadata list of strings, or throws a `GgufError` if it is missing or something else. */
	strings(key: string): string[] {
		return this.#required(
			key,
			this.#typed(key, "a list of strings", (value): value is string[] => isList(value, "string")),
			"a list of strings",
		);
	}

	/** Returns a metadata list of numbers, or throws a `GgufError` if it is missing or something else. */
	numbers(key: string): number[] {
		return this.#required(key, this.optionalNumbers(key), "a list of numbers");
	}

	/** Returns a metadata list of numbers, or undefined if there is none; throws a `GgufError` if it is something else. */
	optionalNumbers(key: string): number[] | undefined {
		return this.#typed(
			key,
			"a list of numbers",
			(value): value is number[] => isList(value, "number"),
		);
	}

	/** Closes the file. The metadata and the table of tensors stay usable. */
	[Symbol.dispose](): void {
		this.#file?.close();
		this.#file = undefined;
	}

	#typed<T extends GgufValue>(
		key: string,
		wanted: string,
		is: (value: GgufValue) => value is T,
	): T | undefined {
		const value = this.metadata.get(key);
		if (value === undefined || is(value)) return value;
		const found = Array.isArray(value)
			? `a list of ${value.length} ${typeof value[0]}s`
			: `the ${typeof value} ${JSON.stringify(String(value).slice(0, 40))}`;
		throw new GgufError(this.path, `metadata key "${key}" must be ${wanted} and is ${found}`);
	}

	#required<T>(key: string, value: T | undefined, wanted: string): T {
		if (value !== undefined) return value;
		throw new GgufError(this.path, `metadata key "${key}" is missing: ${wanted} is needed`);
	}
}

// Lists are of one kind throughout, but for bigints among numbers: so those are looked for.
function isList(value: GgufValue, kind: "string" | "number"): boolean {
	return Array.isArray(value) &&
		(kind === "string" ? typeof (value[0] ?? "") === kind : value.every((v) => typeof v === kind));
}
