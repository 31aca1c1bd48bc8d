// Tensors: typed, shaped views of device memory. Dtype and rank are part of the type; extents are
// checked at run time. New tensors are row-major and contiguous; views may have other strides.

import type { Device } from "../cuda/device.ts";
import { CudaError } from "../cuda/errors.ts";
import * as arithmetic from "./arithmetic.ts";
import { type BackwardOptions, runBackward } from "./autograd/backward.ts";
import { type Edge, type GradientHook, GraphNode } from "./autograd/graph.ts";
import { noGrad } from "./autograd/recording.ts";
import type { Axes, ReducedRank, ReduceOptions } from "./axes.ts";
import { contiguous } from "./contiguous.ts";
import { BYTES_PER_ELEMENT, type DataOf, type DType, isFloat, newData } from "./dtype.ts";
import { display } from "./display.ts";
import { asNumbers, nest, type NestedArray, print } from "./print.ts";
import { keep, own, type Owned } from "./scope.ts";
import { matmul, type MatmulRank } from "./matmul.ts";
import type { MaxRank } from "./rank.ts";
import { elements, isCount, isRowMajor, rowMajor } from "./strides.ts";
import * as sums from "./sums.ts";
import * as views from "./views.ts";

/** Extents of a tensor of rank R, outermost first. A tensor of known rank is one of unknown rank too. */
export type Shape<R extends number> = readonly number[] & { readonly length: R };

/** What arithmetic takes; it refuses other dtypes itself. */
type Num = Tensor<"float32">;

/** Memory shared by a tensor and its views; freed when the last of them is. */
class Storage {
	references = 0;
	version = 0;
	constructor(readonly device: Device, readonly pointer: number) {}
}

/** What a tensor holds on to, apart from the tensor, so that it can be let go of when that is lost. */
class Holding {
	edge: Edge | null = null;
	constructor(readonly storage: Storage) {
		storage.references++;
	}

	hold(edge: Edge): void {
		edge.node.retain();
		this.edge?.node.release();
		this.edge = edge;
	}

	release(): void {
		if (--this.storage.references === 0) this.storage.device.free(this.storage.pointer);
		this.edge?.node.release();
		this.edge = null;
	}
}

// The safety net: a tensor that was lost without being freed gives its memory back when it is collected.
// Nobody could catch an error there; what ails the device, its next call tells.
const lost = new FinalizationRegistry<Holding>((holding) => {
	try {
		holding.release();
	} catch (error) {
		if (!(error instanceof CudaError)) throw error;
	}
});

/** A tensor of dtype `D` and rank `R` in device memory. */
export class Tensor<out D extends DType = DType, out R extends number = number> implements Owned {
	/** Element type. */
	readonly dtype: D;
	/** Extents, outermost first. */
	readonly shape: Shape<R>;
	/** Elements from one entry to the next along each axis; 0 where one entry stands for all. */
	readonly strides: readonly number[];
	/** Whether the elements lie one after the other in row-major order. */
	readonly isContiguous: boolean;
	readonly #holding: Holding;
	readonly #offset: number;
	#freedBy: string | null = null;

	private constructor(
		dtype: D,
		shape: readonly number[],
		storage: Storage,
		offset: number,
		strides?: readonly number[],
	) {
		this.dtype = dtype;
		this.shape = Object.freeze([...shape]) as readonly number[] as Shape<R>;
		this.strides = Object.freeze(strides ? [...strides] : rowMajor(shape));
		this.isContiguous = strides === undefined || isRowMajor(shape, strides);
		this.#holding = new Holding(storage);
		this.#offset = offset;
		lost.register(this, this.#holding, this);
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
		return this.#holding.storage.device;
	}

	/** Number of elements. */
	get size(): number {
		return elements(this.shape);
	}

	/** Number of bytes. */
	get byteLength(): number {
		return this.size * BYTES_PER_ELEMENT[this.dtype];
	}

	/** Device pointer of the first element of a contiguous tensor. Throws if it is not, or if it was freed. */
	get pointer(): number {
		if (!this.isContiguous) {
			throw new RangeError(
				`Cannot take a ${this.dtype} tensor of shape [${this.shape}] and strides [${this.strides}] ` +
					"for a contiguous one: use contiguous()",
			);
		}
		return this.start;
	}

	/** Device pointer of the first element, whatever the strides. Throws if the tensor was freed. */
	get start(): number {
		if (this.#freedBy !== null) {
			throw new ReferenceError(
				`Cannot use a ${this.dtype} tensor of shape [${this.shape}]: it was freed by ${this.#freedBy}`,
			);
		}
		return this.#holding.storage.pointer + this.#offset;
	}

	/** Whether it was freed. */
	get disposed(): boolean {
		return this.#freedBy !== null;
	}

	/** Frees the memory, once no view needs it. Doing so twice is harmless. */
	dispose(by = "`using` or dispose()"): void {
		if (this.#freedBy !== null) return;
		this.#freedBy = by;
		lost.unregister(this);
		this.#holding.release();
	}

	/** The same as {@linkcode dispose}, for `using`. */
	[Symbol.dispose](): void {
		this.dispose();
	}

	/**
	 * A view of the same memory with any shape and strides, which no gradient flows through.
	 *
	 * @param offset elements from this tensor's first element to the view's
	 * @internal
	 */
	asStrided<S extends number>(
		shape: readonly number[],
		strides: readonly number[],
		offset = 0,
	): Tensor<D, S> {
		void this.start;
		const bytes = this.#offset + offset * BYTES_PER_ELEMENT[this.dtype];
		return new Tensor<D, S>(this.dtype, shape, this.#holding.storage, bytes, strides);
	}

	/**
	 * The same elements, which no gradient flows through.
	 * @internal
	 */
	alias(): Tensor<D, R> {
		return this.asStrided<R>(this.shape, this.strides);
	}

	/**
	 * The same as {@linkcode alias}, owned by no scope.
	 * @internal
	 */
	unownedAlias(): Tensor<D, R> {
		return keep(this.alias());
	}

	/**
	 * Whether no other tensor shares the memory.
	 * @internal
	 */
	get isExclusive(): boolean {
		return this.#holding.storage.references === 1;
	}

	/**
	 * How often the memory was changed in place.
	 * @internal
	 */
	get version(): number {
		return this.#holding.storage.version;
	}

	/**
	 * Says that the memory was changed in place.
	 * @internal
	 */
	changed(): void {
		this.#holding.storage.version++;
	}

	// Gradients.

	/** Whether gradients can flow through this dtype. */
	get isDifferentiable(): boolean {
		return isFloat(this.dtype);
	}

	/** Whether a backward pass will reach this tensor: a leaf that asked for it, or a result derived from one. */
	get requiresGrad(): boolean {
		return this.#holding.edge !== null;
	}

	/**
	 * Where the gradient of this tensor flows.
	 * @internal
	 */
	get edge(): Edge | null {
		return this.#holding.edge;
	}

	/**
	 * Makes this tensor a result of a recorded operation.
	 * @internal
	 */
	joinGraph(node: GraphNode, index: number): void {
		this.#holding.hold({ node, index });
	}

	/** Makes this tensor a leaf whose gradient backward passes add to {@linkcode grad}. Returns the tensor. */
	requireGrad(): this {
		void this.start;
		if (!this.isDifferentiable) {
			throw new TypeError(
				`Cannot compute gradients of ${this.dtype}: only of float32 and bfloat16`,
			);
		}
		if (!this.requiresGrad) this.joinGraph(new GraphNode("leaf", [], [], [], null), 0);
		return this;
	}

	/** The sum of the gradients that backward passes brought to this leaf; null before the first. */
	get grad(): Tensor<D, R> | null {
		const gradient = this.edge?.node.gradient;
		return gradient && !gradient.disposed ? gradient as Tensor<D, R> : null;
	}

	/** Frees the gradient: the next backward pass starts a new sum. */
	zeroGrad(): void {
		const node = this.edge?.node;
		node?.gradient?.dispose("zeroGrad()");
		if (node) node.gradient = null;
	}

	/**
	 * Computes the gradients of all leaves that this tensor derives from, and adds them to their {@linkcode grad}.
	 *
	 * @throws {RangeError} if the tensor has several elements and no gradient is given
	 */
	backward(options: BackwardOptions = {}): void {
		runBackward(this, options);
	}

	/**
	 * Has `hook` called with the gradient of this tensor in each backward pass, when it is complete. It may return
	 * another gradient of the same shape in its place.
	 *
	 * @returns a function that removes the hook
	 */
	onGradient(hook: (gradient: Tensor<D, R>) => Tensor<D, R> | void): () => void {
		if (!this.edge) throw new RangeError("Cannot hook a gradient: the tensor requires none");
		const { node: { hooks }, index } = this.edge;
		const set = hooks.get(index) ?? new Set();
		hooks.set(index, set.add(hook as GradientHook));
		return () => set.delete(hook as GradientHook);
	}

	/** The same elements as a tensor that no gradient flows through. */
	detach(): Tensor<D, R> {
		return this.alias();
	}

	// Views.

	/** The same elements with another shape: {@linkcode views.reshape}. */
	reshape<const S extends readonly number[]>(shape: S): Tensor<D, S["length"]> {
		return views.reshape(this, shape);
	}

	/** The entries `begin` to `end` (not included) along an axis: {@linkcode views.slice}. */
	slice(begin: number, end?: number, axis?: number): Tensor<D, R> {
		return views.slice<D, R>(this, begin, end, axis);
	}

	/** The axes in another order: {@linkcode views.permute}. */
	permute(axes: readonly number[]): Tensor<D, R> {
		return views.permute<D, R>(this, axes);
	}

	/** Two axes exchanged, by default the last two: {@linkcode views.transpose}. */
	transpose(first?: number, second?: number): Tensor<D, R> {
		return views.transpose<D, R>(this, first, second);
	}

	/** Repeated along axes of extent 1 and new leading ones, without copies: {@linkcode views.expand}. */
	expand<const S extends readonly number[]>(shape: S): Tensor<D, S["length"]> {
		return views.expand(this, shape);
	}

	// Arithmetic: the functions of the same names, of which there are many more.

	/** This + other, broadcast together: {@linkcode arithmetic.add}. */
	add<S extends number = 0>(other: Tensor<NoInfer<D>, S> | number): Tensor<D, MaxRank[R][S]> {
		return arithmetic.add(this as Num, other as Num) as Tensor as Tensor<D, MaxRank[R][S]>;
	}

	/** This - other, broadcast together: {@linkcode arithmetic.sub}. */
	sub<S extends number = 0>(other: Tensor<NoInfer<D>, S> | number): Tensor<D, MaxRank[R][S]> {
		return arithmetic.sub(this as Num, other as Num) as Tensor as Tensor<D, MaxRank[R][S]>;
	}

	/** This · other, element by element, broadcast together: {@linkcode arithmetic.mul}. */
	mul<S extends number = 0>(other: Tensor<NoInfer<D>, S> | number): Tensor<D, MaxRank[R][S]> {
		return arithmetic.mul(this as Num, other as Num) as Tensor as Tensor<D, MaxRank[R][S]>;
	}

	/** This / other, element by element, broadcast together: {@linkcode arithmetic.div}. */
	div<S extends number = 0>(other: Tensor<NoInfer<D>, S> | number): Tensor<D, MaxRank[R][S]> {
		return arithmetic.div(this as Num, other as Num) as Tensor as Tensor<D, MaxRank[R][S]>;
	}

	/** The matrix product of this and other, as float32: {@linkcode matmul}. */
	matmul<S extends number>(other: Tensor<NoInfer<D>, S>): Tensor<"float32", MatmulRank[R][S]> {
		return matmul(this as Num, other as Num) as Tensor as Tensor<"float32", MatmulRank[R][S]>;
	}

	/** The sum over axes, by default all: {@linkcode sums.sum}. */
	sum<const A extends Axes | undefined = undefined, K extends boolean = false>(
		axes?: A,
		options?: ReduceOptions<K>,
	): Tensor<D, ReducedRank<R, A, K>> {
		return sums.sum(this as Num, axes, options) as Tensor as Tensor<D, ReducedRank<R, A, K>>;
	}

	/** The mean over axes, by default all: {@linkcode sums.mean}. */
	mean<const A extends Axes | undefined = undefined, K extends boolean = false>(
		axes?: A,
		options?: ReduceOptions<K>,
	): Tensor<D, ReducedRank<R, A, K>> {
		return sums.mean(this as Num, axes, options) as Tensor as Tensor<D, ReducedRank<R, A, K>>;
	}

	// Reading.

	/** The elements, once all work queued so far is done (bfloat16: its 16 bits). */
	async data(): Promise<DataOf<D>> {
		using dense = this.#dense();
		const array = newData(this.dtype, this.size);
		await this.device.download(array, dense.pointer);
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

	/** A contiguous tensor of the same elements, to be freed by the caller. */
	#dense(): Tensor<D, R> {
		return keep(this.isContiguous ? this.alias() : noGrad(() => contiguous(this)));
	}

	/** The elements once all work queued so far is done, blocking the thread. */
	dataSync(): DataOf<D> {
		using dense = this.#dense();
		const array = newData(this.dtype, this.size);
		this.device.downloadSync(array, dense.pointer);
		return array;
	}

	/** The elements as numbers, bfloat16 too, once all work queued so far is done. */
	async numbers(): Promise<number[]> {
		return asNumbers(this.dtype, await this.data());
	}

	/** The elements as nested lists of numbers, bfloat16 too, blocking the thread as {@linkcode dataSync} does. */
	toArray(): NestedArray<R> {
		return nest(asNumbers(this.dtype, this.dataSync()), this.shape) as NestedArray<R>;
	}

	/** The one element of a tensor as a number, blocking the thread. Throws if there are none or several. */
	item(): number {
		if (this.size !== 1) {
			throw new RangeError(
				`Cannot take [${this.shape}] for one number: it has ${this.size} elements; use toArray()`,
			);
		}
		return asNumbers(this.dtype, this.dataSync())[0]!;
	}

	/**
	 * Dtype, shape, device and the elements: all of a few, else the ends of long axes. Only what is shown is read,
	 * blocking the thread. Of a freed tensor it says so.
	 */
	toString(): string {
		return print(this);
	}

	/** What `console.log` shows: the same as {@linkcode toString}. */
	[Symbol.for("Deno.customInspect")](): string {
		return print(this);
	}

	/** What a notebook shows: the same as text, and a table whose cells are coloured by sign and size. */
	[Symbol.for("Jupyter.display")](): Record<string, string> {
		return display(this);
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
