// Safetensors: checkpoints of one file or of several with an index, read one tensor at a time and written whole.

import type { Device } from "../cuda/device.ts";
import type { DType, FloatType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Checkpoint, entryOf, loadTensor, readBytes } from "./checkpoint.ts";
import { openLocalFile, readAt, readJsonFile, writeAll, writeWhole } from "./local_file.ts";
import {
	MAX_HEADER_BYTES,
	parseSafetensorsHeader,
	SafetensorsError,
	type SafetensorsTensor,
	type SafetensorsType,
} from "./safetensors_header.ts";
import type { Staging } from "./staging.ts";
import { fillFromStored } from "./stored_numbers.ts";

export { SafetensorsError, type SafetensorsTensor, type SafetensorsType };

/** An open file with its tensors. */
interface Shard {
	path: string;
	file: Deno.FsFile;
	tensors: ReadonlyMap<string, SafetensorsTensor>;
	metadata: ReadonlyMap<string, string>;
}

async function openShard(path: string): Promise<Shard> {
	const fail = (problem: string, cause?: unknown) => new SafetensorsError(path, problem, { cause });
	const file = await openLocalFile(path, fail);
	try {
		const { size } = file.statSync();
		const head = new Uint8Array(8);
		if (readAt(file, 0, head) < 8) {
			throw fail(`it has ${size} bytes, too few for a safetensors file`);
		}
		const bytes = Number(new DataView(head.buffer).getBigUint64(0, true));
		if (bytes > Math.min(MAX_HEADER_BYTES, size - 8)) {
			throw fail(
				`it is no safetensors file, or was cut off: it announces a header of ${bytes} bytes and has ${size}`,
			);
		}
		const header = new Uint8Array(bytes);
		if (readAt(file, 8, header) < bytes) throw fail("its header cannot be read");
		const text = new TextDecoder().decode(header);
		return { path, file, ...parseSafetensorsHeader(path, text, 8 + bytes, size) };
	} catch (error) {
		file.close();
		throw error;
	}
}

/** The names of the files that an index distributes its tensors over, and where it puts each tensor. */
export async function readIndex(path: string): Promise<Map<string, string>> {
	const fail = (problem: string, cause?: unknown) => new SafetensorsError(path, problem, { cause });
	const index = await readJsonFile(path, MAX_HEADER_BYTES, fail);
	const map = (index as { weight_map?: unknown } | null)?.weight_map;
	if (typeof map !== "object" || map === null) {
		throw new SafetensorsError(path, "it has no weight_map, which says where each tensor is");
	}
	for (const [name, file] of Object.entries(map)) {
		if (typeof file !== "string" || /[/\\]|^\.\.?$/.test(file)) {
			throw new SafetensorsError(
				path,
				`it puts "${name}" into ${JSON.stringify(file)}, no file beside it`,
			);
		}
	}
	return new Map(Object.entries(map));
}

/**
 * An open checkpoint: a `.safetensors` file, an index with the files that it names, or a folder that holds either.
 * Nothing of a tensor is in memory until it is asked for.
 *
 * @example Read one tensor
 * ```ts ignore
 * using checkpoint = await Safetensors.open("models/gpt2");
 * using weight = checkpoint.load(device, "wte.weight");
 * ```
 */
export class Safetensors implements Checkpoint {
	/** The path it was opened by. */
	readonly path: string;
	/** Paths of its files. */
	readonly files: readonly string[];
	/** The tensors by name, in the order of the files. */
	readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
	/** Texts that the file's maker added; of several files, the first one's. */
	readonly metadata: ReadonlyMap<string, string>;
	readonly #shardOf = new Map<string, Shard>();
	#shards: Shard[];

	private constructor(path: string, shards: Shard[]) {
		this.path = path;
		this.files = shards.map(({ path }) => path);
		this.#shards = shards;
		const tensors = new Map<string, SafetensorsTensor>();
		for (const shard of shards) {
			for (const [name, tensor] of shard.tensors) {
				const before = this.#shardOf.get(name);
				if (before) {
					throw new SafetensorsError(shard.path, `its tensor "${name}" is in "${before.path}" too`);
				}
				this.#shardOf.set(name, shard);
				tensors.set(name, tensor);
			}
		}
		this.tensors = tensors;
		this.metadata = shards[0]?.metadata ?? new Map();
	}

	/**
	 * Opens a checkpoint and checks all its headers.
	 *
	 * @param path a file `*.safetensors`, an index `*.safetensors.index.json`, or a folder with
	 * `model.safetensors` or `model.safetensors.index.json`
	 * @throws {SafetensorsError} if something is missing or does not hold up
	 */
	static async open(path: string): Promise<Safetensors> {
		const index = await Safetensors.#find(path);
		if (!index.endsWith(".index.json")) return new Safetensors(path, [await openShard(index)]);
		const places = await readIndex(index), folder = index.slice(0, index.lastIndexOf("/") + 1);
		const shards: Shard[] = [];
		try {
			for (const name of new Set(places.values())) shards.push(await openShard(folder + name));
			for (const [name, file] of places) {
				if (!shards.find(({ path }) => path === folder + file)!.tensors.has(name)) {
					throw new SafetensorsError(
						index,
						`it puts "${name}" into ${file}, which does not have it`,
					);
				}
			}
			return new Safetensors(path, shards);
		} catch (error) {
			for (const { file } of shards) file.close();
			throw error;
		}
	}

	static async #find(path: string): Promise<string> {
		const isFolder = await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
		if (!isFolder) return path;
		for (const name of ["model.safetensors", "model.safetensors.index.json"]) {
			const found = await Deno.stat(`${path}/${name}`).then(() => true, () => false);
			if (found) return `${path}/${name}`;
		}
		throw new SafetensorsError(
			path,
			"the folder has neither model.safetensors nor model.safetensors.index.json",
		);
	}

	/** The tensor of that name; throws if there is none. */
	tensor(name: string): SafetensorsTensor {
		return entryOf(this.tensors, name, (problem) => this.error(problem));
	}

	/**
	 * Bytes of a tensor, as they are stored.
	 *
	 * @param into where to put them; a new array for all of them if left out
	 * @param from where in the tensor to begin
	 */
	read(name: string, into?: Uint8Array<ArrayBuffer>, from = 0): Uint8Array<ArrayBuffer> {
		const tensor = this.tensor(name), { file, path } = this.#shardOf.get(name)!;
		const open = this.#shards.length > 0 ? file : undefined;
		return readBytes(open, tensor, into, from, (problem) => new SafetensorsError(path, problem));
	}

	/**
	 * A tensor on the device.
	 *
	 * @param dtype float32 is exact for floats of up to 32 bits; bfloat16 rounds to nearest even
	 * @param staging page-locked memory that the bytes pass through, if given
	 */
	load<D extends FloatType = "float32">(
		device: Device,
		name: string,
		dtype: D = "float32" as D,
		staging?: Staging,
	): Tensor<D> {
		return loadTensor(this, device, name, dtype, staging);
	}

	/** Fills a contiguous tensor with the numbers of a stored one: see `Checkpoint`. */
	loadInto(into: Tensor<FloatType>, name: string, staging?: Staging): void {
		const read = (bytes: Uint8Array<ArrayBuffer>, from: number) => this.read(name, bytes, from);
		fillFromStored(into, this.tensor(name), read, { staging });
	}

	/** Fills a tensor with some rows of a stored matrix: see `Checkpoint`. */
	loadRows(into: Tensor<FloatType, 2>, name: string, rows: readonly number[]): void {
		const read = (bytes: Uint8Array<ArrayBuffer>, from: number) => this.read(name, bytes, from);
		fillFromStored(into, this.tensor(name), read, { rowAt: (i) => rows[i]! });
	}

	/** The error of a problem with this checkpoint. */
	error(problem: string): SafetensorsError {
		return new SafetensorsError(this.path, problem);
	}

	/** Closes the files. What was read of the headers stays usable. */
	[Symbol.dispose](): void {
		for (const { file } of this.#shards) file.close();
		this.#shards = [];
	}
}

const STORED: Record<DType, SafetensorsType> = {
	float64: "F64",
	float32: "F32",
	bfloat16: "BF16",
	int32: "I32",
	uint32: "U32",
	uint8: "U8",
};

/**
 * Writes tensors to a `.safetensors` file, one after the other through this process's memory. The file appears
 * whole or not at all.
 *
 * @param tensors by the names they get
 * @param metadata texts to add; `format: "pt"`, which `transformers` asks for, is among them
 * @throws {SafetensorsError} if the file cannot be written
 *
 * @example
 * ```ts ignore
 * await saveSafetensors("model.safetensors", { "lm_head.weight": weight });
 * ```
 */
export async function saveSafetensors(
	path: string,
	tensors: Readonly<Record<string, Tensor>>,
	metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
	const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
	let end = 0;
	for (const [name, tensor] of Object.entries(tensors)) {
		if (name === "__metadata__") throw new RangeError(`Cannot save a tensor by the name "${name}"`);
		const begin = end;
		end += tensor.byteLength;
		header[name] = { dtype: STORED[tensor.dtype], shape: tensor.shape, data_offsets: [begin, end] };
	}
	const text = JSON.stringify(header);
	const bytes = new TextEncoder().encode(text);
	const padded = new Uint8Array(Math.ceil(bytes.length / 8) * 8).fill(0x20);
	padded.set(bytes);
	const size = new Uint8Array(8);
	new DataView(size.buffer).setBigUint64(0, BigInt(padded.length), true);
	try {
		await writeWhole(path, async (file) => {
			await writeAll(file, size);
			await writeAll(file, padded);
			for (const tensor of Object.values(tensors)) {
				const data = await tensor.data();
				await writeAll(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
			}
		});
	} catch (cause) {
		throw new SafetensorsError(
			path,
			`it cannot be written: ${cause instanceof Error ? cause.message : cause}`,
			{ cause },
		);
	}
}
