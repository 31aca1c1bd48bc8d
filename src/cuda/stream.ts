// Streams: queues of work. Work of one stream runs in order; work of two runs at the same time, unless an
// event orders it.

import type { Device } from "./device.ts";
import { Event } from "./event.ts";

/**
 * A queue of work of a device. The device queues on its main stream, and within
 * `device.withStream(stream, …)` on another.
 *
 * @example Two streams at the same time
 * ```ts
 * import { Device, Stream, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using side = new Stream(device);
 * const x = Tensor.zeros(device, "float32", [4]);
 * side.wait(device.mainStream); // x is there
 * device.withStream(side, () => {
 *   // ... work that may run beside the main stream's
 * });
 * device.mainStream.wait(side); // what comes now sees what the side stream did
 * ```
 */
export class Stream implements Disposable {
	/** Its device. */
	readonly device: Device;
	/**
	 * The driver's handle, for the files of this folder.
	 * @internal
	 */
	readonly handle: bigint;
	#blas: bigint | undefined;
	#disposed = false;

	/** Makes a stream. */
	constructor(device: Device) {
		this.device = device;
		const NON_BLOCKING = 1;
		const { driver } = device.libraries;
		this.handle = device.made("cuStreamCreate", (out) => driver.cuStreamCreate(out, NON_BLOCKING));
	}

	/**
	 * The cuBLAS handle of this stream, for the files of this folder: one that streams share would share its
	 * workspace.
	 * @internal
	 */
	get blas(): bigint {
		if (this.#blas === undefined) {
			const { device } = this, { cublas } = device.libraries;
			if (device.isCapturing) {
				throw new RangeError(
					"Cannot make a cuBLAS handle during a capture: run what shall be captured once before",
				);
			}
			device.checkBlas("cublasCreate_v2", cublas.cublasCreate_v2(device.out.buffer));
			this.#blas = device.out.handle;
			device.checkBlas("cublasSetStream_v2", cublas.cublasSetStream_v2(this.#blas, this.handle));
		}
		return this.#blas;
	}

	/** Whether it was disposed of. */
	get disposed(): boolean {
		return this.#disposed;
	}

	/**
	 * Records an event behind all that was queued so far.
	 *
	 * @param options `timed`: whether time can be measured from it, which costs a little
	 */
	record(options: { timed?: boolean } = {}): Event {
		return new Event(this.device, this.handle, options.timed ?? false);
	}

	/**
	 * Has what is queued from now on wait for an event, or for all that was queued so far on another stream;
	 * returns at once.
	 */
	wait(other: Event | Stream): void {
		if (other instanceof Stream) {
			using event = other.record();
			return this.wait(event);
		}
		if (other.handle === undefined) return;
		const { driver } = this.device.libraries;
		this.device.check(
			"cuStreamWaitEvent",
			driver.cuStreamWaitEvent(this.handle, other.handle, 0),
		);
	}

	/** Whether all work queued so far is done. */
	get isIdle(): boolean {
		this.device.refuseInCapture("ask whether a stream is idle");
		const NOT_READY = 600;
		const code = this.device.libraries.driver.cuStreamQuery(this.handle);
		if (code === NOT_READY) return false;
		this.device.check("cuStreamQuery", code);
		return true;
	}

	/** Waits, blocking the thread, until all work queued so far is done. */
	synchronizeSync(): void {
		this.device.refuseInCapture("wait for a stream");
		const { driver } = this.device.libraries;
		this.device.check("cuStreamSynchronize", driver.cuStreamSynchronize(this.handle));
	}

	/** Waits until all work queued so far is done, letting other tasks (and signals) through. */
	async synchronize(): Promise<void> {
		this.device.refuseInCapture("wait for a stream");
		await this.record().reached();
	}

	/** Waits for its work, blocking the thread, and ends it. Doing so twice is harmless. */
	[Symbol.dispose](): void {
		if (this.#disposed) return;
		const { device } = this, { driver, cublas } = device.libraries;
		if (this === device.mainStream || this === device.currentStream) {
			throw new RangeError("Cannot end a stream that the device is queueing on");
		}
		this.synchronizeSync();
		this.#disposed = true;
		if (this.#blas !== undefined) {
			device.checkBlas("cublasDestroy_v2", cublas.cublasDestroy_v2(this.#blas));
		}
		device.check("cuStreamDestroy_v2", driver.cuStreamDestroy_v2(this.handle));
	}
}
