// Taps and probes: a model announces named tensors as it runs, and a probe takes the ones it wants while
// they exist. Names follow the modules of Hugging Face's checkpoints, layers counting from 0:
//
//   embed                         [T, H]   embeddings, with positions where they are learned
//   layers.N.attn.input           [T, H]   what attention reads
//   layers.N.attn.qkv             [T, (n + 2 kv) d]   queries, keys and values before rotary positions
//   layers.N.attn.q_rotated       [n, T, d]   queries after rotary positions (k_rotated, v: [kv, T, d])
//   layers.N.attn.cumulative      [n, T]   cumulative attention of each head
//   layers.N.attn.weights         [n, T, T]   attention maps
//   layers.N.attn.gate            [n, T]   what each head's result is multiplied by, of attentions with gates
//   layers.N.attn.context         [T, n d]   the heads' results side by side
//   layers.N.attn.output          [T, H]   what attention adds to the residual stream
//   layers.N.middle               [T, H]   the residual stream between attention and MLP
//   layers.N.mlp.input            [T, H]   what the MLP reads
//   layers.N.mlp.gate_up          [T, 2I]  gate and up projections, side by side; mlp.up [T, I] without gates
//   layers.N.mlp.down.input       [T, I]   x_down; of a mixture mlp.experts.E.down.input, rows of some tokens
//   layers.N.mlp.output           [T, H]   what the MLP adds to the residual stream
//   layers.N.output               [T, H]   h, the hidden state
//   layers.N.attn.query.weight    [out, in]   likewise key, value, output; mlp.gate, mlp.up, mlp.down
//
// A probe with `edits` changes what it gets, in place, and the model goes on with that: it gets a copy, so that
// neither parameters nor another tap's tensor change. Only forward passes can be edited, and not attn.weights and
// attn.cumulative, which are handed out beside the computation: edit attn.v, attn.q_rotated or attn.k_rotated.

import { cast, copyInto, type FloatType, noGrad, Tensor } from "../tensor/mod.ts";
import { outsideScopes } from "../tensor/scope.ts";

/** What a probe is told beside the tensor. */
export interface TapContext {
	/** The tap's name. */
	name: string;
	/** Layer, 0-based; -1 outside the layers. */
	layer: number;
	/** Index of the sequence; -1 for weights. */
	sequence: number;
	/** Positions of the rows, where they are not all tokens in order: those that an expert got. */
	positions?: readonly number[];
}

/** Takes tensors from a running model. */
export interface Probe {
	/** Names of taps; `*` stands for any layer or expert, as in `layers.*.output`. */
	readonly taps: readonly string[];
	/**
	 * Whether `receive` changes the tensor's elements in place, and the model shall compute with the result. Such
	 * probes come before the others, which get what they left. @default {false}
	 */
	readonly edits?: boolean;
	/**
	 * Called when a tap's tensor exists. The model frees or overwrites it afterwards: queue what shall be
	 * computed from it, or copy it, before returning.
	 */
	receive(tensor: Tensor<"float32">, context: TapContext): void;
}

/** A float32 copy for probes that edit: what they change is theirs alone. */
export function editableCopy(tensor: Tensor<FloatType>): Tensor<"float32"> {
	return noGrad(() => {
		if (tensor.dtype === "bfloat16") return cast(tensor as Tensor<"bfloat16">, "float32");
		const copy = Tensor.empty<"float32", number>(tensor.device, "float32", tensor.shape);
		copyInto(copy, tensor as Tensor<"float32">);
		return copy;
	});
}

/** The probes of one run, by tap. */
export class Probes {
	readonly #byTap = new Map<string, Probe[]>();

	/** Sorts probes by the taps that they take. */
	constructor(probes: readonly Probe[]) {
		for (const probe of probes) {
			for (const tap of probe.taps) {
				this.#byTap.set(tap, [...this.#byTap.get(tap) ?? [], probe]);
			}
		}
	}

	#listeners(tap: string, layer: number): Probe[] {
		const names = new Set([tap, tap.replace(/\.experts\.\d+\./, ".experts.*.")]);
		const places = layer < 0 ? [""] : ["layers.*.", `layers.${layer}.`];
		const all = places.flatMap((place) =>
			[...names].flatMap((name) => this.#byTap.get(place + name) ?? [])
		);
		return [...all.filter(({ edits }) => edits), ...all.filter(({ edits }) => !edits)];
	}

	/** Whether some probe takes this tap (`tap` without the `layers.N.` of a layer's). */
	wants(tap: string, layer = -1): boolean {
		return this.#listeners(tap, layer).length > 0;
	}

	/** Whether some probe changes this tap. */
	edits(tap: string, layer = -1): boolean {
		return this.#listeners(tap, layer).some(({ edits }) => edits);
	}

	/** Hands a tensor to the probes that want it; `tap` as in {@linkcode wants}. */
	emit(
		tap: string,
		tensor: Tensor<"float32">,
		layer = -1,
		sequence = -1,
		positions?: readonly number[],
	): void {
		const name = layer < 0 ? tap : `layers.${layer}.${tap}`;
		for (const probe of this.#listeners(tap, layer)) {
			const context = { name, layer, sequence, ...positions && { positions } };
			outsideScopes(() => probe.receive(tensor, context)); // what a probe makes, it frees itself
		}
	}
}
