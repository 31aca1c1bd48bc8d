// The table by which one launch of a kernel reaches all parameters: where each lies, with its gradient and its
// state (src/cuda/kernels/optimizer.cu has the struct).

import { type Device, keep, Tensor } from "../../tensor/mod.ts";

/** Elements of a chunk, as the kernels have it. */
const CHUNK = 16384;
/** Bytes of a row of the table. */
const ROW = 56;

/** Where a parameter's parts lie: device pointers, 0 for none. */
export interface TensorRow {
	/** The parameter. */
	parameter: number;
	/** Its gradient; without one it stays as it is. */
	gradient: number;
	/** State of the optimizer. */
	first?: number;
	/** More of it. */
	second?: number;
	/** Its weight decay. */
	decay?: number;
	/** What its update is multiplied by. */
	scale?: number;
}

/** The table of some tensors, on their device. */
export class TensorTable implements Disposable {
	/** How many pieces of work the tensors are cut into. */
	readonly chunks: number;
	readonly #device: Device;
	readonly #sizes: readonly number[];
	readonly #firstChunks: number[] = [];
	readonly #rows: Tensor<"uint8", 1>;
	readonly #chunkTensor: Tensor<"int32", 1>;

	/** Makes a table without contents of tensors of so many elements. */
	constructor(device: Device, sizes: readonly number[]) {
		this.#device = device;
		this.#sizes = sizes;
		const tensors: number[] = [];
		for (const [tensor, size] of sizes.entries()) {
			this.#firstChunks.push(tensors.length);
			for (let at = 0; at < size; at += CHUNK) tensors.push(tensor);
		}
		this.chunks = tensors.length;
		this.#rows = keep(Tensor.empty<"uint8", 1>(device, "uint8", [ROW * sizes.length]));
		this.#chunkTensor = keep(
			Tensor.from<"int32", 1>(device, "int32", [tensors.length], tensors),
		);
	}

	/** Says where the tensors lie now, in the order of the sizes. */
	fill(rows: readonly TensorRow[]): void {
		const bytes = new ArrayBuffer(ROW * rows.length), view = new DataView(bytes);
		for (const [i, row] of rows.entries()) {
			const words = [
				row.parameter,
				row.gradient,
				row.first ?? 0,
				row.second ?? 0,
				this.#sizes[i]!,
				this.#firstChunks[i]!,
			];
			words.forEach((word, at) => view.setBigUint64(ROW * i + 8 * at, BigInt(word), true));
			view.setFloat32(ROW * i + 48, row.decay ?? 0, true);
			view.setFloat32(ROW * i + 52, row.scale ?? 1, true);
		}
		this.#device.upload(this.#rows.pointer, new Uint8Array(bytes));
	}

	/** The arguments that each kernel begins with. */
	get arguments(): [tensors: number, chunkTensor: number, chunks: number] {
		return [this.#rows.pointer, this.#chunkTensor.pointer, this.chunks];
	}

	/** Launches a kernel of optimizer.cu with a block a chunk. */
	launch(kernel: string, ...args: number[]): void {
		if (this.chunks === 0) return;
		this.#device.kernel(kernel).overBlocks(this.chunks, ...this.arguments, ...args);
	}

	/** Frees it. */
	[Symbol.dispose](): void {
		this.#rows.dispose();
		this.#chunkTensor.dispose();
	}
}
