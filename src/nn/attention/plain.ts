// Attention composed from tensor operations: what the fused kernels are compared with, and what hands out maps.

import { add } from "../../tensor/arithmetic.ts";
import { cast } from "../../tensor/cast.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { alibiBias, causalMask } from "../../tensor/masks.ts";
import { matmul } from "../../tensor/matmul.ts";
import { scope } from "../../tensor/scope.ts";
import { softmax } from "../../tensor/softmax.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Heads } from "./softmax_attention.ts";

/** What queries see, and how. */
export interface PlainOptions {
	/** B: how many sequences lie one after the other. @default {1} */
	batch?: number;
	/** Whether a query sees only the keys up to its own. @default {true} */
	causal?: boolean;
	/** How many keys a query sees, itself included. */
	window?: number | undefined;
	/** ALiBi's slope of each head, [n]. */
	slopes?: Tensor<"float32", 1> | null;
	/** What logits are multiplied by. @default {1/√d} */
	scale?: number;
}

/**
 * The scaled logits of the keys that each query sees, -∞ of the others.
 *
 * @param heads S keys for T queries, the last T of S positions
 * @returns [B·kv, T, g, S]
 */
export function attentionLogits(
	{ q, k }: Pick<Heads, "q" | "k">,
	{ batch = 1, causal = true, window, slopes, scale }: PlainOptions = {},
): Tensor<"float32", 4> {
	return scope(() => {
		const [folded, T, g, d] = q.shape, S = k.shape[1], kv = folded / batch, { device } = q;
		const products = matmul(q.reshape([folded, T * g, d]), k.transpose()); // f32, B·kv T·g S
		let logits = products.mul(scale ?? 1 / Math.sqrt(d)).reshape([folded, T, g, S]);
		if (slopes) {
			const distances = alibiBias([1], T, S, { device }).reshape([1, 1, T, 1, S]);
			const bias = distances.mul(slopes.reshape([1, kv, 1, g, 1])); // 1 kv T g S
			logits = add(logits.reshape([batch, kv, T, g, S]), bias).reshape([folded, T, g, S]);
		}
		if (causal) {
			const mask = causalMask(T, S, {
				dtype: "float32",
				device,
				...window !== undefined && { window },
			});
			logits = add(logits, mask.reshape([T, 1, S]));
		}
		return logits;
	});
}

/**
 * Attention maps: softmax of the scaled logits of the keys that each query sees.
 *
 * @param heads S keys for T queries, the last T of S positions
 * @returns [B·kv, T, g, S]
 */
export function attentionMaps(
	heads: Pick<Heads, "q" | "k">,
	options: PlainOptions = {},
): Tensor<"float32", 4> {
	return scope(() => softmax(attentionLogits(heads, options)));
}

/**
 * The values, weighted by maps.
 *
 * @param maps [B·kv, T, g, S]
 * @returns [B·T, n·d], the heads side by side
 */
export function weighValues(
	maps: Tensor<"float32", 4>,
	v: Heads["v"],
	batch = 1,
): Tensor<"float32", 2> {
	return scope(() => {
		const [folded, T, g, S] = maps.shape, kv = folded / batch, d = v.shape[2];
		const sums = matmul(castTo(maps.reshape([folded, T * g, S]), v.dtype), v); // B·kv T·g d
		const byToken = sums.reshape([batch, kv, T, g, d]).permute([0, 2, 1, 3, 4]);
		return byToken.reshape([batch * T, kv * g * d]) as Tensor<"float32", 2>;
	});
}

/**
 * Attention: the values, weighted by the maps.
 *
 * @returns [B·T, n·d], the heads side by side
 */
export function plainAttention(
	heads: Heads,
	options: PlainOptions = {},
): Tensor<"float32", 2> {
	return scope(() => weighValues(attentionMaps(heads, options), heads.v, options.batch));
}

function castTo(x: Tensor<"float32", 3>, dtype: FloatType): Tensor<FloatType, 3> {
	return dtype === "float32" ? x : cast(x, dtype);
}
