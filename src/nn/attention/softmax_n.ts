// Attention with a softmax off by one, or by n.

import { scope } from "../../tensor/scope.ts";
import type { Attention } from "./attention.ts";
import { beside } from "./beside.ts";

/**
 * Softmax with n more in its divisor, `e^z_ij / (n + Σ_j e^z_ij)` (Miller, "Attention is off by one", 2023; n > 0 by
 * Murphy's flash-attention-softmax-n): n = 1 is a key at 0 with the value 0, n = 0 softmax.
 *
 * @throws {RangeError} if n is negative
 */
export function softmaxN({ n = 1 }: { n?: number } = {}): Attention {
	if (!(n >= 0 && n < Infinity)) {
		throw new RangeError(`Cannot make softmax-n attention with n = ${n}: it must be 0 or more`);
	}
	return {
		name: "softmax-n",
		parameters: () => [],
		attend: (inputs) => scope(() => beside(inputs, Math.log(n))),
	};
}
