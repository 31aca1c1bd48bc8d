// Reads small results back while a model runs on, so that neither waits for the other.

import type { Device } from "../cuda/device.ts";

/** Collects results that are read as soon as the device is done with them. */
export class Reading {
  readonly #tasks: Promise<void>[] = [];

  /** Calls `read` once the work queued so far is done. */
  after(device: Device, read: () => void): void {
    const mark = device.mark();
    const task = (async () => {
      await mark.reached();
      read();
    })();
    task.catch(() => {}); // reported by `finish`, or moot because the run failed first
    this.#tasks.push(task);
  }

  /** Waits until everything has been read. */
  async finish(): Promise<void> {
    await Promise.all(this.#tasks);
  }
}
