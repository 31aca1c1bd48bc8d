// Attentions by name, for command lines.

import type { Attention } from "./attention.ts";
import { attentionBias } from "./attention_bias.ts";
import { clippedSoftmax } from "./clipped_softmax.ts";
import { contextBias } from "./context_bias.ts";
import { contextScaling } from "./context_scaling.ts";
import { fixedBias } from "./fixed_bias.ts";
import { gatedOutput } from "./gated_output.ts";
import { keyBias } from "./key_bias.ts";
import { learnedSink } from "./learned_sink.ts";
import { qwenGate } from "./qwen_gate.ts";
import { sigmoidVariant } from "./sigmoid.ts";
import { softmaxVariant } from "./softmax.ts";
import { softmaxN } from "./softmax_n.ts";
import { softpick } from "./softpick.ts";
import { valueBias } from "./value_bias.ts";
import { valueGate } from "./value_gate.ts";

/** Every attention of this library, with its default options, by name. */
export const attentions: Readonly<Record<string, () => Attention>> = {
	"softmax": softmaxVariant,
	"fixed-bias": fixedBias,
	"context-bias": contextBias,
	"attention-bias": attentionBias,
	"context-scaling": contextScaling,
	"sigmoid": sigmoidVariant,
	"softmax-n": softmaxN,
	"learned-sink": learnedSink,
	"clipped-softmax": clippedSoftmax,
	"gated": gatedOutput,
	"qwen-gate": qwenGate,
	"qwen-gate-elementwise": () => qwenGate({ elementwise: true }),
	"value-gate": valueGate,
	"softpick": softpick,
	"key-bias": keyBias,
	"value-bias": valueBias,
};

/**
 * The attention of that name.
 *
 * @throws {RangeError} if there is none; the error lists those there are
 */
export function attentionNamed(name: string): Attention {
	if (!Object.hasOwn(attentions, name)) {
		throw new RangeError(
			`Cannot use attention "${name}": there are ${Object.keys(attentions).join(", ")}`,
		);
	}
	return attentions[name]!();
}
