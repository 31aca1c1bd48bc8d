// Attention over gated values.

import { mul } from "../../tensor/arithmetic.ts";
import { inType } from "../../tensor/precision.ts";
import { scope } from "../../tensor/scope.ts";
import { sum } from "../../tensor/sums.ts";
import { sigmoid } from "../../tensor/unary.ts";
import type { Attention } from "./attention.ts";
import { bias, matrix } from "./gates.ts";
import { parameter, type Rows, softmaxRows, toContext } from "./rows.ts";

/**
 * Softmax attention over gated values, `Σ_j softmax_j(z_ij) σ(w·v_j + b) v_j`, a gate a key-value head and token
 * computed from the value itself ("Value-state gated attention", 2025). It starts at σ(0) = ½.
 */
export function valueGate(): Attention {
	return {
		name: "value-gate",
		parameters: ({ keyValueHeads, headDimension }) => [
			matrix("gate.weight", [keyValueHeads, headDimension]),
			bias("gate.bias", keyValueHeads, 0),
		],
		attend: (inputs, parameters) =>
			scope(() => {
				const { heads, batch = 1 } = inputs, { v } = heads, [folded, S, d] = v.shape;
				const kv = folded / batch;
				const exact = inType(v, "float32").reshape([batch, kv, S, d]);
				const weight = parameter<2>(parameters, "gate.weight").reshape([kv, 1, d]);
				const b = parameter<1>(parameters, "gate.bias").reshape([kv, 1, 1]);
				const gate = sigmoid(sum(mul(exact, weight), -1, { keepDims: true }).add(b as Rows));
				const gated = inType(mul(exact, gate).reshape([folded, S, d]), v.dtype) as typeof v;
				const { context } = softmaxRows({ ...inputs, heads: { ...heads, v: gated } });
				return toContext(context, heads.q.dtype);
			}),
	};
}
