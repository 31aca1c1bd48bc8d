// What variants of attention share: numbers of each query and head, beside the context of the fused attention,
// and attention maps for those who ask for them.

import { addInPlace, mul } from "../../tensor/arithmetic.ts";
import { noGrad } from "../../tensor/autograd/recording.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { inType } from "../../tensor/precision.ts";
import { scope } from "../../tensor/scope.ts";
import { sum } from "../../tensor/sums.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { AttentionInputs, AttentionParameters } from "./attention.ts";
import { attentionMaps } from "./plain.ts";
import {
	type AttentionOptions,
	type Heads,
	softmaxAttentionWithSums,
} from "./softmax_attention.ts";

/** float32 [B·T, n, d], or [B·T, n, 1] of a number a query and head. */
export type Rows = Tensor<"float32", 3>;

/** A parameter in float32. */
export function parameter<R extends number>(
	parameters: AttentionParameters,
	name: string,
): Tensor<"float32", R> {
	const found = parameters[name];
	if (!found) throw new RangeError(`Cannot compute attention: its parameter ${name} is missing`);
	return inType(found, "float32") as Tensor<"float32"> as Tensor<"float32", R>;
}

/** [B·kv, T, g, ...] as [B·T, n, ...]: the order of tokens and heads in a context. */
function byToken(x: Tensor<"float32">, batch: number): Rows {
	const [folded, T, g, width = 1] = x.shape as readonly number[];
	const kv = folded! / batch;
	return x.reshape([batch, kv, T!, g!, width]).permute([0, 2, 1, 3, 4])
		.reshape([batch * T!, kv * g!, width]);
}

/** [B·T, n, 1] as [B·kv, T, g, 1]. */
function byHead(x: Rows, { q }: Heads, batch: number): Tensor<"float32", 4> {
	const [folded, T, g] = q.shape;
	return x.reshape([batch, T, folded / batch, g, 1]).permute([0, 2, 1, 3, 4])
		.reshape([folded, T, g, 1]);
}

/** Softmax attention in float32, and log Σ exp of each query and head's logits. */
export function softmaxRows(
	{ heads, ...options }: AttentionInputs,
	observed = true,
): { context: Rows; logSums: Rows } {
	const { batch = 1 } = options, [, , , d] = heads.q.shape;
	const { cumulative, maps, ...rest } = options;
	if (observed) observe({ heads, ...options } as AttentionInputs, null);
	const { context, logSums } = softmaxAttentionWithSums(heads, {
		...rest,
		cumulative: observed && !maps ? cumulative : undefined,
	});
	const [rows, width] = context.shape;
	return {
		context: inType(context, "float32").reshape([rows, width / d, d]) as Rows,
		logSums: byToken(logSums, batch),
	};
}

/** scale · q_i·k' of each query, k' [n, d] being a key of each head's own. */
export function keyLogits(
	{ heads: { q }, batch = 1, scale }: AttentionInputs,
	key: Tensor<"float32", 2>,
): Rows {
	const [folded, T, g, d] = q.shape, kv = folded / batch;
	const exact = inType(q, "float32").reshape([batch, kv, T, g, d]);
	const products = sum(mul(exact, key.reshape([1, kv, 1, g, d])), -1); // B kv T g
	return byToken(products.reshape([folded, T, g]), batch).mul(scale ?? 1 / Math.sqrt(d)) as Rows;
}

/** Rows as an attention returns them, [B·T, n·d]. */
export function toContext<D extends FloatType>(rows: Rows, dtype: D): Tensor<D, 2> {
	const [tokens, heads, d] = rows.shape;
	return inType(rows.reshape([tokens, heads * d]), dtype) as Tensor<D> as Tensor<D, 2>;
}

/**
 * Hands out maps, and adds them up if asked to, where the fused attention does not have them: softmax's, times
 * what `factor` says of each query and head.
 */
export function observe(inputs: AttentionInputs, factor: Rows | null): void {
	const { maps, cumulative, heads, batch = 1 } = inputs;
	if (!maps && !(factor && cumulative)) return;
	noGrad(() =>
		scope(() => {
			const plain = attentionMaps(heads, inputs as AttentionOptions);
			handOut(inputs, factor ? mul(plain, byHead(factor, heads, batch)) : plain);
		})
	);
}

/** Gives maps [B·kv, T, g, S] to those who asked for them. */
export function handOut({ maps, cumulative }: AttentionInputs, all: Tensor<"float32", 4>): void {
	if (!maps && !cumulative) return;
	noGrad(() =>
		scope(() => {
			if (cumulative) addInPlace(cumulative, sum(all, 1).reshape(cumulative.shape));
			maps?.(all.detach());
		})
	);
}
