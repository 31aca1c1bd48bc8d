// The model families that can be loaded.

import type { Family, GgufFamily } from "../family.ts";
import { gpt2Family } from "./gpt2.ts";
import { llamaFamily, llamaGguf } from "./llama.ts";

/** Families by `model_type` of config.json. */
export const FAMILIES: readonly Family[] = [gpt2Family, llamaFamily];

/** Families by `general.architecture` of a GGUF file. */
export const GGUF_FAMILIES: readonly GgufFamily[] = [llamaGguf];
