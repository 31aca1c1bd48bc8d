// A loaded kernel and how it is launched: over a number of elements, or with a warp a row.

import { addressOf, fixedBuffer } from "../ffi/c_memory.ts";
import type { Device } from "./device.ts";
import type { KernelParameter, KernelSignature } from "./kernel_source.ts";

const MAX_ARGUMENT_BYTES = 4096;
const THREADS = 256;
/** Blocks a multiprocessor: enough for an even load, few enough that starting them costs little. */
const BLOCKS_PER_MULTIPROCESSOR = 8;

/**
 * The packed arguments of a launch and the list `extra` that points to them. One serves all launches: the
 * driver copies the arguments during the call.
 */
class LaunchArguments {
	/** Pass this to `cuLaunchKernel`: a pointer object, which Deno hands on three times faster than a buffer. */
	readonly extra: Deno.PointerObject;
	readonly #view: DataView;
	readonly #size = fixedBuffer(8);
	readonly #sizeView = new DataView(this.#size.buffer);
	readonly #list = fixedBuffer(5 * 8);

	constructor() {
		const packed = fixedBuffer(MAX_ARGUMENT_BYTES);
		this.#view = new DataView(packed.buffer);
		const BUFFER_POINTER = 1n;
		const BUFFER_SIZE = 2n;
		new BigUint64Array(this.#list.buffer)
			.set([BUFFER_POINTER, addressOf(packed), BUFFER_SIZE, addressOf(this.#size), 0n]);
		this.extra = Deno.UnsafePointer.of(this.#list)!;
	}

	set bytes(bytes: number) {
		this.#sizeView.setUint32(0, bytes, true);
	}

	put({ kind, offset }: KernelParameter, value: number): void {
		if (kind === "float") {
			this.#view.setFloat32(offset, value, true);
		} else if (kind === "int") {
			this.#view.setInt32(offset, value, true);
		} else {
			this.#view.setUint32(offset, value >>> 0, true);
			this.#view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
		}
	}

	/** What {@linkcode put} was given, for messages. */
	get({ kind, offset }: KernelParameter): number {
		if (kind === "float") return this.#view.getFloat32(offset, true);
		if (kind === "int") return this.#view.getInt32(offset, true);
		return this.#view.getUint32(offset, true) + this.#view.getInt32(offset + 4, true) * 2 ** 32;
	}
}

let shared: LaunchArguments | undefined;

/** A kernel of a loaded module. */
export class Kernel {
	/** Its signature, as the source has it. */
	readonly signature: KernelSignature;
	/**
	 * The driver's `CUfunction`.
	 * @internal
	 */
	readonly handle: bigint;
	readonly #device: Device;
	readonly #arguments: LaunchArguments;

	/** Wraps a function of a loaded module. */
	constructor(device: Device, handle: bigint, signature: KernelSignature) {
		this.#device = device;
		this.handle = handle;
		this.#arguments = shared ??= new LaunchArguments();
		this.signature = signature;
	}

	/** Number of warps that {@linkcode overRows} starts, for kernels that keep a value a warp. */
	static warpsForRows(device: Device, rows: number): number {
		const warps = Math.min(THREADS, device.maxThreadsPerBlock) / device.warpSize;
		return Kernel.#blocks(device, Math.ceil(rows / warps)) * warps;
	}

	static #blocks(device: Device, wanted: number): number {
		return Math.max(1, Math.min(wanted, device.multiprocessors * BLOCKS_PER_MULTIPROCESSOR));
	}

	/** Launches over `count` elements: the kernel walks them with `span_begin`, `span_end`, `span_step`. */
	overElements(count: number, ...args: number[]): void {
		this.#begin(args.length);
		for (let i = 0; i < args.length; i++) this.#put(i, args[i]!);
		const threads = Math.min(THREADS, this.#device.maxThreadsPerBlock);
		this.#launch(Kernel.#blocks(this.#device, Math.ceil(count / threads)), threads);
	}

	/** Launches with a warp a row: the kernel walks `rows` with `row_begin`, `row_end`, `row_step`. */
	overRows(rows: number, ...args: number[]): void {
		this.#begin(args.length);
		for (let i = 0; i < args.length; i++) this.#put(i, args[i]!);
		const threads = Math.min(THREADS, this.#device.maxThreadsPerBlock);
		const warps = threads / this.#device.warpSize;
		this.#launch(Kernel.#blocks(this.#device, Math.ceil(rows / warps)), threads);
	}

	/** Launches with a block an item: the kernel walks `items` with `blockIdx` and `gridDim`. */
	overBlocks(items: number, ...args: number[]): void {
		this.#begin(args.length);
		for (let i = 0; i < args.length; i++) this.#put(i, args[i]!);
		const threads = Math.min(THREADS, this.#device.maxThreadsPerBlock);
		this.#launch(Kernel.#blocks(this.#device, items), threads);
	}

	/** Launches a block for each multiprocessor: for kernels to which another block costs much. */
	perMultiprocessor(...args: number[]): void {
		const { multiprocessors, maxThreadsPerBlock } = this.#device;
		this.launch(multiprocessors, Math.min(THREADS, maxThreadsPerBlock), args);
	}

	/** Launches one warp. */
	once(...args: number[]): void {
		this.launch(1, this.#device.warpSize, args);
	}

	/** Launches `blocks` blocks of `threads` threads with the arguments in the source's order. */
	launch(blocks: number, threads: number, args: number[]): void {
		this.#begin(args.length);
		for (let i = 0; i < args.length; i++) this.#put(i, args[i]!);
		this.#launch(blocks, threads);
	}

	// The methods above put the arguments one by one, since an array that is handed on must be made for
	// each launch, and one that is only read need not.

	#begin(given: number): void {
		const { name, parameters } = this.signature;
		if (given !== parameters.length) {
			throw new RangeError(
				`Cannot launch ${name}: it takes ${parameters.length} arguments, got ${given}`,
			);
		}
	}

	#put(i: number, value: number): void {
		this.#arguments.put(this.signature.parameters[i]!, value);
	}

	#launch(blocks: number, threads: number): void {
		const device = this.#device;
		this.#arguments.bytes = this.signature.bytes;
		device.countLaunch();
		const code = device.libraries.driver.cuLaunchKernel(
			this.handle,
			blocks,
			1,
			1,
			threads,
			1,
			1,
			0,
			device.stream,
			null,
			this.#arguments.extra,
		);
		if (code !== 0) device.check("cuLaunchKernel", code, this.#describe(blocks, threads));
	}

	#describe(blocks: number, threads: number): string {
		const { name, parameters } = this.signature;
		const args = parameters.map((parameter) => this.#arguments.get(parameter));
		return `kernel ${name}, ${blocks} blocks of ${threads}, arguments ${args.join(", ")}`;
	}
}
