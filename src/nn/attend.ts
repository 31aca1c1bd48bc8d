// From the fused projection of a layer to the heads' results: split, rotate, attend.

import { contiguous, type FloatType, mean, noGrad, scope, Tensor } from "../tensor/mod.ts";
import { swapAxes } from "../tensor/swap_axes.ts";
import type { TransformerConfig } from "./config.ts";
import type { WeightSet } from "./weight_set.ts";
import type { Hidden } from "./project.ts";
import { splitHeadsRotary } from "./rotary.ts";
import type { Run } from "./run.ts";

/**
 * Splits the projection into heads, turns them, and has the run's attention do the rest.
 *
 * @param qkv [B·T, (n + 2 kv) d]
 * @param input what the projections read
 * @param weights of the layer; the attention's own parameters are among those under `attn.`
 * @returns [B·T, n·d], the heads side by side
 */
export function attend(
	run: Run,
	qkv: Hidden<FloatType>,
	input: Hidden<FloatType>,
	weights: WeightSet,
	config: TransformerConfig,
): Hidden<FloatType> {
	const { heads, keyValueHeads, headDimension } = config, { batch, tokens, slopes } = run;
	const { causal, window } = config.attention;
	const split = splitHeadsRotary(qkv, run.rotary, heads, keyValueHeads, {
		batch,
		first: run.first,
	});
	if (run.cache) {
		const all = run.cache.append(run.layer, split.k, split.v);
		split.k = all.key;
		split.v = all.value;
	}
	if (run.wants("attn.q_rotated")) {
		const byHead = swapAxes(split.q, "float32"); // kv g T d
		const { shape } = byHead, all = byHead.reshape([batch * heads, tokens, headDimension]);
		const q = run.tap("attn.q_rotated", all);
		if (q !== all) split.q = swapAxes(q.reshape(shape), run.dtype);
	}
	split.k = run.tap("attn.k_rotated", split.k);
	split.v = run.tap("attn.v", split.v);
	const all = run.first + tokens;
	const cumulative = run.wants("attn.cumulative")
		? Tensor.zeros<"float32", 2>(qkv.device, "float32", [batch * heads, all])
		: undefined;
	const emitMaps = (maps: Tensor<"float32", 4>) => {
		const byHead = maps.permute([0, 2, 1, 3]); // kv g T S
		run.emit("attn.weights", byHead.reshape([batch * heads, tokens, all]));
	};
	const emitGates = (gates: Tensor<"float32", 3>) =>
		noGrad(() =>
			scope(() => {
				const [rows] = gates.shape, ofHeads = mean(gates, -1).transpose(); // n rows
				const all = ofHeads.expand([heads, rows === 1 ? batch * tokens : rows]);
				run.emit("attn.gate", contiguous(all));
			})
		);
	const context = run.attention.attend({
		heads: split,
		input,
		batch,
		causal,
		window,
		slopes,
		cumulative,
		contextLength: config.contextLength,
		maps: run.wants("attn.weights") ? emitMaps : undefined,
		gates: run.wants("attn.gate") ? emitGates : undefined,
	}, weights.under("attn."));
	if (cumulative) run.emit("attn.cumulative", cumulative);
	return context;
}
