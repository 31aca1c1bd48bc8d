// Attention with gated heads.

import { mul } from "../../tensor/arithmetic.ts";
import { inType } from "../../tensor/precision.ts";
import { scope } from "../../tensor/scope.ts";
import { sum } from "../../tensor/sums.ts";
import { sigmoid } from "../../tensor/unary.ts";
import type { Attention } from "./attention.ts";
import { bias, matrix, project, scaled } from "./gates.ts";
import { parameter, type Rows } from "./rows.ts";

/** Options of {@linkcode gatedOutput}. */
export interface GatedOutputOptions {
	/**
	 * What the gate of a head is computed from: nothing (a number a head), the head's own slice of x, or all of x.
	 * @default {"slice"}
	 */
	from?: "constant" | "slice" | "all";
	/** σ of the first bias: how far gates are open at first. @default {0.25} */
	open?: number;
}

/**
 * Gated attention, `σ(g_i) o_i` with a gate a head and token, `g = w·x_head + b` (Bondarenko et al., "Quantizable
 * transformers: removing outliers by helping attention heads do nothing", 2023).
 *
 * @throws {RangeError} unless `open` is between 0 and 1
 */
export function gatedOutput(
	{ from = "slice", open = 0.25 }: GatedOutputOptions = {},
): Attention {
	if (!(open > 0 && open < 1)) {
		throw new RangeError(`Cannot open gates by ${open}: it must be between 0 and 1`);
	}
	return {
		name: "gated",
		gated: true,
		parameters: ({ heads, hiddenSize }) => {
			if (from === "slice" && hiddenSize % heads !== 0) {
				throw new RangeError(
					`Cannot gate by slices: ${heads} heads do not divide ${hiddenSize} features`,
				);
			}
			const shape = [heads, from === "all" ? hiddenSize : hiddenSize / heads];
			return [
				...from === "constant" ? [] : [matrix("gate.weight", shape)],
				bias("gate.bias", heads, Math.log(open / (1 - open))),
			];
		},
		attend: (inputs, parameters) =>
			scope(() =>
				scaled(inputs, ({ shape: [tokens, heads] }) => {
					if (from === "all") {
						return sigmoid(project(inputs, parameters, "gate")).reshape([tokens, heads, 1]);
					}
					const b = parameter<1>(parameters, "gate.bias").reshape([1, heads, 1]);
					if (from === "constant") {
						return sigmoid(b);
					}
					const x = inType(inputs.input, "float32").reshape([tokens, heads, -1]);
					const g = sum(mul(x, parameter<2>(parameters, "gate.weight")), -1, { keepDims: true });
					return sigmoid(g.add(b as Rows));
				})
			),
	};
}
