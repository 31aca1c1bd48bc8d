// Attention over heads by products and row kernels. Scores exist for some queries of the heads that share a
// key-value head at a time, or for all queries of a few where those are few, so memory never grows with
// heads × T², forward or backward; the backward pass computes them again. These pieces of work are independent
// and run side by side.

import type { Device } from "../../cuda/device.ts";
import { gemm, type GemmOperand } from "../../cuda/gemm.ts";
import { addInPlace } from "../../tensor/arithmetic.ts";
import { defineOp } from "../../tensor/autograd/define_op.ts";
import { contiguous } from "../../tensor/contiguous.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { inType } from "../../tensor/precision.ts";
import { defaultGenerator, type Generator } from "../../tensor/random.ts";
import { swapAxes } from "../../tensor/swap_axes.ts";
import { checkShape, Tensor } from "../../tensor/tensor.ts";

/** Rows of scores for each multiprocessor that works on them: few enough that they stay in its cache. */
const ROWS_PER_MULTIPROCESSOR = 192;
/** Scores of several key-value heads at a time are at most so many, of a multiprocessor: half a megabyte. */
const SCORES_PER_MULTIPROCESSOR = 2 ** 17;
/** Numbers of keys are multiples of this, so that few different products have to be prepared. */
const KEY_STEP = 128;

/** Queries, keys and values of B sequences, split into heads. */
export interface Heads<D extends FloatType = FloatType> {
	/** [B·kv, T, g, d]: the g heads that share a key-value head side by side; head k·g + i is [b·kv + k, :, i, :] */
	q: Tensor<D, 4>;
	/** [B·kv, S, d], S ≥ T: the queries are the last T of S positions */
	k: Tensor<D, 3>;
	/** [B·kv, S, d] */
	v: Tensor<D, 3>;
}

/** What queries see, and how. */
export interface AttentionOptions {
	/** B: how many sequences lie one after the other. @default {1} */
	batch?: number;
	/** Whether a query sees only the keys up to its own. @default {true} */
	causal?: boolean;
	/** How many keys a query sees, itself included; of causal attention only. */
	window?: number | undefined;
	/** ALiBi's slope of each head, [n]: logits are lowered by slope · |key - query|. */
	slopes?: Tensor<"float32", 1> | null;
	/** What products of queries and keys are multiplied by. @default {1/√d} */
	scale?: number;
	/** [n, S]: Â_j = Σ_i A[i, j] of each head is added to it (paper §3.1). Of one sequence, unrecorded. */
	cumulative?: Tensor<"float32", 2> | undefined;
	/** Leaves out weights by chance, for training; sums and maps are those before. */
	dropout?: AttentionDropout | undefined;
}

/** Dropout of attention weights. */
export interface AttentionDropout {
	/** Of each weight to be left out; those that stay are divided by 1 - probability. */
	probability: number;
	/** Where the numbers come from; by default the default generator. */
	generator?: Generator;
}

/** Dropout as the kernel takes it; the backward pass repeats the draw. */
type Drop = readonly [seed: number, draw: number, below: number, scale: number] | null;

function drawDropout({ dropout }: AttentionOptions): Drop {
	if (!dropout || dropout.probability === 0) return null;
	const { probability: p, generator = defaultGenerator } = dropout;
	if (!(p > 0 && p < 1)) {
		throw new RangeError(
			`Cannot compute attention: the probability of dropout is ${p}, not from 0 to below 1`,
		);
	}
	const { seed, offset } = generator.draw();
	return [seed, offset, Math.round(p * 2 ** 32), 1 / (1 - p)];
}

/**
 * How logits z become weights, and the numbers that a kind needs: `softmax`; `clipped` (stretch, low), clip(stretch ·
 * softmax(z) + low, 0, 1); `sigmoid` (bias), σ(z + bias); `softpick` (epsilon), max(exp z - 1, 0) / (Σ |exp z - 1| +
 * epsilon).
 */
export type Weighting = readonly [
	kind: "softmax" | "clipped" | "sigmoid" | "softpick",
	...numbers: number[],
];

/** Sizes of one call, and how its work is divided. */
class Plan {
	readonly device: Device;
	readonly dtype: FloatType;
	readonly batch: number;
	readonly folded: number; // B·kv
	readonly kv: number;
	readonly queries: number; // T
	readonly keys: number; // S
	readonly group: number;
	readonly d: number;
	readonly scale: number;
	readonly window: number;
	readonly causal: boolean;
	readonly block: number; // queries at a time
	readonly together: number; // key-value heads at a time; if several, with all of their queries

	constructor({ q, k, v }: Heads, options: AttentionOptions) {
		const [folded, queries, group, d] = q.shape, keys = k.shape[1];
		const { batch = 1, causal = true, window = 0, scale, slopes, cumulative } = options;
		checkShape("attention", "the keys", k.shape, [folded, keys, d]);
		checkShape("attention", "the values", v.shape, [folded, keys, d]);
		if (folded % batch !== 0 || keys < queries) {
			throw new RangeError(
				`Cannot compute attention of queries [${q.shape}] and keys [${k.shape}] of ${batch} sequences`,
			);
		}
		if (window && !causal) {
			throw new RangeError("Cannot compute attention: a window must be causal");
		}
		const heads = folded / batch * group;
		if (slopes) checkShape("attention", "the slopes", slopes.shape, [heads]);
		if (cumulative) {
			checkShape("attention", "the cumulative attention", cumulative.shape, [heads * batch, keys]);
		}
		this.device = q.device;
		this.dtype = q.dtype;
		this.batch = batch;
		this.folded = folded;
		this.kv = folded / batch;
		this.queries = queries;
		this.keys = keys;
		this.group = group;
		this.d = d;
		this.scale = scale ?? 1 / Math.sqrt(d);
		this.window = window;
		this.causal = causal;
		const { lanes, multiprocessors } = this.device;
		const share = multiprocessors / lanes.count;
		const fitting = Math.floor(SCORES_PER_MULTIPROCESSOR * share / (queries * group * keys));
		// Of one sequence, where it has several: they lie side by side in the context.
		const most = slopes || cumulative ? 1 : Math.min(fitting, this.kv > 1 ? this.kv : folded);
		this.together = Math.max(1, most);
		while (folded % this.together || this.kv > 1 && this.kv % this.together) this.together--;
		this.block = fitting >= 1
			? queries
			: Math.min(queries, Math.max(1, Math.round(ROWS_PER_MULTIPROCESSOR * share / group)));
	}

	get blocks(): number {
		return Math.ceil(this.queries / this.block);
	}

	/** Memory for one block's scores, for each lane. */
	scratch(stack: DisposableStack, type: FloatType): number[] {
		const { device, block, group, keys, together } = this;
		return Array.from(
			{ length: device.lanes.count },
			() => stack.use(Tensor.empty(device, type, [together * block * group, keys])).pointer,
		);
	}

	/** The queries of a block: the first, how many, and how many keys the last of them sees at most. */
	rangeOf(block: number): { first: number; count: number; keys: number } {
		const first = block * this.block, count = Math.min(this.block, this.queries - first);
		const seen = this.causal ? this.keys - this.queries + first + count : this.keys;
		// The keys after them are invisible to all of these queries.
		return { first, count, keys: Math.min(this.keys, Math.ceil(seen / KEY_STEP) * KEY_STEP) };
	}

	/** Leaves out some elements of rows of weights or their gradients, of which `firstRow` is the first. */
	drop(drop: Drop, at: number, rows: number, seen: number, firstRow: number, type = this.dtype) {
		if (!drop) return;
		this.device.kernel(`dropout_rows_${type}`)
			.overRows(rows, at, rows, seen, seen, firstRow, ...drop);
	}

	/** c = a · b, or a · bᵀ or aᵀ · b, of the heads that are done together. */
	product(
		a: GemmOperand,
		b: GemmOperand,
		c: GemmOperand,
		sizes: { rows: number; columns: number; inner: number },
		more: { transposeA?: boolean; transposeB?: boolean; beta?: number; output?: FloatType } = {},
	): void {
		gemm(this.device, { a, b, c, ...sizes, ...more, batch: this.together, input: this.dtype });
	}
}

/** Scores of the heads that are done together, one behind the other. */
const scoresAt = (pointer: number, rows: number, seen: number): GemmOperand => ({
	pointer,
	rowStride: seen,
	batchStride: rows * seen,
});

const attentionOp = defineOp("attention", (
	queries: Tensor<FloatType, 4>,
	keys: Tensor<FloatType, 3>,
	values: Tensor<FloatType, 3>,
	options: AttentionOptions,
	[kind, ...numbers]: Weighting,
	drop: Drop,
) => {
	const q = contiguous(queries), k = contiguous(keys), v = contiguous(values);
	const plan = new Plan({ q, k, v }, options);
	const { device, dtype, batch, folded, kv, group, d, together } = plan;
	const { cumulative } = options, slopes = options.slopes ?? null;
	const T = plan.queries,
		S = plan.keys,
		size = dtype === "bfloat16" ? 2 : 4,
		width = kv * group * d;
	const logSums = Tensor.empty<"float32", 3>(device, "float32", [folded, T, group]);
	const visible = [plan.window, Number(plan.causal)] as const;
	/** Rows of d of the heads from `head` on, from row `first` of each on, each head having `rows` of them. */
	const matrices = (pointer: number, head: number, rows: number, first = 0, bytes = size) => ({
		pointer: pointer + (head * rows + first) * d * bytes,
		rowStride: d,
		batchStride: rows * d,
	});
	// A head that shares its keys with none has its place in the context's rows, others are moved there.
	const output = group === 1
		? Tensor.empty<FloatType, 2>(device, dtype, [batch * T, width])
		: Tensor.empty<"float32", 4>(device, "float32", [batch, kv, T, group * d]);
	const outputAt = (head: number, first: number): GemmOperand =>
		group === 1
			? {
				pointer: output.pointer +
					((Math.floor(head / kv) * T + first) * width + head % kv * d) * size,
				rowStride: width,
				batchStride: kv > 1 ? d : T * d,
			}
			: matrices(output.pointer, head, T * group, first * group, 4);

	using stack = new DisposableStack();
	const scores = plan.scratch(stack, "float32");
	const weights = dtype === "bfloat16" ? plan.scratch(stack, dtype) : scores;
	// Blocks of a head may be on several lanes at a time: each lane has sums of its own.
	const parts = [device.lanes.count, folded * group, S] as const;
	const sums = cumulative && Tensor.zeros<"float32", 3>(device, "float32", parts);
	const groups = folded / together;
	device.lanes.run(groups * plan.blocks, (item, lane) => {
		const head = item % groups * together;
		const range = plan.rangeOf(plan.blocks - 1 - Math.floor(item / groups)); // the longest rows first
		const seen = range.keys, position = S - T + range.first, rows = range.count * group;
		const firstRow = (head * T + range.first) * group, all = rows * together;
		const square = { rows, columns: seen, inner: d };
		const scratch = (memory: number[]) => scoresAt(memory[lane]!, rows, seen);
		plan.product(
			matrices(q.pointer, head, T * group, range.first * group),
			matrices(k.pointer, head, S),
			scratch(scores),
			square,
			{ transposeB: true },
		);
		device.kernel(`attention_${kind}_${dtype}`).overRows(
			all,
			weights[lane]!,
			scores[lane]!,
			logSums.pointer + firstRow * 4,
			slopes ? slopes.pointer + head % kv * group * 4 : 0,
			...[all, group, range.count, position, seen, seen, plan.scale, ...visible, ...numbers],
		);
		if (cumulative) {
			device.kernel(`attention_column_sums_${dtype}`).overRows(
				group * Math.ceil(seen / 32),
				sums!.pointer + (lane * folded + head) * group * S * 4,
				weights[lane]!,
				group,
				range.count,
				seen,
				seen,
				S,
			);
		}
		plan.drop(drop, weights[lane]!, all, seen, firstRow);
		plan.product(
			scratch(weights),
			matrices(v.pointer, head, S),
			outputAt(head, range.first),
			{ rows, columns: d, inner: seen },
			{ output: output.dtype },
		);
	});
	for (let lane = 0; cumulative && lane < device.lanes.count; lane++) {
		addInPlace(cumulative, sums!.slice(lane, lane + 1).reshape(cumulative.shape));
	}
	const context = group === 1
		? output
		: swapAxes(output as Tensor<"float32", 4>, dtype).reshape([batch * T, width]); // B T kv gd
	return {
		result: [context as Tensor, logSums as Tensor] as const,
		inputs: [queries, keys, values],
		saved: [q, k, v, context, logSums, ...slopes ? [slopes] : []],
		backward: ([given, dLogSums], [q, k, v, context, logSums, slopes]) => {
			const dContext = given ? contiguous(given) : Tensor.zeros(device, dtype, context!.shape);
			const dLog = dLogSums ? contiguous(dLogSums) : null;
			const dy = Tensor.empty(device, dtype, [folded, T, group, d]);
			// Each row of weights sums to 1, so its mean gradient is dy · y; a weight moves log Σ exp too.
			const deltas = Tensor.empty<"float32", 3>(device, "float32", [folded, T, group]);
			device.kernel(`attention_deltas_${dtype}`).overRows(
				folded * T * group,
				deltas.pointer,
				dy.pointer,
				dContext.pointer,
				context!.pointer,
				dLog?.pointer ?? 0,
				batch,
				T,
				kv,
				group,
				d,
			);
			// Sums over blocks begin at 0 and are float32; where one block is all, it writes the gradients.
			const whole = plan.blocks === 1, type = whole ? dtype : "float32", bytes = whole ? size : 4;
			const dq = Tensor.empty(device, dtype, q!.shape);
			const [dk, dv] = [k!, v!].map(({ shape }) =>
				whole ? Tensor.empty(device, type, shape) : Tensor.zeros(device, type, shape)
			);

			using stack = new DisposableStack();
			const scores = plan.scratch(stack, "float32"), dWeights = plan.scratch(stack, "float32");
			const weights = dtype === "bfloat16" ? plan.scratch(stack, dtype) : scores;
			const dScores = dtype === "bfloat16" ? plan.scratch(stack, dtype) : dWeights;
			// One lane does all blocks of a key-value head, in order: their sums are the same each time.
			device.lanes.run(folded / together, (item, lane) => {
				const head = item * together;
				const atKeys = ({ pointer }: Tensor, bytes = size) => matrices(pointer, head, S, 0, bytes);
				for (let block = 0; block < plan.blocks; block++) {
					const { first, count, keys: seen } = plan.rangeOf(block), rows = count * group;
					const firstRow = (head * T + first) * group, all = rows * together;
					const atQueries = ({ pointer }: Tensor) =>
						matrices(pointer, head, T * group, first * group);
					const scratch = (memory: number[]) => scoresAt(memory[lane]!, rows, seen);
					const square = { rows, columns: seen, inner: d }, transposed = { transposeB: true };
					plan.product(atQueries(q!), atKeys(k!), scratch(scores), square, transposed);
					plan.product(atQueries(dy), atKeys(v!), scratch(dWeights), square, transposed);
					plan.drop(drop, dWeights[lane]!, all, seen, firstRow, "float32");
					const memory = [weights, dScores, scores, dWeights].map((each) => each[lane]!);
					device.kernel(`attention_${kind}_backward_${dtype}`).overRows(
						all,
						...memory,
						logSums!.pointer + firstRow * 4,
						deltas.pointer + firstRow * 4,
						slopes ? slopes.pointer + head % kv * group * 4 : 0,
						...[all, group, count, S - T + first, seen, seen, plan.scale, ...visible, ...numbers],
					);
					plan.drop(drop, weights[lane]!, all, seen, firstRow);
					plan.product(
						scratch(dScores),
						atKeys(k!),
						atQueries(dq),
						{ rows, columns: d, inner: seen },
						{ output: dtype },
					);
					const down = { rows: seen, columns: d, inner: rows };
					const more = { transposeA: true, beta: whole ? 0 : 1, output: type } as const;
					plan.product(scratch(dScores), atQueries(q!), atKeys(dk!, bytes), down, more);
					plan.product(scratch(weights), atQueries(dy), atKeys(dv!, bytes), down, more);
				}
			});
			return [dq, dk!, dv!].map((gradient) => inType(gradient as Tensor<FloatType>, dtype));
		},
	};
});

/** Attention's result, and what other softmaxes need of it. */
export interface AttentionResult<D extends FloatType> {
	/** [B·T, n·d], the heads side by side, of the type of the heads */
	context: Tensor<D, 2>;
	/** log Σ exp of the logits that each query sees, [B·kv, T, g] */
	logSums: Tensor<"float32", 3>;
}

/**
 * Softmax attention: softmax(scale · q·kᵀ + bias) · v, with the logarithm of each softmax's denominator, through
 * which gradients flow as well: with it, extra keys and other denominators are arithmetic of one number a query.
 *
 * @param heads if bfloat16, weights are rounded to it for the product
 * @throws {RangeError} if the shapes do not fit
 */
export function softmaxAttentionWithSums<D extends FloatType>(
	{ q, k, v }: Heads<D>,
	options: AttentionOptions = {},
): AttentionResult<D> {
	const [context, logSums] = attentionOp(q, k, v, options, ["softmax"], drawDropout(options));
	return { context: context as Tensor<D, 2>, logSums: logSums as Tensor<"float32", 3> };
}

/**
 * The same without the sums.
 *
 * @returns [B·T, n·d], the heads side by side, of the type of `heads`
 */
export function softmaxAttention<D extends FloatType>(
	heads: Heads<D>,
	options: AttentionOptions = {},
): Tensor<D, 2> {
	const { context, logSums } = softmaxAttentionWithSums(heads, options);
	logSums.dispose();
	return context;
}

/**
 * Attention with other weights than softmax's.
 *
 * @returns [B·T, n·d], the heads side by side, of the type of `heads`
 * @throws {RangeError} if the shapes do not fit
 */
export function weightedAttention<D extends FloatType>(
	{ q, k, v }: Heads<D>,
	options: AttentionOptions,
	weighting: Weighting,
): Tensor<D, 2> {
	const [context, unused] = attentionOp(q, k, v, options, weighting, drawDropout(options));
	unused.dispose();
	return context as Tensor<D, 2>;
}
