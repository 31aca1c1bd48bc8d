// Attention with any weights, composed from tensor operations: maps of all heads exist.

import type { FloatType } from "../../tensor/dtype.ts";
import { inType } from "../../tensor/precision.ts";
import { dropout } from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { AttentionInputs } from "./attention.ts";
import { attentionLogits, weighValues } from "./plain.ts";
import { handOut } from "./rows.ts";

/** Attention [B·T, n·d] by weights that tensor operations make of logits [B·kv, T, g, S]. */
export function composed<D extends FloatType>(
	inputs: AttentionInputs<D>,
	weigh: (logits: Tensor<"float32", 4>) => Tensor<"float32", 4>,
): Tensor<D, 2> {
	const { heads, batch, dropout: drop } = inputs;
	const maps = weigh(attentionLogits(heads, inputs));
	handOut(inputs, maps);
	const kept = drop?.probability ? dropout(maps, drop.probability, drop) : maps;
	return inType(weighValues(kept, heads.v, batch), heads.q.dtype) as Tensor<D> as Tensor<D, 2>;
}
