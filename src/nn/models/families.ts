// The model families that can be loaded.

import type { Family, GgufFamily } from "../family.ts";
import { bertFamily, bertGguf } from "./bert.ts";
import { falconFamily, falconGguf } from "./falcon.ts";
import { gptNeoxFamily, gptNeoxGguf } from "./gpt_neox.ts";
import { gpt2Family, gpt2Gguf } from "./gpt2.ts";
import { llamaFamily, llamaGguf, qwen2Gguf } from "./llama.ts";
import { mixtralFamily } from "./mixtral.ts";
import { mptFamily, mptGguf } from "./mpt.ts";
import { optFamily } from "./opt.ts";
import { phiFamily, phiGguf } from "./phi.ts";

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
export const GGUF_FAMILIES: readonly GgufFamily[] = [
	bertGguf,
	falconGguf,
	gptNeoxGguf,
	gpt2Gguf,
	llamaGguf,
	mptGguf,
	phiGguf,
	qwen2Gguf,
];
