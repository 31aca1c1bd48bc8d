// A device that computes: its context, streams, memory and kernels. Calls that start work return at once;
// the work runs in order on the current stream.

import { fixedBuffer, OutParameter } from "../ffi/c_memory.ts";
import type { Libraries } from "../ffi/libraries.ts";
import type { KernelSource } from "./compile.ts";
import { type DeviceInfo, listDevices } from "./device_list.ts";
import { checkCublas, checkDriver } from "./errors.ts";
import type { Event } from "./event.ts";
import { capture, type Graph } from "./graph.ts";
import type { Kernel } from "./kernel.ts";
import { Lanes } from "./lanes.ts";
import { readLaunch } from "./launch.ts";
import { openLibraries } from "./libraries.ts";
import { LoadedKernels } from "./loaded_kernels.ts";
import { DeviceMemory, type Holder } from "./memory.ts";
import { isPinned } from "./pinned_memory.ts";
import { Stream } from "./stream.ts";

/** Options of {@linkcode Device.open}. */
export interface DeviceOptions {
	/**
	 * Told before the host driver is built, and before the first kernels are compiled, which takes some
	 * seconds each.
	 */
	onPrepare?: (what: string) => void;
}

let shared: Promise<Device> | undefined;
let opened: Device | undefined;

/** A CUDA device, or the host driver standing in for one. */
export class Device {
	/** The device's name. */
	readonly name: string;
	/** NVIDIA's libraries, or the host driver. */
	readonly kind: "cuda" | "host";
	/** Lanes of a warp: 32, or 1 on the host. */
	readonly warpSize: number;
	/** Largest number of threads in a block. */
	readonly maxThreadsPerBlock: number;
	/** Streaming multiprocessors, or cores. */
	readonly multiprocessors: number;
	/**
	 * The C libraries, for the files of this folder.
	 * @internal
	 */
	readonly libraries: Libraries;
	/** The stream that work is queued on outside of {@linkcode withStream}. */
	readonly mainStream: Stream;
	/**
	 * The current stream's handle, for the files of this folder.
	 * @internal
	 */
	stream: bigint;
	/**
	 * What is allocated, for the files of this folder.
	 * @internal
	 */
	readonly allocations: DeviceMemory;
	/**
	 * Where calls leave a result that is read at once, for the files of this folder.
	 * @internal
	 */
	readonly out: OutParameter = new OutParameter();
	#current: Stream;
	readonly #kernels: LoadedKernels;
	#label = "other";
	#lanes: Lanes | undefined;
	#launches = 0;
	#pool: bigint;

	private constructor(libraries: Libraries, onPrepare?: (what: string) => void) {
		this.libraries = libraries;
		this.kind = libraries.kind;
		const { driver } = libraries;
		const all = listDevices(libraries), { localRank = 0 } = readLaunch() ?? {};
		const info = all[localRank % all.length]!; // processes on one machine take a device each
		const { ordinal, name, warpSize, maxThreadsPerBlock, multiprocessors } = info;
		this.name = name;
		this.warpSize = warpSize;
		this.maxThreadsPerBlock = maxThreadsPerBlock;
		this.multiprocessors = multiprocessors;
		this.#kernels = new LoadedKernels(
			this,
			`sm_${info.computeCapability.replace(".", "")}`,
			() => onPrepare?.("compiling kernels"),
		);
		const context = this.made(
			"cuDevicePrimaryCtxRetain",
			(out) => driver.cuDevicePrimaryCtxRetain(out, ordinal),
		);
		this.check("cuCtxSetCurrent", driver.cuCtxSetCurrent(context));
		// Queued work must end before the process takes down the libraries that it runs in.
		globalThis.addEventListener("unload", () => driver.cuDevicePrimaryCtxRelease_v2(ordinal));
		this.#pool = this.made(
			"cuDeviceGetDefaultMemPool",
			(out) => driver.cuDeviceGetDefaultMemPool(out, ordinal),
		);
		// Without this the pool gives all that is free back to the system at each synchronization.
		const RELEASE_THRESHOLD = 4, everything = fixedBuffer(8).fill(255);
		this.check(
			"cuMemPoolSetAttribute",
			driver.cuMemPoolSetAttribute(this.#pool, RELEASE_THRESHOLD, everything),
		);
		this.allocations = new DeviceMemory(this);
		this.mainStream = this.#current = new Stream(this);
		this.stream = this.mainStream.handle;
		void this.mainStream.blas; // so that cuBLAS, if it cannot start, says so now
	}

	/** The devices of this machine: NVIDIA's, or the host driver's one. */
	static async list(): Promise<DeviceInfo[]> {
		return listDevices((await shared)?.libraries ?? await openLibraries());
	}

	/**
	 * Opens the device of this process: the first NVIDIA device that answers (of several processes that a launcher
	 * started on this machine, each takes the next), else the host driver, or
	 * what the environment variable `OUTLIERSCOPE_DEVICE` (`cuda` or `host`) asks for. Kernels are compiled
	 * at their first use if they are not in the cache, or by {@linkcode Device.prepare}. Later calls return
	 * the same device.
	 */
	static open(options: DeviceOptions = {}): Promise<Device> {
		shared ??= (async () => {
			const { onPrepare } = options;
			const libraries = await openLibraries(() => onPrepare?.("building the host driver"));
			return opened = new Device(libraries, onPrepare);
		})().catch((error) => {
			shared = undefined; // what was missing may be installed before the next try
			throw error;
		});
		return shared;
	}

	/**
	 * The device that {@linkcode Device.open} opened, on which tensors are made that name none.
	 *
	 * @throws {ReferenceError} if none is open yet
	 */
	static get current(): Device {
		if (!opened) {
			throw new ReferenceError("Cannot find a device: open it first, with await Device.open()");
		}
		return opened;
	}

	/**
	 * Prepares kernels of this library ahead of their first use, several sources at once: for work that will
	 * need them all.
	 *
	 * @param files names of sources, such as `"softmax.cu"`
	 * @throws {CompileError} if a source does not compile
	 */
	async prepare(files: readonly string[]): Promise<void> {
		await this.#kernels.prepare(files);
	}

	/** Compiles sources, several at once, and loads their kernels, in place of others of their names. */
	async load(sources: readonly KernelSource[]): Promise<void> {
		await this.#kernels.load(sources);
	}

	/**
	 * A kernel by its name in the source. The first use of a source of this library loads it and, where the
	 * cache does not have it, compiles it, which blocks the thread for a second or so; see
	 * {@linkcode Device.prepare}.
	 *
	 * @throws {CompileError} if the source does not compile
	 */
	kernel(name: string): Kernel {
		return this.#kernels.get(name);
	}

	/** Throws a `CudaError` unless `code` is 0. */
	check(functionName: string, code: number, context?: string): void {
		if (code !== 0) checkDriver(this.libraries, functionName, code, context);
	}

	/** The same for a status of cuBLAS. */
	checkBlas(functionName: string, code: number, context?: string): void {
		if (code !== 0) checkCublas(this.libraries, functionName, code, context);
	}

	/**
	 * The handle that a call of the driver leaves in its out-parameter, for the files of this folder.
	 * @internal
	 */
	made(name: string, call: (out: Uint8Array<ArrayBuffer>) => number, context?: string): bigint {
		this.check(name, call(this.out.buffer), context);
		return this.out.handle;
	}

	/** Whether work is being captured and not run; see {@linkcode capture}. */
	get isCapturing(): boolean {
		return this.allocations.isCapturing;
	}

	/** Throws during a capture, in which nothing that was queued runs; `action` says what cannot be done. */
	refuseInCapture(action: string): void {
		if (this.isCapturing) {
			throw new RangeError(`Cannot ${action} during a capture: do it before or behind the capture`);
		}
	}

	/** Streams for independent pieces of work. */
	get lanes(): Lanes {
		return this.#lanes ??= new Lanes(this);
	}

	/** The stream that work is queued on. */
	get currentStream(): Stream {
		return this.#current;
	}

	/**
	 * The current stream's cuBLAS handle, for the files of this folder.
	 * @internal
	 */
	get blas(): bigint {
		return this.#current.blas;
	}

	/**
	 * Runs `body`, whose work is queued on `stream`: kernels, copies, products, allocations. `body` must not be
	 * asynchronous: work of others would be queued there too. Nothing is ordered between streams except by
	 * events; see {@linkcode Stream}. Memory is freed in the order of the stream that it was allocated on.
	 */
	withStream<T>(stream: Stream, body: () => T): T {
		if (stream.device !== this || stream.disposed) {
			throw new RangeError("Cannot queue on a stream that was disposed of, or of another device");
		}
		const before = this.#current;
		const use = (current: Stream) => {
			this.#current = current;
			this.stream = current.handle;
		};
		use(stream);
		try {
			return refuseAsync("withStream", body());
		} finally {
			use(before);
		}
	}

	/**
	 * Captures what `body` queues on the current stream, and on others that events join to it, as a graph to
	 * launch any number of times. Nothing of it runs before.
	 *
	 * The graph works on the memory that it was captured with. What was allocated before must live as long as
	 * the graph; what `body` allocates is the graph's, and keeps its place from launch to launch; what `body`
	 * frees is freed with the graph. Uploads must come from {@linkcode PinnedMemory}, and take what is there
	 * when they run.
	 */
	capture(body: () => void): Graph {
		return capture(this, body);
	}

	/** Free bytes of the device, and all it has. What the pool keeps for later allocations is not free. */
	get memory(): { free: number; total: number } {
		const total = new OutParameter();
		const code = this.libraries.driver.cuMemGetInfo_v2(this.out.buffer, total.buffer);
		this.check("cuMemGetInfo_v2", code);
		return { free: this.out.size, total: total.size };
	}

	/** Gives memory that nothing uses back to the system; blocks the thread until all queued work is done. */
	trimMemory(): void {
		this.refuseInCapture("trim memory");
		const { driver } = this.libraries;
		this.check("cuCtxSynchronize", driver.cuCtxSynchronize());
		this.check("cuMemPoolTrimTo", driver.cuMemPoolTrimTo(this.#pool, 0));
	}

	/** Bytes allocated and not freed. */
	get liveBytes(): number {
		return this.allocations.liveBytes;
	}

	/** The largest value that `liveBytes` had, ever or since {@linkcode resetPeak}. */
	get peakBytes(): number {
		return this.allocations.peakBytes;
	}

	/** Sets `peakBytes` to what is live now, to see the peak of what follows, such as a training step. */
	resetPeak(): void {
		this.allocations.resetPeak();
	}

	/** What holds memory, by label, the largest first. */
	get holders(): Readonly<Holder>[] {
		return this.allocations.holders;
	}

	/**
	 * Labels what `body` allocates, so that an error for lack of memory can tell what holds it. The innermost
	 * label counts. `body` must not be asynchronous.
	 */
	withLabel<T>(label: string, body: () => T): T {
		const before = this.#label;
		this.#label = label;
		try {
			return refuseAsync("withLabel", body());
		} finally {
			this.#label = before;
		}
	}

	/** Number of kernels launched. */
	get launches(): number {
		return this.#launches;
	}

	/** Counts a launch; for {@linkcode Kernel}. */
	countLaunch(): void {
		this.#launches++;
	}

	/**
	 * Allocates `bytes` in the order of the stream; returns the device pointer.
	 *
	 * @param label what they are for; by default what {@linkcode withLabel} says
	 * @throws {OutOfMemoryError} if there is too little memory; the device stays usable
	 */
	allocate(bytes: number, label: string = this.#label): number {
		return this.allocations.allocate(bytes, label);
	}

	/** Frees what {@linkcode allocate} gave, after the work queued so far on the stream it was given on. */
	free(pointer: number): void {
		this.allocations.free(pointer);
	}

	/**
	 * Copies bytes to the device in the order of the stream. `data` may be reused at once, unless it lies in
	 * {@linkcode PinnedMemory}: then it is read when the work queued before is done.
	 */
	upload(pointer: number, data: ArrayBufferView<ArrayBuffer>): void {
		if (data.byteLength === 0) return;
		if (!isPinned(data)) this.refuseInCapture("upload from memory that is not page-locked");
		const bytes = bytesOf(data);
		this.check(
			"cuMemcpyHtoDAsync_v2",
			this.libraries.driver.cuMemcpyHtoDAsync_v2(
				BigInt(pointer),
				bytes,
				BigInt(bytes.length),
				this.stream,
			),
		);
	}

	/**
	 * Copies bytes from the device in the order of the stream into {@linkcode PinnedMemory}, where they are
	 * once an event recorded afterwards is reached.
	 */
	queueDownload(data: ArrayBufferView<ArrayBuffer>, pointer: number): void {
		if (data.byteLength === 0) return;
		if (!isPinned(data)) {
			throw new TypeError(
				"Cannot queue a download into memory that is not page-locked: use PinnedMemory, or download()",
			);
		}
		const bytes = bytesOf(data);
		this.check(
			"cuMemcpyDtoHAsync_v2",
			this.libraries.driver.cuMemcpyDtoHAsync_v2(
				bytes,
				BigInt(pointer),
				BigInt(bytes.length),
				this.stream,
			),
		);
	}

	/** Copies bytes from the device as they are at this moment, whatever is queued. */
	read(data: ArrayBufferView<ArrayBuffer>, pointer: number): void {
		if (data.byteLength === 0) return;
		this.refuseInCapture("read memory");
		const bytes = bytesOf(data);
		this.check(
			"cuMemcpyDtoH_v2",
			this.libraries.driver.cuMemcpyDtoH_v2(bytes, BigInt(pointer), BigInt(bytes.length)),
		);
	}

	/** Copies bytes from the device once all work queued so far is done; blocks the thread. */
	downloadSync(data: ArrayBufferView<ArrayBuffer>, pointer: number): void {
		this.synchronizeSync();
		this.read(data, pointer);
	}

	/** Copies bytes from the device once all work queued so far is done. */
	async download(data: ArrayBufferView<ArrayBuffer>, pointer: number): Promise<void> {
		await this.synchronize();
		this.read(data, pointer);
	}

	/** Copies between two places of the device in the order of the stream. */
	copy(to: number, from: number, bytes: number): void {
		this.check(
			"cuMemcpyDtoDAsync_v2",
			this.libraries.driver.cuMemcpyDtoDAsync_v2(
				BigInt(to),
				BigInt(from),
				BigInt(bytes),
				this.stream,
			),
		);
	}

	/** Sets every byte to `value` in the order of the stream. */
	fill(pointer: number, value: number, bytes: number): void {
		this.check(
			"cuMemsetD8Async",
			this.libraries.driver.cuMemsetD8Async(
				BigInt(pointer),
				value,
				BigInt(bytes),
				this.stream,
			),
		);
	}

	/** Waits, blocking the thread, until all work queued so far on the current stream is done. */
	synchronizeSync(): void {
		this.#current.synchronizeSync();
	}

	/** The same, letting other tasks (and signals) through. */
	async synchronize(): Promise<void> {
		await this.#current.synchronize();
	}

	/** Marks this point of the current stream: an event to wait for. */
	mark(): Event {
		return this.#current.record();
	}
}

function bytesOf(data: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
	return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function refuseAsync<T>(name: string, result: T): T {
	if (!(result instanceof Promise)) return result;
	result.catch(() => {}); // it may well fail outside; the error below says why
	throw new TypeError(
		`Cannot run an asynchronous function in ${name}: its body must be synchronous`,
	);
}
