// The recorded graph: what each operation computed from, and how its gradient is computed.

import type { DType } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";

/** One result of a node, to which gradients flow. */
export interface Edge {
	/** The operation that made the result, or the leaf that it is. */
	readonly node: GraphNode;
	/** Which of the operation's results. */
	readonly index: number;
}

/** Sees the gradient of a tensor when it is complete, and may return another in its place. */
export type GradientHook = (gradient: Tensor) => Tensor | void;

/** Computes the gradients of an operation's inputs from those of its results. */
export type Backward = (
	gradients: readonly (Tensor | null)[],
	saved: readonly Tensor[],
	needs: readonly boolean[],
) => readonly (Tensor | null)[];

let created = 0;

/**
 * An operation that was recorded, or a leaf: a tensor that gradients are wanted for. It lives as long as a
 * tensor or another node refers to it, and frees what it saved with the last reference: so a graph that nobody
 * goes back through costs no memory, without waiting for the garbage collector.
 */
export class GraphNode {
	/** Later nodes have larger numbers, so that descending order visits a node before its inputs. */
	readonly id: number = created++;
	/** A leaf's accumulated gradient. */
	gradient: Tensor | null = null;
	/** What sees the gradient of each result. */
	readonly hooks: Map<number, Set<GradientHook>> = new Map();
	#references = 0;
	#saved: readonly Tensor[];
	readonly #versions: readonly number[];
	#spent = false;

	/**
	 * For the files of this folder.
	 *
	 * @param name of the operation, for errors
	 * @param inputs where gradients go; null where none is wanted
	 * @param shapes dtype and shape of each input
	 * @param saved tensors for `backward`, which the node owns
	 * @param backward null for a leaf
	 */
	constructor(
		readonly name: string,
		readonly inputs: readonly (Edge | null)[],
		readonly shapes: readonly { dtype: DType; shape: readonly number[] }[],
		saved: readonly Tensor[],
		readonly backward: Backward | null,
	) {
		for (const edge of inputs) edge?.node.retain();
		this.#saved = saved;
		this.#versions = saved.map(({ version }) => version);
	}

	/** What was saved. Throws if it was freed, or changed since. */
	get saved(): readonly Tensor[] {
		if (this.#spent) {
			throw new ReferenceError(
				`Cannot go backward through ${this.name} again: what it saved was freed by the first time; ` +
					"give that one { retainGraph: true }",
			);
		}
		this.#saved.forEach((tensor, i) => {
			if (tensor.version !== this.#versions[i]) {
				throw new RangeError(
					`Cannot go backward through ${this.name}: a ${tensor.dtype} tensor of shape [${tensor.shape}] ` +
						"that it saved was changed in place since",
				);
			}
		});
		return this.#saved;
	}

	/** Frees what was saved: nothing can go backward through this node any more. */
	spend(): void {
		this.#spent = true;
		for (const tensor of this.#saved) tensor.dispose();
		this.#saved = [];
	}

	/** One reference more. */
	retain(): void {
		this.#references++;
	}

	/** One reference less; with the last, the node frees what it holds. */
	release(): void {
		const released: GraphNode[] = [this]; // a list, as a graph may be deeper than the stack
		for (let node = released.pop(); node; node = released.pop()) {
			if (--node.#references > 0) continue;
			node.spend();
			node.gradient?.dispose();
			node.gradient = null;
			for (const edge of node.inputs) if (edge) released.push(edge.node);
		}
	}
}
