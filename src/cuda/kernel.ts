// A loaded kernel and how it is launched: over a number of elements, or with a warp a row.

import { addressOf, fixedBuffer } from "../ffi/c_memory.ts";
import type { Device } from "./device.ts";
import type { KernelSignature } from "./kernel_source.ts";

const MAX_ARGUMENT_BYTES = 4096;
const THREADS = 256;
/** Blocks a multiprocessor: enough for an even load, few enough that starting them costs little. */
const BLOCKS_PER_MULTIPROCESSOR = 8;

// One buffer for the packed arguments and one for the list `extra` that points to it; the driver copies
// the arguments during the call. The list is filled at the first launch: taking an address needs the
// permission --allow-ffi, which importing this module must not.
const packed = fixedBuffer(MAX_ARGUMENT_BYTES);
const packedView = new DataView(packed.buffer);
const packedSize = fixedBuffer(8);
const extra = fixedBuffer(5 * 8);
const extraList = new BigUint64Array(extra.buffer);
const sizeView = new DataView(packedSize.buffer);
const BUFFER_POINTER = 1n;
const BUFFER_SIZE = 2n;

/** A kernel of a loaded module. */
export class Kernel {
  /** Its signature, as the source has it. */
  readonly signature: KernelSignature;
  readonly #device: Device;
  readonly #function: number;

  /** @param handle the driver's `CUfunction` */
  constructor(device: Device, handle: number, signature: KernelSignature) {
    this.#device = device;
    this.#function = handle;
    this.signature = signature;
  }

  /** Number of warps that {@linkcode overElements} starts, for kernels that keep a value a warp. */
  static warpsForElements(device: Device, count: number): number {
    const threads = Math.min(THREADS, device.maxThreadsPerBlock);
    return Kernel.#blocks(device, Math.ceil(count / threads)) * threads / device.warpSize;
  }

  static #blocks(device: Device, wanted: number): number {
    return Math.max(1, Math.min(wanted, device.multiprocessors * BLOCKS_PER_MULTIPROCESSOR));
  }

  /** Launches over `count` elements: the kernel walks them with `span_begin`, `span_end`, `span_step`. */
  overElements(count: number, ...args: number[]): void {
    const threads = Math.min(THREADS, this.#device.maxThreadsPerBlock);
    this.launch(Kernel.#blocks(this.#device, Math.ceil(count / threads)), threads, args);
  }

  /** Launches with a warp a row: the kernel walks `rows` with `warp_id` and `warp_count`. */
  overRows(rows: number, ...args: number[]): void {
    const threads = Math.min(THREADS, this.#device.maxThreadsPerBlock);
    const warps = threads / this.#device.warpSize;
    this.launch(Kernel.#blocks(this.#device, Math.ceil(rows / warps)), threads, args);
  }

  /** Launches one warp. */
  once(...args: number[]): void {
    this.launch(1, this.#device.warpSize, args);
  }

  /** Launches `blocks` blocks of `threads` threads with the arguments in the source's order. */
  launch(blocks: number, threads: number, args: number[]): void {
    const { name, parameters, bytes } = this.signature;
    if (args.length !== parameters.length) {
      throw new RangeError(
        `Cannot launch ${name}: it takes ${parameters.length} arguments, got ${args.length}`,
      );
    }
    for (let i = 0; i < args.length; i++) {
      const { kind, offset } = parameters[i]!;
      const value = args[i]!;
      if (kind === "float") {
        packedView.setFloat32(offset, value, true);
      } else if (kind === "int") {
        packedView.setInt32(offset, value, true);
      } else {
        packedView.setUint32(offset, value >>> 0, true);
        packedView.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
      }
    }
    sizeView.setUint32(0, bytes, true);
    if (extraList[0] === 0n) {
      extraList.set([BUFFER_POINTER, addressOf(packed), BUFFER_SIZE, addressOf(packedSize), 0n]);
    }
    this.#device.countLaunch();
    this.#device.check(
      "cuLaunchKernel",
      this.#device.libraries.driver.cuLaunchKernel(
        this.#function,
        blocks,
        1,
        1,
        threads,
        1,
        1,
        0,
        this.#device.stream,
        null,
        extra,
      ),
      `kernel ${name}, ${blocks} blocks of ${threads}, arguments ${args.join(", ")}`,
    );
  }
}
