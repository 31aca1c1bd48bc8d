// PyTorch's own checkpoints, `.pt` and `.bin`: a zip archive of a pickle and the bytes of its tensors. No code in
// them is run.

import type { Device } from "../cuda/device.ts";
import type { FloatType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Checkpoint, entryOf, loadTensor, readBytes } from "./checkpoint.ts";
import { FileError } from "./file_error.ts";
import { openLocalFile, readAt } from "./local_file.ts";
import { PickledTensor, type PickleValue, readPickle } from "./pickle.ts";
import { SAFETENSORS_BYTES, type SafetensorsTensor } from "./safetensors_header.ts";
import type { Staging } from "./staging.ts";
import { fillFromStored } from "./stored_numbers.ts";
import { zipEntries } from "./zip.ts";

const MAX_PICKLE = 64 << 20; // bytes
/** Where training programs put the weights beside other things, and what PyTorch's compiler puts before names. */
const WEIGHTS = ["model", "state_dict", "model_state_dict"], COMPILED = "_orig_mod.";

/** What is wrong with a PyTorch checkpoint, or why it cannot be read. */
export class PyTorchError extends FileError {
	/** The class's name, for printing. */
	override name = "PyTorchError";
}

/** How to make a file that can be read. */
function howToConvert(path: string): string {
	return `; this makes a file that can be read: python -c 'import sys, torch, safetensors.torch as s; ` +
		`t = torch.load(sys.argv[1], weights_only=True); t = t.get("model", t); s.save_file({k: v.clone() ` +
		`for k, v in t.items()}, "model.safetensors")' ${JSON.stringify(path)}`;
}

/**
 * An open PyTorch checkpoint of tensors and plain data, such as nanoGPT's `ckpt.pt` or `pytorch_model.bin`, written by
 * PyTorch 1.6 or newer. Nothing of a tensor is in memory until it is asked for.
 *
 * @example Read nanoGPT's checkpoint
 * ```ts ignore
 * using checkpoint = await PyTorchCheckpoint.open("out/ckpt.pt");
 * console.log(checkpoint.values.get("model_args"));
 * using weight = checkpoint.load(device, "transformer.wte.weight");
 * ```
 */
export class PyTorchCheckpoint implements Checkpoint {
	/** The path it was opened by. */
	readonly path: string;
	/** The path, as the only file. */
	readonly files: readonly string[];
	/** The tensors by name: those at the top, or else those of `model` or `state_dict`. */
	readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
	/** What else is at the top, such as nanoGPT's `model_args`: dictionaries are maps, tuples are lists. */
	readonly values: ReadonlyMap<string, PickleValue>;
	#file: Deno.FsFile | undefined;

	private constructor(path: string, file: Deno.FsFile) {
		this.path = path;
		this.files = [path];
		const { size } = file.statSync();
		const read = (offset: number, bytes: number) => {
			const view = new DataView(new ArrayBuffer(bytes));
			if (readAt(file, offset, new Uint8Array(view.buffer)) < bytes) this.#fail("it is cut off");
			return view;
		};
		if (size < 22) this.#fail(`it has ${size} bytes, too few for a checkpoint`);
		if (read(0, 2).getUint16(0) !== 0x504b) { // "PK"
			this.#fail(
				`it is not of the kind that PyTorch writes since version 1.6${howToConvert(path)}`,
			);
		}
		const entries = zipEntries(size, read, (problem) => this.#fail(problem));
		const name = [...entries.keys()].find((name) => /^[^/]+\/data\.pkl$/.test(name));
		if (name === undefined) this.#fail("it is a zip archive without a checkpoint's data.pkl");
		const folder = name.slice(0, -"data.pkl".length);
		const order = entries.get(`${folder}byteorder`);
		if (order && (order.byteLength !== 6 || read(order.offset, 6).getUint8(0) !== 0x6c)) { // "little"
			this.#fail("its numbers are big-endian");
		}
		const pickle = entries.get(name)!;
		if (pickle.byteLength > MAX_PICKLE) {
			this.#fail(`its data.pkl has ${pickle.byteLength} bytes, at most ${MAX_PICKLE} are read`);
		}
		const root = readPickle(
			new Uint8Array(read(pickle.offset, pickle.byteLength).buffer),
			(problem) => this.#fail(problem + howToConvert(path)),
		);
		const { weights, values } = findWeights(root) ?? this.#fail("it holds no tensors by name");
		const tensors = new Map<string, SafetensorsTensor>();
		for (const [name, tensor] of weights) {
			const bytes = SAFETENSORS_BYTES[tensor.type],
				entry = entries.get(`${folder}data/${tensor.storage}`);
			const count = tensor.shape.reduce((product, extent) => product * extent, 1);
			const what = `tensor ${JSON.stringify(name.slice(0, 80))}`;
			let step = 1;
			const dense = tensor.shape.every((_, axis) => {
				const i = tensor.shape.length - 1 - axis, extent = tensor.shape[i]!;
				const fits = extent === 1 || count === 0 || tensor.strides[i] === step;
				step *= extent;
				return fits;
			});
			if (!dense) {
				this.#fail(`its ${what} is a view with gaps or in another order${howToConvert(path)}`);
			}
			if (!entry || entry.byteLength < tensor.storageLength * bytes) {
				this.#fail(`the data of its ${what} are missing or cut off`);
			}
			if (tensor.offset + count > tensor.storageLength) {
				this.#fail(`its ${what} reaches beyond its data`);
			}
			const { type, shape } = tensor, offset = entry.offset + tensor.offset * bytes;
			const known = name.startsWith(COMPILED) ? name.slice(COMPILED.length) : name;
			tensors.set(known, { name: known, type, shape, offset, byteLength: count * bytes });
		}
		this.tensors = tensors;
		this.values = values;
		this.#file = file;
	}

	/**
	 * Opens a checkpoint and checks where everything in it is.
	 *
	 * @throws {PyTorchError} if it cannot be read, does not hold up, or has more than tensors and plain data
	 */
	static async open(path: string): Promise<PyTorchCheckpoint> {
		const fail = (problem: string, cause?: unknown) => new PyTorchError(path, problem, { cause });
		const file = await openLocalFile(path, fail);
		try {
			return new PyTorchCheckpoint(path, file);
		} catch (error) {
			file.close();
			throw error;
		}
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
		return readBytes(this.#file, this.tensor(name), into, from, (problem) => this.error(problem));
	}

	/**
	 * A tensor on the device.
	 *
	 * @param dtype float32 is exact for floats of up to 32 bits; bfloat16 rounds to nearest even
	 */
	load<D extends FloatType = "float32">(
		device: Device,
		name: string,
		dtype: D = "float32" as D,
	): Tensor<D> {
		return loadTensor(this, device, name, dtype);
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

	/** Whether two tensors are the same bytes: see `Checkpoint`. */
	isTied(name: string, other: string): boolean {
		const a = this.tensor(name), b = this.tensor(other);
		return a.offset === b.offset && a.type === b.type && a.shape.join() === b.shape.join();
	}

	/** The error of a problem with this checkpoint. */
	error(problem: string): PyTorchError {
		return new PyTorchError(this.path, problem);
	}

	/** Closes the file. What was read of its beginning stays usable. */
	[Symbol.dispose](): void {
		this.#file?.close();
		this.#file = undefined;
	}

	#fail(problem: string): never {
		throw this.error(problem);
	}
}

/** The tensors by name, and what else there is. */
function findWeights(root: PickleValue) {
	if (!(root instanceof Map)) return undefined;
	const tensorsOf = (map: Map<PickleValue, PickleValue>) =>
		[...map].filter((entry): entry is [string, PickledTensor] =>
			typeof entry[0] === "string" && entry[1] instanceof PickledTensor
		);
	const values = new Map<string, PickleValue>();
	for (const [name, value] of root) {
		if (typeof name === "string" && !(value instanceof PickledTensor)) values.set(name, value);
	}
	for (const name of WEIGHTS) {
		const inner = values.get(name);
		if (!(inner instanceof Map) || tensorsOf(inner).length === 0) continue;
		values.delete(name);
		return { weights: tensorsOf(inner), values };
	}
	const weights = tensorsOf(root);
	return weights.length > 0 ? { weights, values } : undefined;
}
