// Attention with a learned value beside the others.

import type { Attention } from "./attention.ts";
import { learnedKey } from "./learned_key.ts";

/**
 * `attentionBias` with the key 0: `(1 - p_i) o_i + p_i v'` with `p_i = 1 / (1 + Σ_j e^z_ij)` (Gu et al.,
 * "When attention sink emerges in language models", 2025).
 */
export function valueBias(): Attention {
	return learnedKey({ name: "value-bias", key: false, value: true, shares: true });
}
