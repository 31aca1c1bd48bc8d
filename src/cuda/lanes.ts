// Streams beside the current one, on which independent pieces of work run at the same time, each with a part
// of the device: its data stays in the caches of that part.

import type { Device } from "./device.ts";
import { Stream } from "./stream.ts";

/** More would leave each too little of a GPU. */
const MOST_LANES = 8;

/** The lanes of a device; `device.lanes`. */
export class Lanes {
	readonly #device: Device;
	readonly #streams: Stream[];

	/** Makes the lanes of a device; on the host, one a core. */
	constructor(device: Device) {
		this.#device = device;
		const count = Math.min(device.multiprocessors, MOST_LANES);
		this.#streams = Array.from({ length: count }, () => new Stream(device));
	}

	/** How many there are. */
	get count(): number {
		return this.#streams.length;
	}

	/**
	 * Queues `items` pieces of work, each on one of the lanes. They begin after what was queued on the current
	 * stream before, and what is queued there afterwards waits for all of them. Memory that they use must be
	 * allocated before and freed after.
	 *
	 * @param body queues one item; `lane` is its lane's number, for memory that only one item at a time uses
	 */
	run(items: number, body: (item: number, lane: number) => void): void {
		const current = this.#device.currentStream;
		using fork = current.record();
		for (const stream of this.#streams) stream.wait(fork);
		try {
			for (let item = 0; item < items; item++) {
				const lane = item % this.count;
				this.#device.withStream(this.#streams[lane]!, () => body(item, lane));
			}
		} finally { // after an error too: what was queued uses memory that is freed on the current stream
			for (const stream of this.#streams) current.wait(stream);
		}
	}
}
