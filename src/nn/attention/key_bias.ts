// Attention with a learned key beside the others.

import type { Attention } from "./attention.ts";
import { learnedKey } from "./learned_key.ts";

/**
 * `attentionBias` with the value 0: `(1 - p_i) o_i` (Gu et al., "When attention sink emerges in language
 * models", 2025).
 */
export function keyBias(): Attention {
	return learnedKey({ name: "key-bias", key: true, value: false, shares: true });
}
