// A loaded kernel and how it is launched: over a number of elements, or with a warp a row.

import { addressOf, fixedBuffer } from "../ffi/c_memory.ts";
import type { Device } from "./device.ts";
import type { KernelSignature } from "./kernel_source.ts";

const MAX_ARGUMENT_BYTES = 4096;
const THREADS = 256;
/** Blocks a multiprocessor: enough for an even load, few enough that starting them costs little. */
const BLOCKS_PER_MULTIPROCESSOR = 8;

/**
 * The packed arguments of a launch and the list `extra` that points to them. One serves all launches: the
 * driver copies the arguments during the call.
 */
class LaunchArguments {
  readonly extra = fixedBuffer(5 * 8);
  readonly #view: DataView;
  readonly #size = fixedBuffer(8);

  constructor() {
    const packed = fixedBuffer(MAX_ARGUMENT_BYTES);
    this.#view = new DataView(packed.buffer);
    const BUFFER_POINTER = 1n;
    const BUFFER_SIZE = 2n;
    new BigUint64Array(this.extra.buffer)
      .set([BUFFER_POINTER, addressOf(packed), BUFFER_SIZE, addressOf(this.#size), 0n]);
  }

  pack({ parameters, bytes }: KernelSignature, args: readonly number[]): void {
    for (let i = 0; i < args.length; i++) {
      const { kind, offset } = parameters[i]!;
      const value = args[i]!;
      if (kind === "float") {
        this.#view.setFloat32(offset, value, true);
      } else if (kind === "int") {
        this.#view.setInt32(offset, value, true);
      } else {
        this.#view.setUint32(offset, value >>> 0, true);
        this.#view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
      }
    }
    new DataView(this.#size.buffer).setUint32(0, bytes, true);
  }
}

let launchArguments: LaunchArguments | undefined;

/** A kernel of a loaded module. */
export class Kernel {
  /** Its signature, as the source has it. */
  readonly signature: KernelSignature;
  readonly #device: Device;
  readonly #function: number;

  /** Wraps a function of a loaded module; `handle` is the driver's `CUfunction`. */
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
    const { name, parameters } = this.signature;
    if (args.length !== parameters.length) {
      throw new RangeError(
        `Cannot launch ${name}: it takes ${parameters.length} arguments, got ${args.length}`,
      );
    }
    launchArguments ??= new LaunchArguments();
    launchArguments.pack(this.signature, args);
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
        this.#device.queue.stream,
        null,
        launchArguments.extra,
      ),
      `kernel ${name}, ${blocks} blocks of ${threads}, arguments ${args.join(", ")}`,
    );
  }
}
