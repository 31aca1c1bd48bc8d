// What the layers of a model need to know of the run that they take part in.

import { cast, type FloatType, noGrad, type Tensor } from "../tensor/mod.ts";
import type { Attention } from "./attention/attention.ts";
import type { KeyValueCache } from "./key_value_cache.ts";
import { editableCopy, type Probes } from "./probe.ts";
import type { RotaryTable } from "./rotary.ts";

/** Options of a run. */
export interface RunOptions {
	/** Type of the inputs of products. */
	dtype: FloatType;
	/** B: how many sequences lie one after the other. */
	batch: number;
	/** T: how many tokens each has. */
	tokens: number;
	/** Who takes tensors from it. */
	probes: Probes;
	/** The layer, 0-based; -1 outside of the layers. */
	layer: number;
	/** Index of the sequence that probes are told. */
	sequence: number;
	/** Angles of rotary positions, if the model has them. */
	rotary: RotaryTable | null;
	/** Slopes of ALiBi, [n], if the model has them. */
	slopes: Tensor<"float32", 1> | null;
	/** What happens between the projections. */
	attention: Attention;
	/** Whether gradients may be asked for. */
	recorded: boolean;
	/** Keys and values of the tokens before, if this continues a sequence. */
	cache?: KeyValueCache;
}

/** One run of sequences of equal length through a layer. */
export class Run {
	readonly dtype: FloatType;
	readonly batch: number;
	readonly tokens: number;
	readonly rotary: RotaryTable | null;
	readonly slopes: Tensor<"float32", 1> | null;
	readonly attention: Attention;
	readonly recorded: boolean;
	readonly cache: KeyValueCache | null;
	readonly layer: number;
	readonly #probes: Probes;
	readonly #sequence: number;

	constructor(options: RunOptions) {
		this.dtype = options.dtype;
		this.batch = options.batch;
		this.tokens = options.tokens;
		this.rotary = options.rotary;
		this.slopes = options.slopes;
		this.attention = options.attention;
		this.recorded = options.recorded;
		this.cache = options.cache ?? null;
		this.#probes = options.probes;
		this.layer = options.layer;
		this.#sequence = options.sequence;
	}

	/** Position of the first token. */
	get first(): number {
		return this.cache?.tokens ?? 0;
	}

	/** Whether some probe takes this tap of the layer. */
	wants(tap: string): boolean {
		return this.#probes.wants(tap, this.layer);
	}

	/** Whether some probe changes this tap. */
	edits(tap: string): boolean {
		return this.#probes.edits(tap, this.layer);
	}

	/**
	 * Hands a tensor to the probes that take this tap, in float32.
	 *
	 * @param positions of its rows, where they are not all tokens in order
	 * @returns what the model goes on with: the tensor itself, or a copy that probes changed
	 */
	tap<D extends FloatType, R extends number>(
		tap: string,
		tensor: Tensor<D, R>,
		positions?: readonly number[],
	): Tensor<D, R> {
		if (!this.edits(tap)) {
			this.#hand(tap, tensor, positions);
			return tensor;
		}
		return noGrad(() => {
			using stack = new DisposableStack(); // frees the copy if a probe throws
			const copy = stack.use(editableCopy(tensor as Tensor<FloatType>));
			this.#probes.emit(tap, copy, this.layer, this.#sequence, positions);
			if (tensor.dtype === "bfloat16") return cast(copy, tensor.dtype) as Tensor as Tensor<D, R>;
			stack.move();
			return copy as Tensor as Tensor<D, R>;
		});
	}

	/**
	 * Hands a tensor to the probes that take this tap, of which none may change it, for the model does not compute with
	 * it.
	 */
	emit(tap: string, tensor: Tensor<FloatType>): void {
		if (this.edits(tap)) {
			throw new RangeError(
				`Cannot edit layers.${this.layer}.${tap}: the model does not compute with it; edit attn.v, ` +
					"attn.q_rotated or attn.k_rotated",
			);
		}
		this.#hand(tap, tensor);
	}

	#hand(tap: string, tensor: Tensor<FloatType>, positions?: readonly number[]): void {
		if (!this.wants(tap)) return;
		noGrad(() => {
			using exact = tensor.dtype === "float32"
				? tensor.detach()
				: cast(tensor as Tensor<"bfloat16">, "float32");
			this.#probes.emit(tap, exact as Tensor<"float32">, this.layer, this.#sequence, positions);
		});
	}
}
