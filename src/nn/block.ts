// One layer of a Transformer: attention and MLP, one after the other or side by side, around the residual
// stream. The same code runs recorded for training and unrecorded, where the stream is added to in place.

import {
	add,
	addInPlace,
	addLinear,
	clamp,
	type FloatType,
	scope,
	type Tensor,
} from "../tensor/mod.ts";
import { attend } from "./attend.ts";
import type { TransformerConfig } from "./config.ts";
import { mixture } from "./experts.ts";
import { downInput } from "./mlp.ts";
import { type Hidden, norm, project } from "./project.ts";
import type { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";

/** What the MLP adds to the residual stream, as the input of a last product. */
type Branch = { input: Hidden<FloatType>; name: string } | { sum: Hidden };

function mlp(
	run: Run,
	x: Hidden<FloatType>,
	weights: WeightSet,
	config: TransformerConfig,
): Branch {
	if (config.mlp.experts) return { sum: mixture(run, x, weights, config) };
	const input = run.tap("mlp.down.input", downInput(run, x, weights, "mlp", config));
	return { input, name: "mlp.down" };
}

function attention(
	run: Run,
	x: Hidden<FloatType>,
	weights: WeightSet,
	config: TransformerConfig,
): Branch {
	let qkv = project(run, x, weights, "attn.qkv", run.dtype); // B·T (n+2kv)d
	const { clip } = config.attention;
	if (clip !== undefined) qkv = clamp(qkv, { min: -clip, max: clip });
	qkv = run.tap("attn.qkv", qkv);
	const context = run.tap("attn.context", attend(run, qkv, x, weights, config)); // B·T nd
	return { input: context, name: "attn.output" };
}

/** h plus a branch; in place unless gradients may be asked for. */
function join(run: Run, h: Hidden, branch: Branch, weights: WeightSet, tap: string): Hidden {
	const inPlace = !run.recorded;
	if ("input" in branch) {
		const weight = weights.matrix(branch.name);
		const plain = weights.vector(`${branch.name}.bias`) === undefined &&
			(weight.dtype === "bfloat16" || run.dtype === "float32");
		if (inPlace && plain && !run.wants(tap)) {
			addLinear(h, branch.input as Hidden, weight as Tensor<"float32", 2>);
			return h;
		}
	}
	const sum = run.tap(
		tap,
		"sum" in branch ? branch.sum : project(run, branch.input, weights, branch.name, "float32"),
	);
	if (!inPlace) return add(h, sum);
	addInPlace(h, sum);
	return h;
}

/**
 * Runs one layer.
 *
 * @param h [B·T, H]; changed in place if nothing is recorded
 * @returns the next hidden state
 */
export function runBlock(
	run: Run,
	h: Hidden,
	weights: WeightSet,
	config: TransformerConfig,
): Hidden {
	return scope(() => {
		const post = config.norm.placement === "post";
		const normed = (of: Hidden, name: string) =>
			post ? of : norm(of, weights, name, config, run.dtype);
		const settle = (sum: Hidden, name: string) =>
			post ? norm(sum, weights, name, config, "float32") : sum;
		const toMlp = (x: Hidden<FloatType>) => mlp(run, run.tap("mlp.input", x), weights, config);

		const input = normed(h, "attn.norm");
		const attended = attention(run, run.tap("attn.input", input), weights, config);
		let next: Hidden;
		if (config.block === "parallel") {
			const branch = toMlp(config.mlpNorm ? normed(h, "mlp.norm") : input);
			next = join(run, h, attended, weights, "attn.output");
			next = join(run, next, branch, weights, "mlp.output");
		} else {
			next = run.tap("middle", settle(join(run, h, attended, weights, "attn.output"), "attn.norm"));
			const branch = toMlp(normed(next, "mlp.norm"));
			next = settle(join(run, next, branch, weights, "mlp.output"), "mlp.norm");
		}
		return run.tap("output", next);
	});
}
