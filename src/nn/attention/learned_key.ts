// Attention with a key, a value, or both, that are learned for each head and belong to no token.

import { add, mul, sub } from "../../tensor/arithmetic.ts";
import { dropout } from "../../tensor/random.ts";
import { scope } from "../../tensor/scope.ts";
import { sigmoid } from "../../tensor/unary.ts";
import type { Attention, AttentionInputs, AttentionParameters } from "./attention.ts";
import { keyLogits, observe, parameter, type Rows, softmaxRows, toContext } from "./rows.ts";

/** What a learned key and value do. */
interface Kind {
	name: string;
	/** Whether the key is learned; without it, it is 0. */
	key: boolean;
	/** Whether the value is learned; without it, it is 0. */
	value: boolean;
	/** Whether the learned key takes its probability from the others. */
	shares: boolean;
}

/** σ(z' - log Σ e^z): the probability of the learned key beside the others. */
function probabilityOf(
	inputs: AttentionInputs,
	parameters: AttentionParameters,
	logSums: Rows,
	key: boolean,
): Rows {
	if (!key) return sigmoid(logSums.mul(-1)) as Rows;
	return sigmoid(sub(keyLogits(inputs, parameter<2>(parameters, "key_bias")), logSums)) as Rows;
}

/** Makes an attention of them. */
export function learnedKey({ name, key, value, shares }: Kind): Attention {
	return {
		name,
		parameters: ({ heads, headDimension }) =>
			["key_bias", "value_bias"].filter((_, i) => [key, value][i]).map((name) => ({
				name,
				shape: [heads, headDimension],
				initialize: { normal: 0.02 },
				decay: true,
			})),
		attend: (inputs, parameters) =>
			scope(() => {
				const { context, logSums } = softmaxRows(inputs, !shares);
				const p = probabilityOf(inputs, parameters, logSums, key);
				const rest = shares ? p.mul(-1).add(1) as Rows : null; // 1 - p
				if (rest) observe(inputs, rest);
				const others = rest ? mul(context, rest) : context;
				if (!value) return toContext(others, inputs.heads.q.dtype);
				const { dropout: drop } = inputs;
				const kept = drop?.probability ? dropout(p, drop.probability, drop) : p;
				const all = add(others, mul(kept, parameter<2>(parameters, "value_bias")));
				return toContext(all, inputs.heads.q.dtype);
			}),
	};
}
