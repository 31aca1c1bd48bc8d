// Attention with a learned key and value beside the others.

import type { Attention } from "./attention.ts";
import { learnedKey } from "./learned_key.ts";

/**
 * Softmax over the keys and a learned one, with its learned value: `(1 - p_i) o_i + p_i v'`, p_i as in
 * `contextBias` (Sun et al., "Massive activations in large language models", 2024; variant d of
 * "Systematic outliers in large language models", 2025).
 */
export function attentionBias(): Attention {
	return learnedKey({ name: "attention-bias", key: true, value: true, shares: true });
}
