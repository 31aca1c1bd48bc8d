// The backward pass: from results to what they derive from, each operation once, the latest first.

import { add, addInPlace } from "../arithmetic.ts";
import { toBfloat16 } from "../bfloat16.ts";
import { copyInto } from "../contiguous.ts";
import type { DType, FloatType } from "../dtype.ts";
import { keep, keepReturned } from "../scope.ts";
import { Tensor } from "../tensor.ts";
import type { Edge, GraphNode } from "./graph.ts";
import { noGrad } from "./recording.ts";

/** Options of a backward pass. */
export interface BackwardOptions {
	/** The gradient to start from, of the tensor's shape and dtype. @default 1, for a tensor of one element */
	gradient?: Tensor;
	/** Keeps what operations saved, so that another backward pass can follow. @default {false} */
	retainGraph?: boolean;
	/**
	 * Told when the gradient of a leaf is complete, which may be long before the pass ends: for those who pass
	 * gradients on while the others are still computed.
	 * @internal
	 */
	onLeaf?: (leaf: GraphNode) => void;
}

/** Nodes to visit, the one made last first: a binary heap. */
class Queue {
	readonly #heap: GraphNode[] = [];

	push(node: GraphNode): void {
		const heap = this.#heap;
		let at = heap.push(node) - 1;
		for (let up = (at - 1) >> 1; at > 0 && heap[up]!.id < node.id; at = up, up = (at - 1) >> 1) {
			heap[at] = heap[up]!;
			heap[up] = node;
		}
	}

	pop(): GraphNode | undefined {
		const heap = this.#heap, first = heap[0], last = heap.pop();
		if (heap.length === 0 || !last) return first;
		let at = 0;
		for (;;) {
			let down = 2 * at + 1;
			if (down + 1 < heap.length && heap[down + 1]!.id > heap[down]!.id) down++;
			if (down >= heap.length || heap[down]!.id <= last.id) break;
			heap[at] = heap[down]!;
			at = down;
		}
		heap[at] = last;
		return first;
	}
}

/** Gradients that have come so far, by node and result. They are the pass's own. */
class Pending {
	readonly #gradients = new Map<GraphNode, (Tensor | null)[]>();
	readonly #queue = new Queue();

	add({ node, index }: Edge, gradient: Tensor): void {
		let all = this.#gradients.get(node);
		if (!all) {
			this.#gradients.set(node, all = []);
			this.#queue.push(node);
		}
		const before = all[index];
		if (!before) {
			all[index] = gradient.unownedAlias();
		} else if (before.isExclusive && before.isContiguous) {
			addInPlace(before as Tensor<FloatType>, gradient as Tensor<FloatType>);
		} else {
			all[index] = keep(add(before as Tensor<FloatType>, gradient as Tensor<FloatType>));
			before.dispose();
		}
	}

	/** The latest node, all of whose gradients have come, and these. */
	take(): [GraphNode, (Tensor | null)[]] | undefined {
		for (let node = this.#queue.pop(); node; node = this.#queue.pop()) {
			const gradients = this.takeOf(node);
			if (gradients) return [node, gradients]; // else they were taken before
		}
		return undefined;
	}

	/** The gradients of a node that is known to get no more. */
	takeOf(node: GraphNode): (Tensor | null)[] | undefined {
		const gradients = this.#gradients.get(node);
		this.#gradients.delete(node);
		return gradients;
	}

	dispose(): void {
		for (const gradients of this.#gradients.values()) {
			for (const gradient of gradients) gradient?.dispose();
		}
	}
}

function checkGradient(
	what: string,
	gradient: Tensor,
	{ dtype, shape }: { dtype: DType; shape: readonly number[] },
): void {
	const fits = gradient.dtype === dtype && gradient.shape.length === shape.length &&
		gradient.shape.every((extent, axis) => extent === shape[axis]);
	if (!fits) {
		throw new RangeError(
			`Cannot go backward through ${what}: the gradient of a ${dtype} tensor of shape [${shape}] ` +
				`has that dtype and shape, not ${gradient.dtype} [${gradient.shape}]`,
		);
	}
}

/** Lets the hooks of each result see its gradient, and puts what they return in its place. */
function hook(node: GraphNode, gradients: (Tensor | null)[]): void {
	for (const [index, hooks] of node.hooks) {
		for (const hook of hooks) {
			const before = gradients[index], other = before && hook(before);
			if (!other || other === before) continue;
			checkGradient(`a hook of ${node.name}`, other, before);
			gradients[index] = other.unownedAlias();
			before.dispose();
		}
	}
}

/** Adds to a leaf's gradient, which is a contiguous tensor of its own. */
function accumulate(leaf: GraphNode, gradient: Tensor): void {
	if (leaf.gradient && !leaf.gradient.disposed) {
		addInPlace(leaf.gradient as Tensor<FloatType>, gradient as Tensor<FloatType>);
		return;
	}
	if (gradient.isExclusive && gradient.isContiguous) {
		leaf.gradient = gradient.unownedAlias();
	} else {
		const copy = Tensor.empty(gradient.device, gradient.dtype, gradient.shape);
		copyInto(copy, gradient);
		leaf.gradient = keep(copy);
	}
}

/** How often each leaf is an input on the way from a root. */
function usesOfLeaves(root: GraphNode): Map<GraphNode, number> {
	const uses = new Map<GraphNode, number>(), seen = new Set([root]), list = [root];
	for (let node = list.pop(); node; node = list.pop()) {
		for (const edge of node.inputs) {
			if (!edge) continue;
			if (!edge.node.backward) uses.set(edge.node, (uses.get(edge.node) ?? 0) + 1);
			else if (!seen.has(edge.node)) {
				seen.add(edge.node);
				list.push(edge.node);
			}
		}
	}
	return uses;
}

/** The nodes on a way from `roots` to `wanted`. */
function between(roots: readonly GraphNode[], wanted: ReadonlySet<GraphNode>): Set<GraphNode> {
	const seen = new Set(roots), list = [...roots];
	for (let node = list.pop(); node; node = list.pop()) {
		for (const edge of node.inputs) {
			if (edge && !seen.has(edge.node)) {
				seen.add(edge.node);
				list.push(edge.node);
			}
		}
	}
	const leading = new Set<GraphNode>();
	for (const node of [...seen].sort((a, b) => a.id - b.id)) {
		if (wanted.has(node) || node.inputs.some((edge) => edge && leading.has(edge.node))) {
			leading.add(node);
		}
	}
	return leading;
}

/** The gradient that a pass starts from. */
function seed(root: Tensor, gradient?: Tensor): Tensor {
	if (gradient) {
		checkGradient("the result", gradient, root);
		return gradient;
	}
	if (root.size !== 1) {
		throw new RangeError(
			`Cannot go backward from a tensor of shape [${root.shape}]: it is not one number; ` +
				"reduce it first, or give { gradient }",
		);
	}
	const one = root.dtype === "bfloat16" ? toBfloat16(1) : 1;
	return Tensor.from(root.device, root.dtype, root.shape, [one]);
}

/** Whose gradients a pass returns, where it does not add to those of the leaves. */
export interface Wanted {
	/** The results and leaves. */
	edges: readonly Edge[];
	/** Whether the pass stops there; else it goes on to those of them that others derive from. */
	stop: boolean;
}

/**
 * Goes backward from `root`.
 *
 * @param wanted without it, the pass goes to all leaves, which accumulate their gradients
 * @returns the gradients of `wanted`, owned by the current scope; null where none came
 */
export function runBackward(
	root: Tensor,
	{ gradient, retainGraph = false, onLeaf }: BackwardOptions,
	wanted?: Wanted,
): (Tensor | null)[] {
	const { edge } = root;
	if (!edge) {
		throw new RangeError(
			"Cannot go backward from a tensor that requires no gradient: nothing that it derives from called " +
				"requireGrad(), or it was computed in noGrad() or detached",
		);
	}
	const found: (Tensor | null)[] = (wanted?.edges ?? []).map(() => null);
	const leading = wanted && between([edge.node], new Set(wanted.edges.map(({ node }) => node)));
	const pending = new Pending(), uses = onLeaf && usesOfLeaves(edge.node);
	const visit = (node: GraphNode, gradients: readonly (Tensor | null)[]) => {
		let stop = false;
		wanted?.edges.forEach((target, i) => {
			if (target.node !== node) return;
			stop = wanted.stop;
			found[i] = gradients[target.index]?.alias() ?? null;
		});
		if (stop || gradients.every((one) => !one)) return;
		if (!node.backward) {
			if (!wanted) accumulate(node, gradients[0]!);
			onLeaf?.(node);
			return;
		}
		const needs = node.inputs.map((to) => to !== null && (leading?.has(to.node) ?? true));
		if (!needs.includes(true)) return;
		scopeOf(node, () => {
			const inputs = node.backward!(gradients, node.saved, needs);
			node.inputs.forEach((to, i) => {
				const one = inputs[i];
				if (!needs[i] || !one) return;
				checkGradient(node.name, one, node.shapes[i]!);
				pending.add(to!, one);
			});
		});
		if (!retainGraph) node.spend();
		if (uses) {
			for (const to of node.inputs) {
				const left = to && uses.get(to.node);
				if (!left) continue;
				uses.set(to.node, left - 1);
				if (left === 1) complete(to.node, pending.takeOf(to.node) ?? []);
			}
		}
	};
	const complete = (node: GraphNode, gradients: (Tensor | null)[]) => {
		try {
			hook(node, gradients);
			visit(node, gradients);
		} finally {
			for (const one of gradients) one?.dispose();
		}
	};
	return keepReturned(
		() =>
			noGrad(() => {
				try {
					pending.add(edge, seed(root, gradient));
					for (let next = pending.take(); next; next = pending.take()) {
						complete(...next);
					}
					return found;
				} finally {
					pending.dispose();
				}
			}),
		"the backward pass",
		(gradients, into) => gradients.forEach((one) => into.add(one)),
	);
}

/** Frees what the backward pass of one node made and did not hand on. */
function scopeOf(node: GraphNode, body: () => void): void {
	keepReturned(body, `the backward pass of ${node.name}`, () => {});
}
