// Attention with context-aware scaling.

import { scope } from "../../tensor/scope.ts";
import { clamp, exp, sigmoid, tanh } from "../../tensor/unary.ts";
import type { Attention } from "./attention.ts";
import { bias, matrix, project, scaled } from "./gates.ts";
import { parameter, type Rows } from "./rows.ts";

/** How a number u becomes a factor. */
const MAPS: Record<ScalingMap, (u: Rows) => Rows> = {
	"2sigmoid": (u: Rows) => sigmoid(u).mul(2),
	"sigmoid": (u: Rows) => sigmoid(u),
	"1+tanh": (u: Rows) => tanh(u).add(1),
	"exp": (u: Rows) => exp(clamp(u, { max: Math.log(4) })),
};

/** Names of the ways from u to a factor. */
export type ScalingMap = "2sigmoid" | "sigmoid" | "1+tanh" | "exp";

/** Options of {@linkcode contextScaling}. */
export interface ContextScalingOptions {
	/** How u becomes the scale: 2σ(u), σ(u), 1 + tanh(u), or e^u of at most 4. @default {"2sigmoid"} */
	map?: ScalingMap;
	/**
	 * Whether each head and token has a scale of its own, a token one for all of its heads, or a head one for all
	 * tokens. @default {"head-token"}
	 */
	granularity?: "head-token" | "token" | "head";
	/** First value of b. @default {0} */
	bias?: number;
}

/**
 * Context-aware scaling, `s_i o_i` with `s_i = 2σ(u_i)`, `u = x Wᵀ + b`, x being what the projections read: each head
 * says how much it adds to each token ("Systematic outliers in large language models", 2025, variant e, the one that
 * it finds without outliers).
 */
export function contextScaling(
	{ map = "2sigmoid", granularity = "head-token", bias: first = 0 }: ContextScalingOptions = {},
): Attention {
	const apply = MAPS[map];
	if (!apply) {
		throw new RangeError(
			`Cannot make context scaling by ${map}: there are ${Object.keys(MAPS).join(", ")}`,
		);
	}
	return {
		name: "context-scaling",
		gated: true,
		parameters: ({ heads, hiddenSize }) => {
			const outputs = granularity === "token" ? 1 : heads;
			return [
				...granularity === "head" ? [] : [matrix("scale.weight", [outputs, hiddenSize])],
				bias("scale.bias", outputs, first),
			];
		},
		attend: (inputs, parameters) =>
			scope(() =>
				scaled(inputs, () => {
					if (granularity === "head") {
						return apply(parameter<1>(parameters, "scale.bias").reshape([1, -1, 1]) as Rows);
					}
					const u = project(inputs, parameters, "scale");
					return apply(u.reshape([u.shape[0], u.shape[1], 1]));
				})
			),
	};
}
