// Page-locked memory that data passes through on its way from a file to the device, piece by piece.

import type { Device } from "../cuda/device.ts";
import type { Event } from "../cuda/event.ts";
import { PinnedMemory } from "../cuda/pinned_memory.ts";

/** Two pieces of page-locked memory: one is filled while the device still copies from the other. */
export class Staging implements Disposable {
	/** Bytes of a piece. */
	readonly pieceBytes: number;
	readonly #device: Device;
	readonly #pieces: { memory: PinnedMemory; copied: Event | null }[];
	#current = 0;

	/**
	 * Allocates both pieces.
	 *
	 * @param pieceBytes how much goes at a time
	 */
	constructor(device: Device, pieceBytes: number) {
		this.#device = device;
		this.pieceBytes = pieceBytes;
		using stack = new DisposableStack(); // frees the first if there is no memory for the second
		this.#pieces = [0, 1].map(() => ({
			memory: stack.use(new PinnedMemory(device, pieceBytes)),
			copied: null,
		}));
		stack.move();
	}

	/**
	 * Queues an upload on the current stream.
	 *
	 * @param pointer where to, on the device
	 * @param bytes how many, at most a piece
	 * @param read fills the memory it is given
	 */
	upload(pointer: number, bytes: number, read: (into: Uint8Array<ArrayBuffer>) => void): void {
		if (bytes > this.pieceBytes) {
			throw new RangeError(`Cannot stage ${bytes} bytes at once: a piece has ${this.pieceBytes}`);
		}
		const piece = this.#pieces[this.#current = 1 - this.#current]!;
		piece.copied?.reachedSync();
		piece.copied?.[Symbol.dispose]();
		piece.copied = null;
		const memory = piece.memory.bytes.subarray(0, bytes);
		read(memory);
		this.#device.upload(pointer, memory);
		piece.copied = this.#device.mark();
	}

	/** Frees both pieces, once the copies from them are done. */
	[Symbol.dispose](): void {
		for (const { memory, copied } of this.#pieces) {
			copied?.reachedSync();
			copied?.[Symbol.dispose]();
			memory[Symbol.dispose]();
		}
	}
}
