// The model families that can be loaded.

import type { Family, GgufFamily } from "../family.ts";
import { bertFamily } from "./bert.ts";
import { falconFamily } from "./falcon.ts";
import { gptNeoxFamily } from "./gpt_neox.ts";
import { gpt2Family } from "./gpt2.ts";
import { llamaFamily, llamaGguf } from "./llama.ts";
import { mixtralFamily } from "./mixtral.ts";
import { mptFamily } from "./mpt.ts";
import { optFamily } from "./opt.ts";
import { phiFamily } from "./phi.ts";

/** Families by `model_type` of config.json. */
export const FAMILIES: readonly Family[] = [
  bertFamily,
  falconFamily,
  gptNeoxFamily,
  gpt2Family,
  llamaFamily,
  mixtralFamily,
  mptFamily,
  optFamily,
  phiFamily,
];

/** Families by `general.architecture` of a GGUF file. */
export const GGUF_FAMILIES: readonly GgufFamily[] = [llamaGguf];
