// Makes Transformers with random parameters, to be trained.

import { Device, Generator } from "../tensor/mod.ts";
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
	/**
	 * Whether norms have one gain for all features, so that none can be scaled apart (SSNorm of Park et al. 2025,
	 * "Outlier-Safe Pre-Training for Robust 4-Bit Quantization of Large Language Models").
	 * @default {false}
	 */
	singleScaleNorm?: boolean;
	/**
	 * Whether a linear map, orthogonal at first, comes behind the embedding and another before the output matrix, so that
	 * the directions of the residual stream are not those of the embedding (EmbProj of the same).
	 * @default {false}
	 */
	embeddingProjection?: boolean;
	/**
	 * How many register tokens come before each sequence: learned vectors of which no loss is computed (see `registers`
	 * of {@linkcode TransformerConfig}).
	 * @default {0}
	 */
	registers?: number;
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
	given: TransformerConfig,
	options: BuildOptions = {},
	initialize: (spec: ParameterSpec) => Initialization = (spec) => spec.initialize,
): Promise<Transformer> {
	const { seed = 1337, device, attention, singleScaleNorm, embeddingProjection, registers } =
		options;
	const config: TransformerConfig = {
		...given,
		...singleScaleNorm && { norm: { ...given.norm, single: true } },
		...registers !== undefined && { registers },
		...embeddingProjection && { embedding: { ...given.embedding, width: given.hiddenSize } },
	};
	checkConfig(
		config,
		(problem) => new RangeError(`Cannot build the ${config.family} model: ${problem}`),
	);
	const place = device ?? await Device.open();
	const { outside, layer } = parameterSpecs(config);
	const own = (attention?.parameters(config) ?? [])
		.map((spec) => ({ ...spec, name: `attn.${spec.name}` }));
	const inLayers = (specs: readonly ParameterSpec[]) =>
		Array.from(
			{ length: config.layers },
			(_, i) => specs.map((spec) => ({ ...spec, name: `layers.${i}.${spec.name}` })),
		).flat();
	// An attention's own are drawn last: models that differ in them alone have all others in common.
	const specs = [...outside, ...inLayers(layer), ...inLayers(own)].map((spec) => ({
		...spec,
		initialize: /^(embed|head)\.projection\./.test(spec.name)
			? { orthogonal: 1 }
			: initialize(spec),
	}));
	const weights = ResidentWeights.random(place, config, specs, new Generator(seed));
	for (const parameter of weights.parameters.values()) parameter.requireGrad();
	return new Transformer({ device: place, config, weights, ...attention && { attention } });
}
