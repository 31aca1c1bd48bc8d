// An optimizer whose state is shared out among processes: each keeps that of its own parameters, changes those, and
// gives them to the others (ZeRO stage 1; Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training
// Trillion Parameter Models").

import type { ProcessGroup } from "../../parallel/process_group.ts";
import { keep, Tensor } from "../../tensor/mod.ts";
import type { GradientNorm } from "../optim/clip.ts";
import type { Optimizer, Parameters } from "../optim/optimizer.ts";

/** Whose parameters are whose: the largest first, each to the process that has least. */
export function shareOut(parameters: Parameters, ranks: number): Map<Tensor, number> {
	const loads = Array<number>(ranks).fill(0), owners = new Map<Tensor, number>();
	for (const parameter of [...parameters.values()].sort((a, b) => b.size - a.size)) {
		const owner = loads.indexOf(Math.min(...loads));
		owners.set(parameter, owner);
		loads[owner]! += parameter.size;
	}
	return owners;
}

/** An optimizer of this process's parameters, which looks to its trainer like one of all of them. */
export class ShardedOptimizer implements Optimizer {
	readonly #inner: Optimizer;
	readonly #parameters: Parameters;
	readonly #owners: ReadonlyMap<Tensor, number>;
	readonly #group: ProcessGroup;

	/**
	 * Wraps an optimizer.
	 *
	 * @param inner of the parameters that `owners` gives to this process
	 */
	constructor(
		inner: Optimizer,
		parameters: Parameters,
		owners: ReadonlyMap<Tensor, number>,
		group: ProcessGroup,
	) {
		this.#inner = inner;
		this.#parameters = parameters;
		this.#owners = owners;
		this.#group = group;
	}

	get name(): string {
		return this.#inner.name;
	}

	/** The state of this process's own parameters. */
	get state(): ReadonlyMap<string, Tensor<"float32">> {
		return this.#inner.state;
	}

	get steps(): number {
		return this.#inner.steps;
	}

	set steps(count: number) {
		this.#inner.steps = count;
	}

	step(learningRate: number, gradients?: GradientNorm): void {
		this.#inner.step(learningRate, gradients);
		this.#group.together(() => {
			for (const parameter of this.#parameters.values()) {
				this.#group.broadcast(parameter, this.#owners.get(parameter)!);
			}
		});
		for (const parameter of this.#parameters.values()) parameter.changed();
	}

	/** Frees the gradients of other processes' parameters, whose sums only those have. */
	forgetOthers(): void {
		for (const [parameter, owner] of this.#owners) {
			if (owner !== this.#group.rank) parameter.zeroGrad();
		}
	}

	/**
	 * The state of all parameters on rank 0, to save it or to load into; free it. On other ranks it
	 * is their own. All processes call this.
	 */
	async whole(): Promise<WholeState> {
		const shapes = [...this.state].map(([name, { shape }]) => ({ name, shape: [...shape] }));
		const all = await this.#group.exchange(shapes);
		const { rank, device } = this.#group;
		const tensors = new Map<string, Tensor<"float32">>();
		const made: Tensor[] = [];
		const passed: { tensor: Tensor<"float32">; owner: number }[] = [];
		all.forEach((entries, owner) => {
			for (const { name, shape } of entries) {
				let tensor = this.state.get(name);
				if (!tensor) {
					if (rank !== 0) continue;
					made.push(tensor = keep(Tensor.empty<"float32", number>(device, "float32", shape)));
				}
				tensors.set(name, tensor);
				if (owner !== 0) passed.push({ tensor, owner });
			}
		});
		return {
			name: this.name,
			state: tensors,
			steps: this.steps,
			step: () => {},
			collect: () =>
				this.#group.together(() =>
					passed.forEach(({ tensor, owner }) => this.#group.pass(tensor, owner, 0))
				),
			scatter: () =>
				this.#group.together(() =>
					passed.forEach(({ tensor, owner }) => this.#group.pass(tensor, 0, owner))
				),
			[Symbol.dispose]: () => made.forEach((one) => one.dispose()),
		};
	}

	/** Frees the state. */
	[Symbol.dispose](): void {
		this.#inner[Symbol.dispose]();
	}
}

/** The state of an optimizer in one place, as checkpoints have it. */
export interface WholeState extends Optimizer {
	/** Has rank 0 receive what the others keep. */
	collect(): void;
	/** Has the others receive their parts of what rank 0 has. */
	scatter(): void;
}
