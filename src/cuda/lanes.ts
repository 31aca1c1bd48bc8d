// Streams beside the main one, on which independent pieces of work run at the same time, each with a part
// of the device: its data stays in the caches of that part.

import { OutParameter } from "../ffi/c_memory.ts";
import type { Device } from "./device.ts";

/** More would leave each too little of a GPU. */
const MOST_LANES = 8;

/** Where work is queued: a stream, and the cuBLAS handle that uses it. */
export interface Queue {
  /** The driver's `CUstream`. */
  readonly stream: number;
  /** The `cublasHandle_t`. */
  readonly blas: number;
}

/** A new stream with its cuBLAS handle. */
export function createQueue(device: Device): Queue {
  const { driver, cublas } = device.libraries;
  const out = new OutParameter();
  const NON_BLOCKING = 1;
  device.check("cuStreamCreate", driver.cuStreamCreate(out.buffer, NON_BLOCKING));
  const stream = out.size;
  device.checkBlas("cublasCreate_v2", cublas.cublasCreate_v2(out.buffer));
  const blas = out.size;
  device.checkBlas("cublasSetStream_v2", cublas.cublasSetStream_v2(blas, stream));
  return { stream, blas };
}

/** The lanes of a device. */
export class Lanes {
  /** How many there are. */
  readonly count: number;
  readonly #device: Device;
  readonly #queues: Queue[] = [];
  /** One for the fork, then one a lane for its end. */
  readonly #events: number[] = [];

  /** Makes the lanes of a device; on the host, one a core. */
  constructor(device: Device) {
    this.#device = device;
    this.count = Math.min(device.multiprocessors, MOST_LANES);
    const { driver } = device.libraries;
    const out = new OutParameter();
    for (let i = 0; i < this.count; i++) this.#queues.push(createQueue(device));
    for (let i = 0; i <= this.count; i++) {
      const DISABLE_TIMING = 2;
      device.check("cuEventCreate", driver.cuEventCreate(out.buffer, DISABLE_TIMING));
      this.#events.push(out.size);
    }
  }

  /**
   * Queues `items` pieces of work, each on one of the lanes. They begin after what was queued on the main
   * stream before, and what is queued there afterwards waits for all of them. Memory that they use must be
   * allocated before and freed after.
   *
   * @param body queues one item; `lane` is its lane's number, for memory that only one item at a time uses
   */
  run(items: number, body: (item: number, lane: number) => void): void {
    const device = this.#device;
    const { driver } = device.libraries;
    const record = (event: number, stream: number) =>
      device.check("cuEventRecord", driver.cuEventRecord(event, stream));
    const wait = (stream: number, event: number) =>
      device.check("cuStreamWaitEvent", driver.cuStreamWaitEvent(stream, event, 0));
    const [fork, ...ends] = this.#events;
    const main = device.queue;
    record(fork!, main.stream);
    for (const { stream } of this.#queues) wait(stream, fork!);
    try {
      for (let item = 0; item < items; item++) {
        const lane = item % this.count;
        device.queue = this.#queues[lane]!;
        body(item, lane);
      }
    } finally { // after an error too: what was queued uses memory that is freed on the main stream
      device.queue = main;
      this.#queues.forEach(({ stream }, lane) => {
        record(ends[lane]!, stream);
        wait(main.stream, ends[lane]!);
      });
    }
  }
}
