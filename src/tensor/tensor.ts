// Tensors: typed, shaped views of device memory. Dtype and rank are part of the type; extents are
// checked at run time. Data is row-major and contiguous.

import type { Device } from "../cuda/device.ts";
import { BYTES_PER_ELEMENT, type DataOf, type DType, newData } from "./dtype.ts";
import { own, type Owned } from "./scope.ts";

/** Extents of a tensor of rank R, outermost first. A tensor of known rank is one of unknown rank too. */
export type Shape<R extends number> = readonly number[] & { readonly length: R };

/** Memory shared by a tensor and its views; freed when the last of them is. */
class Storage {
  references = 0;
  constructor(readonly device: Device, readonly pointer: number) {}

  release(): void {
    if (--this.references === 0) this.device.free(this.pointer);
  }
}

// The safety net: a tensor that was lost without being freed gives its memory back when it is collected.
const lost = new FinalizationRegistry<Storage>((storage) => storage.release());

function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

const isCount = (extent: number) => Number.isSafeInteger(extent) && extent >= 0;

/** A tensor of dtype `D` and rank `R` in device memory. */
export class Tensor<out D extends DType = DType, out R extends number = number> implements Owned {
  /** Element type. */
  readonly dtype: D;
  /** Extents, outermost first. */
  readonly shape: Shape<R>;
  readonly #storage: Storage;
  readonly #offset: number;
  #disposed = false;

  private constructor(dtype: D, shape: Shape<R>, storage: Storage, offset: number) {
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]) as readonly number[] as Shape<R>;
    this.#storage = storage;
    this.#offset = offset;
    storage.references++;
    lost.register(this, storage, this);
    own(this);
  }

  /** A tensor whose elements have no particular value yet. */
  static empty<D extends DType, R extends number>(
    device: Device,
    dtype: D,
    shape: Shape<R>,
  ): Tensor<D, R> {
    if (!shape.every(isCount)) {
      throw new RangeError(
        `Cannot make a tensor of shape [${shape}]: extents must be whole and not negative`,
      );
    }
    const bytes = elements(shape) * BYTES_PER_ELEMENT[dtype];
    return new Tensor(dtype, shape, new Storage(device, device.allocate(bytes)), 0);
  }

  /** A tensor whose bytes are all zero. */
  static zeros<D extends DType, R extends number>(
    device: Device,
    dtype: D,
    shape: Shape<R>,
  ): Tensor<D, R> {
    const tensor = Tensor.empty<D, R>(device, dtype, shape);
    if (tensor.size > 0) device.fill(tensor.pointer, 0, tensor.byteLength);
    return tensor;
  }

  /** A tensor with the given elements in row-major order (bfloat16: its 16 bits). */
  static from<D extends DType, R extends number>(
    device: Device,
    dtype: D,
    shape: Shape<R>,
    data: ArrayLike<number>,
  ): Tensor<D, R> {
    if (data.length !== elements(shape)) {
      throw new RangeError(
        `Cannot make a tensor of shape [${shape}] from ${data.length} elements: ` +
          `it has ${elements(shape)}`,
      );
    }
    const tensor = Tensor.empty<D, R>(device, dtype, shape);
    const array = newData(dtype, data.length);
    array.set(data);
    device.upload(tensor.pointer, array);
    return tensor;
  }

  /** The device that holds the elements. */
  get device(): Device {
    return this.#storage.device;
  }

  /** Number of elements. */
  get size(): number {
    return elements(this.shape);
  }

  /** Number of bytes. */
  get byteLength(): number {
    return this.size * BYTES_PER_ELEMENT[this.dtype];
  }

  /** Device pointer of the first element. Throws if the tensor was freed. */
  get pointer(): number {
    if (this.#disposed) {
      throw new ReferenceError(
        `Cannot use a ${this.dtype} tensor of shape [${this.shape}]: it was freed, ` +
          `by its scope, by \`using\` or by dispose()`,
      );
    }
    return this.#storage.pointer + this.#offset;
  }

  /** Whether it was freed. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Frees the memory, once no view needs it. Doing so twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    lost.unregister(this);
    this.#storage.release();
  }

  /** The same as {@linkcode dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** A view of the same elements with another shape. */
  reshape<S extends number>(shape: Shape<S>): Tensor<D, S> {
    if (!shape.every(isCount) || elements(shape) !== this.size) {
      throw new RangeError(
        `Cannot reshape [${this.shape}] to [${shape}]: ` +
          (shape.every(isCount)
            ? `${this.size} elements are not ${elements(shape)}`
            : "extents must be whole and not negative"),
      );
    }
    void this.pointer;
    return new Tensor<D, S>(this.dtype, shape, this.#storage, this.#offset);
  }

  /** A view of the entries `begin` to `end` (not included) along the first axis. */
  slice(begin: number, end: number): Tensor<D, R> {
    const [first, ...rest] = this.shape;
    if (first === undefined || ![begin, end].every(isCount) || begin > end || end > first) {
      throw new RangeError(
        `Cannot slice ${begin} to ${end} from a tensor of shape [${this.shape}]`,
      );
    }
    void this.pointer;
    const stride = elements(rest) * BYTES_PER_ELEMENT[this.dtype];
    return new Tensor(
      this.dtype,
      [end - begin, ...rest] as unknown as Shape<R>,
      this.#storage,
      this.#offset + begin * stride,
    );
  }

  /** The elements, once all work queued so far is done (bfloat16: its 16 bits). */
  async data(): Promise<DataOf<D>> {
    const array = newData(this.dtype, this.size);
    const pointer = this.pointer;
    await this.device.download(array, pointer);
    return array;
  }

  /**
   * The elements as they are at this moment. Only after a mark of the device that was set later than the
   * work that writes them has been reached; else what comes is stale.
   */
  readNow(): DataOf<D> {
    const array = newData(this.dtype, this.size);
    this.device.read(array, this.pointer);
    return array;
  }

  /** The elements once all work queued so far is done, blocking the thread. */
  dataSync(): DataOf<D> {
    const array = newData(this.dtype, this.size);
    this.device.downloadSync(array, this.pointer);
    return array;
  }
}

/** Throws unless `actual` equals `expected`; names the operation and the operand. */
export function checkShape(
  operation: string,
  operand: string,
  actual: readonly number[],
  expected: readonly number[],
): void {
  if (actual.length !== expected.length || actual.some((extent, i) => extent !== expected[i])) {
    throw new RangeError(
      `Cannot compute ${operation}: ${operand} must have shape [${expected}], got [${actual}]`,
    );
  }
}
