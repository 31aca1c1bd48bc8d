// Parameters that are in memory all the time, as training and generation need them.

import type { Device } from "../cuda/device.ts";
import { cast } from "../tensor/cast.ts";
import type { FloatType } from "../tensor/dtype.ts";
import { full } from "../tensor/create.ts";
import { embedding } from "../tensor/gather.ts";
import type { Weight } from "../tensor/linear.ts";
import { type Generator as RandomGenerator, normal } from "../tensor/random.ts";
import { keep } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { TransformerConfig } from "./config.ts";
import type { Initialization, ParameterSpec } from "./parameters.ts";
import type { Probes } from "./probe.ts";
import type { Weights } from "./weights.ts";
import { emitWeight } from "./weight_taps.ts";
import { WeightSet } from "./weight_set.ts";

/** A parameter with its first values. */
export function initialize(
  device: Device,
  shape: readonly number[],
  how: Initialization,
  generator: RandomGenerator,
): Tensor<"float32"> {
  return keep(
    "constant" in how
      ? full(shape, how.constant, { device })
      : normal(shape, { std: how.normal, device, generator }),
  );
}

/** Parameters in memory. */
export class ResidentWeights implements Weights {
  /** By name. */
  readonly parameters: ReadonlyMap<string, Tensor<FloatType>>;
  readonly #config: TransformerConfig;
  readonly #layers: ReadonlyMap<string, Tensor<FloatType>>[] = [];

  /** @param parameters freed with this */
  constructor(config: TransformerConfig, parameters: ReadonlyMap<string, Tensor<FloatType>>) {
    this.#config = config;
    this.parameters = parameters;
    for (const [name, tensor] of parameters) {
      const found = /^layers\.(\d+)\.(.*)$/.exec(name);
      if (!found) continue;
      const layer = (this.#layers[Number(found[1])] ??= new Map()) as Map<
        string,
        Tensor<FloatType>
      >;
      layer.set(found[2]!, tensor);
    }
  }

  /** Makes parameters of given shapes, float32, by their initializations. */
  static random(
    device: Device,
    config: TransformerConfig,
    specs: readonly ParameterSpec[],
    generator: RandomGenerator,
  ): ResidentWeights {
    using stack = new DisposableStack();
    const parameters = new Map<string, Tensor<"float32">>();
    for (const { name, shape, initialize: how } of specs) {
      parameters.set(name, stack.use(initialize(device, shape, how, generator)));
    }
    stack.move();
    return new ResidentWeights(config, parameters);
  }

  outside(names: readonly string[]): WeightSet {
    const there = names.filter((name) => this.parameters.has(name));
    return new WeightSet(new Map(there.map((name) => [name, this.parameters.get(name)!])), false);
  }

  embed(ids: Tensor<"int32", 1>): Tensor<"float32", 2> {
    const rows = embedding(ids, this.parameters.get("embed.weight") as Weight);
    return rows.dtype === "float32"
      ? rows as Tensor<"float32", 2>
      : cast(rows as Tensor<"bfloat16", 2>, "float32");
  }

  readonly steps = 1;

  // deno-lint-ignore require-yield
  *loadLayer(layer: number, _dtype: FloatType, probes: Probes): Generator<void, WeightSet> {
    const tensors = this.#layers[layer]!;
    for (const [name, tensor] of tensors) emitWeight(this.#config, name, tensor, layer, probes);
    return new WeightSet(tensors, false);
  }

  /** Frees the parameters. */
  [Symbol.dispose](): void {
    for (const tensor of this.parameters.values()) tensor.dispose();
  }
}
