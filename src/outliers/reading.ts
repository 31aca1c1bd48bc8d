// Reads small results back while a model runs on, so that neither waits for the other.

import type { Device } from "../cuda/device.ts";

/** Collects results that are read as soon as the device is done with them. */
export class Reading {
	/** Those that are not done, or failed: however long the run, few at a time. */
	readonly #tasks = new Set<Promise<void>>();
	#last: Promise<void> = Promise.resolve();

	/** Calls `read` once the work queued so far is done, and what was asked for before is read. */
	after(device: Device, read: () => void): void {
		const mark = device.mark(), before = this.#last;
		const task = (async () => {
			await mark.reached();
			await before; // in order, so that sums over readings are the same bits each time
			read();
		})();
		this.#last = task.catch(() => {});
		this.#tasks.add(task);
		// A failure is reported by `finish`, or moot because the run failed first.
		task.then(() => this.#tasks.delete(task), () => {});
	}

	/** Waits until everything has been read. */
	async finish(): Promise<void> {
		await Promise.all(this.#tasks);
	}
}
