// What models are read from: named tensors of numbers in files, whatever the format.

import type { Device } from "../cuda/device.ts";
import type { FloatType } from "../tensor/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";
import { readAt } from "./local_file.ts";
import type { Staging } from "./staging.ts";

/** A tensor in a checkpoint. */
export interface StoredTensor {
	/** Extents, outermost first. */
	readonly shape: readonly number[];
	/** How its numbers are stored, such as `"F16"` or `"Q4_K"`. */
	readonly type: string;
	/** Bytes in the file. */
	readonly byteLength: number;
}

/** An open checkpoint. Nothing of a tensor is in memory until it is asked for. */
export interface Checkpoint extends Disposable {
	/** The path it was opened by. */
	readonly path: string;
	/** Paths of the files that hold it. */
	readonly files: readonly string[];
	/** The tensors by name. */
	readonly tensors: ReadonlyMap<string, StoredTensor>;
	/** The tensor of that name; throws if there is none. */
	tensor(name: string): StoredTensor;
	/**
	 * Fills a contiguous tensor with the numbers of a stored one; bfloat16 is rounded to nearest even.
	 *
	 * @param into of as many elements
	 * @param staging page-locked memory that the bytes pass through, if given
	 */
	loadInto(into: Tensor<FloatType>, name: string, staging?: Staging): void;
	/**
	 * Fills a tensor with some rows of a stored matrix.
	 *
	 * @param into [rows.length, columns]
	 */
	loadRows(into: Tensor<FloatType, 2>, name: string, rows: readonly number[]): void;
	/** Whether two tensors are the same bytes of the file, as tied ones are in PyTorch's; not at all if left out. */
	isTied?(name: string, other: string): boolean;
	/** The error of a problem with this checkpoint. */
	error(problem: string): Error;
}

/** The entry of that name, or an error that says which there are. */
export function entryOf<T>(
	entries: ReadonlyMap<string, T>,
	name: string,
	error: (problem: string) => Error,
): T {
	const entry = entries.get(name);
	if (entry !== undefined) return entry;
	const some = [...entries.keys()].slice(0, 3).map((name) => `"${name}"`).join(", ");
	throw error(`it has no tensor "${name}" among its ${entries.size} (${some}${some && ", …"})`);
}

/** Fills `into` with a tensor's bytes from `from` on, as they are stored in a file, which is open if it is there. */
export function readBytes(
	file: Deno.FsFile | undefined,
	{ name, offset, byteLength }: { name: string; offset: number; byteLength: number },
	into: Uint8Array<ArrayBuffer> = new Uint8Array(byteLength),
	from: number,
	error: (problem: string) => Error,
): Uint8Array<ArrayBuffer> {
	if (from < 0 || from + into.length > byteLength) {
		throw new RangeError(
			`Cannot read ${into.length} bytes of tensor "${name}" from byte ${from} on: it has ${byteLength}`,
		);
	}
	if (!file) throw error("it was closed");
	const got = readAt(file, offset + from, into);
	if (got === into.length) return into;
	throw error(
		`it was cut off while open: tensor "${name}" has ${got + from} of ${byteLength} bytes`,
	);
}

/** A tensor of a checkpoint on the device. */
export function loadTensor<D extends FloatType>(
	checkpoint: Checkpoint,
	device: Device,
	name: string,
	dtype: D,
	staging?: Staging,
): Tensor<D> {
	const into = Tensor.empty<D, number>(device, dtype, checkpoint.tensor(name).shape);
	try {
		checkpoint.loadInto(into, name, staging);
		return into;
	} catch (error) {
		into.dispose();
		throw error;
	}
}
