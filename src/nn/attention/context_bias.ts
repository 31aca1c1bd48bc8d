// Attention with a context-aware bias.

import type { Attention } from "./attention.ts";
import { learnedKey } from "./learned_key.ts";

/**
 * Softmax attention and a learned value, as much of it as a learned key would get beside the others, which lose
 * nothing: `o_i + p_i v'` with `p_i = e^z' / (e^z' + Σ_j e^z_ij)`, `z' = q_i·k' / √d` ("Systematic outliers in
 * large language models", 2025, variant c).
 */
export function contextBias(): Attention {
	return learnedKey({ name: "context-bias", key: true, value: true, shares: false });
}
