// Softmax that leaves a part of its probability to no key.

import { mul, sub } from "../../tensor/arithmetic.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { sigmoid } from "../../tensor/unary.ts";
import type { AttentionInputs } from "./attention.ts";
import { observe, type Rows, softmaxRows, toContext } from "./rows.ts";

/** Softmax attention times σ(log Σ e^z - sink), the part that a logit without a key leaves. */
export function beside<D extends "float32" | "bfloat16">(
	inputs: AttentionInputs<D>,
	sink: Tensor<"float32"> | number,
): Tensor<D, 2> {
	const { context, logSums } = softmaxRows(inputs, false);
	const left = typeof sink === "number" ? logSums.add(-sink) : sub(logSums, sink);
	const rest = sigmoid(left) as Rows;
	observe(inputs, rest);
	return toContext(mul(context, rest), inputs.heads.q.dtype);
}
