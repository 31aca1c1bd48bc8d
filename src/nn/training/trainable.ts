// What a model must offer to be trained. A `Transformer` that was built does, and so may a class of one's own.

import type { FloatType, Tensor } from "../../tensor/mod.ts";
import type { Parameters } from "../optim/optimizer.ts";
import type { Probe } from "../probe.ts";

/** How a loss is to be computed. */
export interface TrainableLossOptions {
	/** Type of the inputs of matrix products. */
	dtype?: FloatType;
	/** Take tensors from the run. */
	probes?: readonly Probe[];
	/** Whether dropout and the like apply. */
	training?: boolean;
	/** Whether layers keep only their inputs and are computed again in the backward pass. */
	checkpointing?: boolean;
}

/** A model that can be trained. */
export interface Trainable {
	/** Float32 leaves by name, each with `requireGrad()`. */
	readonly parameters: Parameters;
	/** Whether weight decay applies to a parameter; by default to those of two or more axes. */
	decays?(name: string): boolean;
	/**
	 * The mean loss of a batch.
	 *
	 * @param inputs token ids, [B, T]
	 * @param targets what follows each, [B, T]; -1 is left out
	 */
	loss(
		inputs: Tensor<"int32", 2>,
		targets: Tensor<"int32", 2>,
		options: TrainableLossOptions,
	): Tensor<"float32", 0>;
}
