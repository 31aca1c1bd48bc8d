// Makes Transformers with random parameters, to be trained.

import { Device } from "../cuda/device.ts";
import { Generator } from "../tensor/random.ts";
import type { Attention } from "./attention/attention.ts";
import { checkConfig, type TransformerConfig } from "./config.ts";
import { type Initialization, type ParameterSpec, parameterSpecs } from "./parameters.ts";
import { ResidentWeights } from "./resident_weights.ts";
import { Transformer } from "./transformer.ts";

/** Options of building any model. */
export interface BuildOptions {
  /** What happens between the projections of a layer. @default {softmax attention} */
  attention?: Attention;
  /** Seed of the first parameters. @default {1337} */
  seed?: number;
  /** Where the model lives. @default {the process's device} */
  device?: Device;
}

/**
 * Makes a model with random float32 parameters that require gradients.
 *
 * @param initialize the first values of a parameter; by default GPT-2's
 * @throws {RangeError} if the numbers do not go together
 */
export async function buildTransformer(
  config: TransformerConfig,
  { seed = 1337, device, attention }: BuildOptions = {},
  initialize: (spec: ParameterSpec) => Initialization = (spec) => spec.initialize,
): Promise<Transformer> {
  checkConfig(
    config,
    (problem) => new RangeError(`Cannot build the ${config.family} model: ${problem}`),
  );
  const place = device ?? await Device.open();
  const { outside, layer } = parameterSpecs(config, attention?.parameters(config));
  const specs = [
    ...outside,
    ...Array.from(
      { length: config.layers },
      (_, i) => layer.map((spec) => ({ ...spec, name: `layers.${i}.${spec.name}` })),
    ).flat(),
  ].map((spec) => ({ ...spec, initialize: initialize(spec) }));
  const weights = ResidentWeights.random(place, config, specs, new Generator(seed));
  for (const parameter of weights.parameters.values()) parameter.requireGrad();
  return new Transformer({ device: place, config, weights, ...attention && { attention } });
}
