// Events: points in the work of a stream. Each recording is an object of its own; the driver's events behind
// them are used again.

import type { Device } from "./device.ts";

const NOT_READY = 600;
const DISABLE_TIMING = 2;

/** The driver's events that nothing needs at the moment, with and without a time. */
class EventPool {
	readonly #device: Device;
	readonly #idle: Record<"timed" | "untimed", bigint[]> = { timed: [], untimed: [] };
	// An event that is lost, waited for or not, gives its handle back when it is collected.
	readonly lost: FinalizationRegistry<() => void> = new FinalizationRegistry((give) => give());

	constructor(device: Device) {
		this.#device = device;
	}

	take(timed: boolean): bigint {
		const handle = this.#idle[timed ? "timed" : "untimed"].pop();
		if (handle !== undefined) return handle;
		const { driver } = this.#device.libraries;
		return this.#device.made(
			"cuEventCreate",
			(out) => driver.cuEventCreate(out, timed ? 0 : DISABLE_TIMING),
		);
	}

	give(handle: bigint, timed: boolean): void {
		this.#idle[timed ? "timed" : "untimed"].push(handle);
	}
}

const pools = new WeakMap<Device, EventPool>();

function poolOf(device: Device): EventPool {
	let pool = pools.get(device);
	if (!pool) pools.set(device, pool = new EventPool(device));
	return pool;
}

/**
 * A point in the work of a stream, made by `stream.record()` or `device.mark()`. Other streams wait for it
 * with `stream.wait(event)`.
 *
 * @example Measure how long work takes on the device
 * ```ts
 * import { Device } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * const begin = device.mainStream.record({ timed: true });
 * // ... launches
 * const end = device.mainStream.record({ timed: true });
 * await end.reached();
 * console.log(end.millisecondsSince(begin) >= 0); // true
 * ```
 */
export class Event implements Disposable {
	readonly #device: Device;
	readonly #timed: boolean;
	#handle: bigint | undefined; // undefined once nothing needs it

	/**
	 * Records an event; for {@linkcode Stream}.
	 *
	 * @param stream handle of the stream
	 * @param timed whether it can be measured from
	 */
	constructor(device: Device, stream: bigint, timed: boolean) {
		this.#device = device;
		this.#timed = timed;
		const pool = poolOf(device);
		const handle = pool.take(timed);
		const code = device.libraries.driver.cuEventRecord(handle, stream);
		if (code !== 0) pool.give(handle, timed);
		device.check("cuEventRecord", code);
		this.#handle = handle;
		pool.lost.register(this, () => pool.give(handle, timed), this);
	}

	/**
	 * The driver's handle, or undefined where there is nothing left to wait for; for {@linkcode Stream}.
	 * @internal
	 */
	get handle(): bigint | undefined {
		return this.#handle;
	}

	/** Whether the work before it is done, as of now. */
	get isReached(): boolean {
		if (this.#handle === undefined) return true;
		this.#device.refuseInCapture("wait for an event");
		const code = this.#device.libraries.driver.cuEventQuery(this.#handle);
		if (code === NOT_READY) return false;
		if (!this.#timed || code !== 0) this[Symbol.dispose]();
		this.#device.check("cuEventQuery", code);
		return true;
	}

	/**
	 * Waits until the work before it is done, letting other tasks (and signals) through. It polls on this
	 * thread, since a call on another thread would have no current context.
	 */
	async reached(): Promise<void> {
		for (let polls = 0; !this.isReached; polls++) {
			await new Promise((resolve) => setTimeout(resolve, polls < 4 ? 0 : 1));
		}
	}

	/** Waits until the work before it is done, blocking the thread. */
	reachedSync(): void {
		if (this.#handle === undefined) return;
		this.#device.refuseInCapture("wait for an event");
		const { driver } = this.#device.libraries;
		this.#device.check("cuEventSynchronize", driver.cuEventSynchronize(this.#handle));
	}

	/**
	 * Time between two events in milliseconds, as the device measured it.
	 *
	 * @param earlier an event recorded before; both must be timed, reached, and not disposed of
	 */
	millisecondsSince(earlier: Event): number {
		if (!this.#timed || !earlier.#timed) {
			throw new TypeError(
				"Cannot measure between events without a time: record both with { timed: true }",
			);
		}
		if (this.#handle === undefined || earlier.#handle === undefined) {
			throw new ReferenceError("Cannot measure between events: one was disposed of");
		}
		const { driver } = this.#device.libraries;
		const [from, to] = [earlier.#handle, this.#handle];
		this.#device.made("cuEventElapsedTime", (out) => driver.cuEventElapsedTime(out, from, to));
		return this.#device.out.float;
	}

	/** Gives the driver's event back. Doing so twice is harmless; who waits for it keeps waiting. */
	[Symbol.dispose](): void {
		if (this.#handle === undefined) return;
		const pool = poolOf(this.#device);
		pool.lost.unregister(this);
		pool.give(this.#handle, this.#timed);
		this.#handle = undefined;
	}
}
