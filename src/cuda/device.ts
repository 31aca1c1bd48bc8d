// A device that computes: its context, one stream, memory and kernels. Calls that start work return at
// once; the work runs in order on the stream.

import { cString, fixedBuffer, OutParameter, textIn } from "../ffi/c_memory.ts";
import type { Libraries } from "../ffi/libraries.ts";
import { compileCached, type KernelSource } from "./compile.ts";
import { checkCublas, checkDriver } from "./errors.ts";
import { Kernel } from "./kernel.ts";
import { parseKernels } from "./kernel_source.ts";
import { kernelSources } from "./kernels.ts";
import { createQueue, Lanes, type Queue } from "./lanes.ts";
import { openLibraries } from "./libraries.ts";

const ATTRIBUTES = {
  maxThreadsPerBlock: 1,
  warpSize: 10,
  multiprocessors: 16,
  computeCapabilityMajor: 75,
  computeCapabilityMinor: 76,
} as const;

/** Options of {@linkcode Device.open}. */
export interface DeviceOptions {
  /** Told once if something must be built or compiled first, which takes some seconds. */
  onPrepare?: (what: string) => void;
}

let shared: Promise<Device> | undefined;

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
  /**
   * Where work is queued at present, for the files of this folder.
   * @internal
   */
  queue: Queue;
  #architecture: string;
  #idleEvents: number[] = [];
  #kernels = new Map<string, Kernel>();
  #liveBytes = 0;
  #peakBytes = 0;
  #launches = 0;
  #lanes: Lanes | undefined;
  #out = new OutParameter();

  private constructor(libraries: Libraries) {
    this.libraries = libraries;
    this.kind = libraries.kind;
    const { driver } = libraries;
    const out = this.#out;
    this.check("cuInit", driver.cuInit(0));
    this.check("cuDeviceGet", driver.cuDeviceGet(out.buffer, 0));
    const ordinal = out.int;
    const name = fixedBuffer(256);
    this.check("cuDeviceGetName", driver.cuDeviceGetName(name, name.length, ordinal));
    this.name = textIn(name);
    const attribute = (key: keyof typeof ATTRIBUTES) => {
      this.check(
        "cuDeviceGetAttribute",
        driver.cuDeviceGetAttribute(out.buffer, ATTRIBUTES[key], ordinal),
      );
      return out.int;
    };
    this.warpSize = attribute("warpSize");
    this.maxThreadsPerBlock = attribute("maxThreadsPerBlock");
    this.multiprocessors = attribute("multiprocessors");
    this.#architecture = `sm_${attribute("computeCapabilityMajor")}${
      attribute("computeCapabilityMinor")
    }`;
    this.check(
      "cuDevicePrimaryCtxRetain",
      driver.cuDevicePrimaryCtxRetain(out.buffer, ordinal),
    );
    this.check("cuCtxSetCurrent", driver.cuCtxSetCurrent(out.size));
    // Queued work must end before the process takes down the libraries that it runs in.
    globalThis.addEventListener("unload", () => driver.cuDevicePrimaryCtxRelease_v2(ordinal));
    this.queue = createQueue(this);
  }

  /**
   * Opens the device of this process: the first NVIDIA device that answers, else the host driver, or
   * what the environment variable `OUTLIERSCOPE_DEVICE` (`cuda` or `host`) asks for. Its kernels are
   * compiled if they are not in the cache. Later calls return the same device.
   */
  static open(options: DeviceOptions = {}): Promise<Device> {
    shared ??= (async () => {
      const libraries = await openLibraries(() => options.onPrepare?.("building the host driver"));
      const device = new Device(libraries);
      let told = false;
      await device.load(kernelSources, () => {
        if (!told) options.onPrepare?.("compiling kernels");
        told = true;
      });
      return device;
    })().catch((error) => {
      shared = undefined; // what was missing may be installed before the next try
      throw error;
    });
    return shared;
  }

  /** Compiles sources, several at once, and loads their kernels. */
  async load(sources: KernelSource[], onCompile?: () => void): Promise<void> {
    const { driver } = this.libraries;
    const waiting = [...sources];
    const worker = async () => {
      for (let source = waiting.shift(); source; source = waiting.shift()) {
        const binary = await compileCached(
          this.libraries,
          source,
          this.#architecture,
          onCompile,
        );
        this.check(
          "cuModuleLoadData",
          driver.cuModuleLoadData(this.#out.buffer, binary),
          `while loading ${source.name}`,
        );
        const module = this.#out.size;
        for (const signature of parseKernels(source.text)) {
          this.check(
            "cuModuleGetFunction",
            driver.cuModuleGetFunction(this.#out.buffer, module, cString(signature.name)),
            `while looking for the kernel ${signature.name} in ${source.name}`,
          );
          this.#kernels.set(signature.name, new Kernel(this, this.#out.size, signature));
        }
      }
    };
    await Promise.all(Array.from({ length: Math.max(2, navigator.hardwareConcurrency) }, worker));
  }

  /** A loaded kernel by its name in the source. */
  kernel(name: string): Kernel {
    const kernel = this.#kernels.get(name);
    if (!kernel) throw new RangeError(`Cannot find the kernel "${name}": no loaded source has it`);
    return kernel;
  }

  /** Streams for independent pieces of work. */
  get lanes(): Lanes {
    return this.#lanes ??= new Lanes(this);
  }

  /** Throws a `CudaError` unless `code` is 0. */
  check(functionName: string, code: number, context?: string): void {
    if (code !== 0) checkDriver(this.libraries, functionName, code, context);
  }

  /** The same for a status of cuBLAS. */
  checkBlas(functionName: string, code: number, context?: string): void {
    if (code !== 0) checkCublas(this.libraries, functionName, code, context);
  }

  /** Bytes allocated and not freed. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** The largest value `liveBytes` ever had. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Number of kernels launched. */
  get launches(): number {
    return this.#launches;
  }

  /** Counts a launch; for {@linkcode Kernel}. */
  countLaunch(): void {
    this.#launches++;
  }

  /** Allocates `bytes` in the order of the stream; returns the device pointer. */
  allocate(bytes: number): number {
    const size = Math.max(bytes, 1);
    this.check(
      "cuMemAllocAsync",
      this.libraries.driver.cuMemAllocAsync(this.#out.buffer, size, this.queue.stream),
      `asked for ${bytes} bytes while ${this.#liveBytes} are in use`,
    );
    this.#liveBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return this.#out.size;
  }

  /** Frees what {@linkcode allocate} gave, after the work queued so far. */
  free(pointer: number, bytes: number): void {
    this.check("cuMemFreeAsync", this.libraries.driver.cuMemFreeAsync(pointer, this.queue.stream));
    this.#liveBytes -= bytes;
  }

  /** Copies bytes to the device in the order of the stream; `data` may be reused at once. */
  upload(pointer: number, data: ArrayBufferView<ArrayBuffer>): void {
    if (data.byteLength === 0) return;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.check(
      "cuMemcpyHtoDAsync_v2",
      this.libraries.driver.cuMemcpyHtoDAsync_v2(pointer, bytes, bytes.length, this.queue.stream),
    );
  }

  /** Copies bytes from the device as they are at this moment, whatever is queued. */
  read(data: ArrayBufferView<ArrayBuffer>, pointer: number): void {
    if (data.byteLength === 0) return;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.check(
      "cuMemcpyDtoH_v2",
      this.libraries.driver.cuMemcpyDtoH_v2(bytes, pointer, bytes.length),
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
      this.libraries.driver.cuMemcpyDtoDAsync_v2(to, from, bytes, this.queue.stream),
    );
  }

  /** Sets every byte to `value` in the order of the stream. */
  fill(pointer: number, value: number, bytes: number): void {
    this.check(
      "cuMemsetD8Async",
      this.libraries.driver.cuMemsetD8Async(pointer, value, bytes, this.queue.stream),
    );
  }

  /** Waits, blocking the thread, until all work queued so far is done. */
  synchronizeSync(): void {
    this.check("cuStreamSynchronize", this.libraries.driver.cuStreamSynchronize(this.queue.stream));
  }

  /** Waits until all work queued so far is done, letting other tasks (and signals) through. */
  async synchronize(): Promise<void> {
    await this.mark().reached();
  }

  /**
   * Marks this point of the stream. `reached()` waits until the work before it is done; it polls on this
   * thread, since a call on another thread would have no current context.
   */
  mark(): { reached(): Promise<void> } {
    const { driver } = this.libraries;
    let event = this.#idleEvents.pop();
    if (event === undefined) {
      const DISABLE_TIMING = 2;
      this.check("cuEventCreate", driver.cuEventCreate(this.#out.buffer, DISABLE_TIMING));
      event = this.#out.size;
    }
    this.check("cuEventRecord", driver.cuEventRecord(event, this.queue.stream));
    return {
      reached: async () => {
        const NOT_READY = 600;
        for (let polls = 0; event !== undefined; polls++) {
          const status = driver.cuEventQuery(event);
          if (status !== NOT_READY) {
            this.#idleEvents.push(event);
            event = undefined;
            this.check("cuEventQuery", status);
          } else {
            await new Promise((resolve) => setTimeout(resolve, polls < 4 ? 0 : 1));
          }
        }
      },
    };
  }
}
