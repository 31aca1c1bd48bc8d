// Activation checkpointing: memory for time. What a function computes on its way is not kept, but computed again
// in the backward pass (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").

import type { Tensor } from "../tensor.ts";
import { runBackward } from "./backward.ts";
import { defineOp } from "./define_op.ts";
import { enableGrad, isRecording, type Replayable, watched } from "./recording.ts";

/** Runs `body` with generators as they were, and leaves them as they are. */
function replay<T>(states: ReadonlyMap<Replayable, unknown>, body: () => T): T {
	const now = [...states.keys()].map((of) => [of, of.state] as const);
	for (const [of, state] of states) of.state = state;
	try {
		return body();
	} finally {
		for (const [of, state] of now) of.state = state;
	}
}

const checkpointOp = defineOp(
	"checkpoint",
	(f: (...inputs: Tensor[]) => Tensor, inputs: Tensor[]) => {
		const captured = new Set<Tensor>(), states = new Map<Replayable, unknown>();
		const result = watched({
			uses: (tensor) => captured.add(tensor),
			advances: (of) => states.has(of) || states.set(of, of.state),
		}, () => f(...inputs));
		for (const input of inputs) captured.delete(input);
		const others = [...captured];
		const edges = others.map(({ edge }) => edge!);
		return {
			result,
			inputs: [...inputs, ...others],
			saved: inputs,
			backward: (gradient: Tensor, saved: readonly Tensor[], needs: readonly boolean[]) => {
				const leaves = saved.map((input, i) => needs[i] ? input.detach().requireGrad() : input);
				const again = replay(states, () => enableGrad(() => f(...leaves)));
				const wanted = leaves.flatMap(({ edge }) => edge ?? []);
				const found = runBackward(again, { gradient }, {
					edges: [...wanted, ...edges],
					stop: true,
				});
				const own = leaves.map(({ edge }) => edge && found[wanted.indexOf(edge)]!);
				return [...own, ...found.slice(wanted.length)];
			},
		};
	},
);

/**
 * Computes `f(...inputs)` without keeping what it computes on its way; the backward pass computes that again. The
 * result and all gradients are the same bits as without it, random numbers included.
 *
 * @param f a function of its arguments and of tensors that live until the backward pass, such as parameters; it is
 * run twice, and must do the same both times
 *
 * @example A block of a deep network
 * ```ts ignore
 * for (const block of blocks) x = checkpoint((x) => block.forward(x), x);
 * ```
 */
export function checkpoint<I extends readonly Tensor[], O extends Tensor>(
	f: (...inputs: I) => O,
	...inputs: I
): O {
	if (!isRecording()) return f(...inputs);
	return checkpointOp(f as unknown as (...inputs: Tensor[]) => Tensor, [...inputs]) as O;
}
