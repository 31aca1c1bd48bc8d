// Statistics of |x| of a tensor, computed on its device: what every detector starts from. Only results
// of a few kilobytes are read back, and only when asked, so that the device never waits for the reader.

import { Kernel, Tensor } from "../tensor/mod.ts";

/** Words of the kernels' `selection`, and bins of their largest table. */
const SELECTION = 20, BINS = 8192;
/** Places of the list of largest values: `LISTED` that exceed the last, the rest for its equals. */
const CAPACITY = 1024;
/** How many of the largest values are found. */
export const LISTED = 256;
/** Places for what may be among the largest; as the sample has it, four times as many as are wanted. */
const CANDIDATES = 64 * LISTED;

/** An entry of a matrix. */
export interface Entry {
	/** The signed value. */
	value: number;
	/** Row index. */
	row: number;
	/** Column index. */
	column: number;
}

/** Statistics of |x| over all entries of a matrix. */
export interface Magnitudes {
	/** mean|x| */
	mean: number;
	/** Lower median of |x|. */
	median: number;
	/** How many entries have |x| > τ · mean|x|. */
	over: number;
	/** The largest entries by |x|, descending, equal ones in row-major order; {@linkcode LISTED} at most. */
	largest: Entry[];
}

/**
 * Throws if values are no numbers that statistics make sense of, as from a file with damaged data.
 *
 * @param where the tensor they come from, for the message
 */
export function checkFinite({ largest }: Magnitudes, where: string): void {
	const wrong = largest.find(({ value }) => !Number.isFinite(value));
	if (wrong) {
		throw new Error(
			`Cannot analyze ${where}: it holds ${wrong.value} (row ${wrong.row}, column ${wrong.column}); ` +
				`the model's file may be damaged`,
		);
	}
}

/** max|x| and mean|x| along one axis. */
export interface AxisMagnitudes {
	/** max|x| of each row or column. */
	maxima: Float32Array;
	/** mean|x| of each row or column. */
	means: Float32Array;
}

/** Results on their way. */
export interface Pending<T> extends Disposable {
	/**
	 * Reads the results and frees their memory on the device. Before that the device must be done with
	 * them: wait for a mark set after they were queued.
	 */
	read(): T;
}

/**
 * Queues the statistics of |x| over all entries of x.
 *
 * @param x [rows, columns], fewer than 2³² entries
 * @param tau τ; entries with |x| > τ · mean|x| are counted
 * @param means [rows]: if given, each entry counts as a multiple of its row's mean instead; a row of mean 0
 *   counts as zeros
 */
export function magnitudes(
	x: Tensor<"float32", 2>,
	tau: number,
	means?: Tensor<"float32", 1>,
): Pending<Magnitudes> {
	const { device } = x;
	const [rows, columns] = x.shape;
	const count = x.size;
	if (count === 0 || count >= 2 ** 32) {
		throw new RangeError(`Cannot take statistics of ${count} entries: need 1 to 2^32 - 1`);
	}
	// The more are sampled, the fewer lie within the bounds; sampling and finding these cost about the same.
	const every = Math.min(64, Math.max(1, Math.floor(count / 32768)));
	const room = Math.ceil(count / 8);
	const warps = Kernel.warpsForRows(device, rows);
	const selection = Tensor.empty<"uint32", 1>(device, "uint32", [SELECTION]);
	const list = Tensor.empty<"uint32", 2>(device, "uint32", [CAPACITY, 2]);
	using bins = Tensor.zeros<"uint32", 1>(device, "uint32", [BINS]);
	using sums = Tensor.empty<"float64", 1>(device, "float64", [warps]);
	using middle = Tensor.empty<"uint32", 1>(device, "uint32", [room]);
	using candidates = Tensor.empty<"uint32", 2>(device, "uint32", [CANDIDATES, 2]);
	const data = [x.pointer, means?.pointer ?? 0, rows, columns] as const;
	const lists = [middle.pointer, candidates.pointer] as const;
	const kernel = (name: string) => device.kernel(`magnitude_${name}`);
	kernel("sample").perMultiprocessor(bins.pointer, ...data, every);
	kernel("bounds").once(selection.pointer, bins.pointer, count, LISTED);
	kernel("scan")
		.overRows(rows, selection.pointer, sums.pointer, ...lists, ...data, room, CANDIDATES);
	kernel("begin")
		.once(selection.pointer, sums.pointer, warps, count, LISTED, tau, room, CANDIDATES);
	for (let known = 0; known < 31; known += 11) {
		kernel("refine").perMultiprocessor(bins.pointer, selection.pointer, ...lists, ...data);
		kernel("narrow").once(selection.pointer, bins.pointer);
	}
	kernel("collect").overElements(
		count,
		selection.pointer,
		list.pointer,
		candidates.pointer,
		...data,
		LISTED,
		CAPACITY,
	);

	const dispose = () => {
		selection.dispose();
		list.dispose();
	};
	return {
		[Symbol.dispose]: dispose,
		read() {
			const integers = selection.readNow();
			const floats = new Float32Array(integers.buffer);
			const pairs = list.readNow();
			const values = new Float32Array(pairs.buffer);
			dispose();
			const [low, offset, greater, ties, over] = [0, 10, 15, 16, 17].map((i) => integers[i]!);
			const slots = [
				...Array(Math.min(greater!, LISTED)).keys(),
				...Array(Math.min(ties!, CAPACITY - LISTED)).keys().map((slot) => LISTED + slot),
			];
			const largest = slots
				.map((slot) => ({ index: pairs[2 * slot]!, value: values[2 * slot + 1]! }))
				.sort((a, b) => Math.abs(b.value) - Math.abs(a.value) || a.index - b.index)
				.slice(0, LISTED)
				.map(({ index, value }) => ({
					value,
					row: Math.floor(index / columns),
					column: index % columns,
				}));
			const median = new Float32Array(Uint32Array.of(low! + offset!).buffer)[0]!;
			return { mean: floats[19]!, median, over: over!, largest };
		},
	};
}

/** Queues max|x| and mean|x| of each row of x [rows, columns]; `means` stays on the device until read. */
export function rowMagnitudes(
	x: Tensor<"float32", 2>,
): Pending<AxisMagnitudes> & { means: Tensor<"float32", 1> } {
	const { device } = x;
	const [rows, columns] = x.shape;
	const maxima = Tensor.empty<"float32", 1>(device, "float32", [rows]);
	const means = Tensor.empty<"float32", 1>(device, "float32", [rows]);
	device.kernel("row_magnitudes")
		.overRows(rows, maxima.pointer, means.pointer, x.pointer, rows, columns);
	const dispose = () => {
		maxima.dispose();
		means.dispose();
	};
	return {
		means,
		[Symbol.dispose]: dispose,
		read() {
			const result = { maxima: maxima.readNow(), means: means.readNow() };
			dispose();
			return result;
		},
	};
}

/** Queues max|x|, mean|x| and the first row of the maximum, of each column of x [rows, columns]. */
export function columnMagnitudes(
	x: Tensor<"float32", 2>,
): Pending<AxisMagnitudes & { rows: Int32Array }> {
	const { device } = x;
	const [rows, columns] = x.shape;
	const maxima = Tensor.empty<"float32", 1>(device, "float32", [columns]);
	const means = Tensor.empty<"float32", 1>(device, "float32", [columns]);
	const rowsOf = Tensor.empty<"int32", 1>(device, "int32", [columns]);
	device.kernel("column_magnitudes").overRows(
		Math.ceil(columns / 32),
		maxima.pointer,
		rowsOf.pointer,
		means.pointer,
		x.pointer,
		rows,
		columns,
	);
	const dispose = () => {
		maxima.dispose();
		means.dispose();
		rowsOf.dispose();
	};
	return {
		[Symbol.dispose]: dispose,
		read() {
			const result = {
				maxima: maxima.readNow(),
				means: means.readNow(),
				rows: rowsOf.readNow(),
			};
			dispose();
			return result;
		},
	};
}
