// One layer of a Transformer: attention and MLP, one after the other or side by side, around the residual
// stream. The same code runs recorded for training and unrecorded, where the stream is added to in place.

import { add, addInPlace } from "../tensor/arithmetic.ts";
import type { FloatType } from "../tensor/dtype.ts";
import { addLinear } from "../tensor/linear.ts";
import { scope } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { clamp } from "../tensor/unary.ts";
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
  const input = downInput(run, x, weights, "mlp", config);
  run.emit("mlp.down.input", input);
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
  run.emit("attn.qkv", qkv);
  const context = attend(run, qkv, x, weights, config); // B·T nd
  run.emit("attn.context", context);
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
  const sum = "sum" in branch
    ? branch.sum
    : project(run, branch.input, weights, branch.name, "float32");
  run.emit(tap, sum);
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
    const toMlp = (x: Hidden<FloatType>) => {
      run.emit("mlp.input", x);
      return mlp(run, x, weights, config);
    };

    const input = normed(h, "attn.norm");
    run.emit("attn.input", input);
    const attended = attention(run, input, weights, config);
    let next: Hidden;
    if (config.block === "parallel") {
      const branch = toMlp(config.mlpNorm ? normed(h, "mlp.norm") : input);
      next = join(run, h, attended, weights, "attn.output");
      next = join(run, next, branch, weights, "mlp.output");
    } else {
      next = settle(join(run, h, attended, weights, "attn.output"), "attn.norm");
      run.emit("middle", next);
      const branch = toMlp(normed(next, "mlp.norm"));
      next = settle(join(run, next, branch, weights, "mlp.output"), "mlp.norm");
    }
    run.emit("output", next);
    return next;
  });
}
