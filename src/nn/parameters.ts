// The parameters of a Transformer: their names, shapes and initial values. Matrices are [out, in].
//
//   embed.weight [V, H]   embed.projection.weight   embed.types.weight   embed.norm   positions.weight [P, H]
//   layers.N.attn.norm    layers.N.attn.qkv [(n + 2 kv) d, H]: query, key and value rows one below the other
//   layers.N.attn.output [H, n d]       and what the attention adds, as layers.N.attn.NAME
//   layers.N.mlp.norm     layers.N.mlp.gate_up [2 I, H], or mlp.up [I, H]     layers.N.mlp.down [H, I]
//   layers.N.mlp.router [E, H]          layers.N.mlp.experts.E.gate_up, .down
//   norm   head.projection   head.weight [V, H]
//
// each with .weight and, where there is one, .bias.

import type { TransformerConfig } from "./config.ts";

/**
 * How a parameter starts: normally distributed around 0 with this standard deviation, constant, or as a random matrix
 * whose rows, or columns if they are fewer, are orthogonal vectors of this length.
 */
export type Initialization = { normal: number } | { constant: number } | { orthogonal: number };

/** A parameter. */
export interface ParameterSpec {
	/** Its name. */
	name: string;
	/** Its extents. */
	shape: readonly number[];
	/** Its first values. */
	initialize: Initialization;
	/** Whether weight decay applies. */
	decay: boolean;
}

/** A part of a fused parameter that has a name of its own: rows of it. */
export interface ParameterPart {
	/** Such as `attn.query`. */
	name: string;
	/** How many rows. */
	rows: number;
}

/** Standard deviation of first weights, as GPT-2 has it. */
const DEVIATION = 0.02;

/** The parts that a fused parameter of a layer is made of, by its name without `.weight`; of others, itself. */
export function partsOf(config: TransformerConfig, name: string): ParameterPart[] {
	const { heads, keyValueHeads, headDimension: d, intermediateSize } = config;
	if (name === "attn.qkv") {
		return [
			{ name: "attn.query", rows: heads * d },
			{ name: "attn.key", rows: keyValueHeads * d },
			{ name: "attn.value", rows: keyValueHeads * d },
		];
	}
	const fused = /^(mlp(?:\.experts\.\d+)?)\.gate_up$/.exec(name);
	if (fused) {
		return ["gate", "up"].map((part) => ({ name: `${fused[1]}.${part}`, rows: intermediateSize }));
	}
	return [];
}

/** All parameters of a model, in order; a layer's are named without `layers.N.`. */
export function parameterSpecs(
	config: TransformerConfig,
	ofAttention: readonly ParameterSpec[] = [],
): { outside: ParameterSpec[]; layer: ParameterSpec[] } {
	const { hiddenSize: H, intermediateSize: I, headDimension: d, vocabularySize: V } = config;
	const { embedding, positions, norm, attention, mlp, head } = config;
	const matrix = (name: string, shape: readonly number[], normal = DEVIATION): ParameterSpec => ({
		name: `${name}.weight`,
		shape,
		initialize: { normal },
		decay: true,
	});
	const vector = (name: string, size: number, constant: number): ParameterSpec => ({
		name,
		shape: [size],
		initialize: { constant },
		decay: false,
	});
	const norms = (name: string) => [
		vector(`${name}.weight`, norm.single ? 1 : H, 1),
		...norm.kind === "layer" && norm.bias ? [vector(`${name}.bias`, H, 0)] : [],
	];
	const linear = (name: string, out: number, width: number, bias: boolean, normal?: number) => [
		matrix(name, [out, width], normal),
		...bias ? [vector(`${name}.bias`, out, 0)] : [],
	];
	// Branches that join the residual stream start smaller, the more of them there are (GPT-2).
	const joining = DEVIATION / Math.sqrt(2 * config.layers);
	const width = embedding.width ?? H;

	const outside = [
		matrix("embed", [V, width]),
		...embedding.width ? [matrix("embed.projection", [H, width])] : [],
		...embedding.types ? [matrix("embed.types", [embedding.types, H])] : [],
		...positions.kind === "learned" ? [matrix("positions", [config.contextLength, H])] : [],
		...embedding.norm ? norms("embed.norm") : [],
		...config.registers ? [matrix("registers", [config.registers, H])] : [],
		...norm.final ? norms("norm") : [],
		...embedding.width && head.kind !== "none" ? [matrix("head.projection", [width, H])] : [],
		...head.kind === "own" ? [matrix("head", [V, width])] : [],
		...head.bias ? [vector("head.bias", V, 0)] : [],
	];

	const mlpOf = (prefix: string) => [
		...mlp.kind === "gated"
			? linear(`${prefix}.gate_up`, 2 * I, H, mlp.bias)
			: linear(`${prefix}.up`, I, H, mlp.bias),
		...linear(`${prefix}.down`, H, I, mlp.bias, joining),
	];
	const attentionWidth = config.heads * d, keyValueWidth = config.keyValueHeads * d;
	const layer = [
		...norms("attn.norm"),
		...linear("attn.qkv", attentionWidth + 2 * keyValueWidth, H, attention.bias),
		...linear("attn.output", H, attentionWidth, attention.outputBias, joining),
		...ofAttention.map((spec) => ({ ...spec, name: `attn.${spec.name}` })),
		...config.block === "sequential" || config.mlpNorm ? norms("mlp.norm") : [],
		...mlp.experts
			? [
				matrix("mlp.router", [mlp.experts.count, H]),
				...Array.from({ length: mlp.experts.count }, (_, e) => mlpOf(`mlp.experts.${e}`)).flat(),
			]
			: mlpOf("mlp"),
	];
	return { outside, layer };
}
