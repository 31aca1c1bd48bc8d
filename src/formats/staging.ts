// Page-locked memory that data passes through on its way from a file to the device.

import type { Device } from "../cuda/device.ts";
import { PinnedMemory } from "../cuda/pinned_memory.ts";

/**
 * Two pieces of page-locked memory that are filled in turn: one with what is read now, while the device
 * still copies from the other.
 */
export class Staging implements Disposable {
  readonly #pieces: PinnedMemory[];
  #current = 0;
  #used = 0;

  /**
   * Allocates both pieces.
   *
   * @param bytes how much fits between two calls of {@linkcode turn}
   */
  constructor(device: Device, bytes: number) {
    using stack = new DisposableStack(); // frees the first if there is no memory for the second
    this.#pieces = [0, 1].map(() => stack.use(new PinnedMemory(device, bytes)));
    stack.move();
  }

  /** Begins with the other piece. What was taken from it must have been uploaded by now. */
  turn(): void {
    this.#current = 1 - this.#current;
    this.#used = 0;
  }

  /** The next `bytes` of the piece. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const memory = this.#pieces[this.#current]!.bytes;
    const begin = this.#used;
    if (begin + bytes > memory.length) {
      throw new RangeError(
        `Cannot stage ${bytes} bytes: ${memory.length - begin} of ${memory.length} are left`,
      );
    }
    this.#used += bytes;
    return memory.subarray(begin, begin + bytes);
  }

  /** Frees both pieces, once the copies from them are done. */
  [Symbol.dispose](): void {
    for (const piece of this.#pieces) piece[Symbol.dispose]();
  }
}
