// Training on several processes: each has the whole model and its share of every batch, and all change their
// parameters by the same gradients. What the trainer of one process does otherwise then, stands here.

import { createHash } from "node:crypto";
import type { ProcessGroup } from "../../parallel/process_group.ts";
import { type GeneratorState, Tensor } from "../../tensor/mod.ts";
import type { Optimizer, Parameters } from "../optim/optimizer.ts";
import type { Trained, TrainingState } from "./checkpoint.ts";
import type { DataSource, Split } from "./data.ts";
import { GradientExchange } from "./gradient_exchange.ts";
import { ShardedOptimizer, shareOut } from "./sharded_optimizer.ts";
import type { Trainable } from "./trainable.ts";

/** The options of training that all processes must have in common. */
interface CommonOptions {
	data: DataSource;
	steps: number;
	batchSize: number;
	tokens: number;
	accumulation?: number;
	dtype?: string;
	clip?: number;
	resume?: boolean;
	shardOptimizer?: boolean;
	config?: unknown;
}

/** Sequences of each split by which data are recognized. */
const SAMPLES = 4;

/** A process of several that train a model. */
export class DataParallel implements Disposable {
	/** All of them. */
	readonly group: ProcessGroup;
	/** Of all parameters, or of this process's own. */
	readonly optimizer: Optimizer;
	/** What sends gradients. */
	readonly exchange: GradientExchange;
	readonly #parameters: Parameters;
	readonly #options: CommonOptions;
	readonly #sharded: ShardedOptimizer | null;

	/**
	 * Shares out the work.
	 *
	 * @param optimize makes an optimizer of a model's parameters
	 * @throws {RangeError} if a batch cannot be shared out evenly
	 */
	constructor(
		model: Trainable,
		group: ProcessGroup,
		options: CommonOptions,
		optimize: (model: Trainable) => Optimizer,
	) {
		const { batchSize, shardOptimizer = false } = options, { parameters } = model;
		if (batchSize % group.size !== 0) {
			throw new RangeError(
				`Cannot share out batches of ${batchSize} sequences to ${group.size} processes: ` +
					"their number must divide it",
			);
		}
		this.group = group;
		this.#parameters = parameters;
		this.#options = options;
		if (shardOptimizer) {
			const owners = shareOut(parameters, group.size);
			const own = new Map([...parameters].filter(([, one]) => owners.get(one) === group.rank));
			const inner = optimize({
				parameters: own,
				loss: model.loss.bind(model),
				...model.decays && { decays: model.decays.bind(model) },
			});
			this.optimizer = this.#sharded = new ShardedOptimizer(inner, parameters, owners, group);
			this.exchange = new GradientExchange(parameters, group, owners);
		} else {
			this.#sharded = null;
			this.optimizer = optimize(model);
			this.exchange = new GradientExchange(parameters, group);
		}
	}

	/** Frees what it made. */
	[Symbol.dispose](): void {
		this.exchange[Symbol.dispose]();
		this.optimizer[Symbol.dispose]();
	}

	/**
	 * Makes sure that all processes train the same, and gives them rank 0's parameters and optimizer: new ones, or
	 * those of a checkpoint that only rank 0 needs to see.
	 *
	 * @param generator rank 0's, which the others derive their own from, so that dropout differs
	 * @param load reads a checkpoint, if there is one to go on from
	 */
	async begin(
		generator: GeneratorState,
		load: (trained: Trained) => Promise<TrainingState | null>,
	): Promise<Pick<TrainingState, "step" | "sequences" | "generator">> {
		const { group } = this;
		await group.agree(this.#facts());
		using whole = await this.#sharded?.whole();
		const optimizer = whole ?? this.optimizer;
		const found = group.rank === 0 ? await load({ parameters: this.#parameters, optimizer }) : null;
		const own = { step: 0, sequences: 0, generator, ...found };
		const [{ step, sequences, generator: { seed, offset } }] = await group.exchange({
			step: own.step,
			sequences: own.sequences,
			generator: own.generator,
		}) as [typeof own];
		group.together(() => this.#parameters.forEach((one) => group.broadcast(one)));
		if (step > 0) {
			if (whole) whole.scatter();
			else group.together(() => this.optimizer.state.forEach((one) => group.broadcast(one)));
		}
		this.optimizer.steps = step;
		await group.device.synchronize();
		group.check();
		for (const parameter of this.#parameters.values()) parameter.changed();
		// Another multiple of the golden ratio for each, so that no two are near each other.
		const other = (seed + group.rank * 0x9e3779b97f4a) % Number.MAX_SAFE_INTEGER;
		return { step, sequences, generator: { seed: group.rank === 0 ? seed : other, offset } };
	}

	#facts(): Record<string, string> {
		const { data, config, steps, batchSize, tokens, accumulation, dtype, clip, resume } =
			this.#options;
		const { size: ranks } = this.group;
		const shapes = Array.from(this.#parameters, ([name, { shape }]) => `${name} [${shape}]`);
		return {
			"number of ranks": `${ranks}`,
			training: JSON.stringify({ steps, batchSize, tokens, accumulation, dtype, clip, resume }),
			optimizer: `${this.optimizer.name}${this.#sharded ? ", shared out" : ""}`,
			model: digest(shapes.join()),
			configuration: JSON.stringify(config ?? null),
			data: `${data.description} (${contentOf(data, tokens)})`,
		};
	}

	/** The name of this process's log. */
	logOf(path: string): string {
		const { rank } = this.group;
		return rank === 0 ? path : path.replace(/(\.\w+)?$/, `.rank-${rank}$1`);
	}

	/**
	 * Behind the backward pass: the sums of gradients and of `total` over all processes.
	 *
	 * @param stop whether this process wants to stop
	 * @returns above 0 if any does; to be freed
	 */
	combine(total: Tensor, stop: boolean): Tensor {
		const stops = Tensor.from<"float32", 1>(this.group.device, "float32", [1], [Number(stop)]);
		this.exchange.finish(total, stops);
		if (this.#sharded) this.#sharded.forgetOthers();
		return stops;
	}

	/** The squares of the gradients that other processes have, where each has only those of its own parameters. */
	readonly combineSquares = (squares: Tensor<"float64", 1>): void => {
		if (this.#sharded) this.group.allReduce(squares);
	};

	/** Has rank 0 write a checkpoint, while the others wait; returns its path. */
	async save(write: (trained: Trained) => Promise<string>): Promise<string> {
		using whole = await this.#sharded?.whole();
		whole?.collect();
		await this.group.device.synchronize();
		this.group.check();
		const optimizer = whole ?? this.optimizer;
		const path = this.group.rank === 0
			? await write({ parameters: this.#parameters, optimizer })
			: "";
		return (await this.group.exchange(path))[0]!;
	}
}

const digest = (data: string | Uint8Array) =>
	createHash("sha256").update(data).digest("hex").slice(0, 16);

/** A hash of the first sequences. */
function contentOf(data: DataSource, tokens: number): string {
	const all = new Int32Array(4 * SAMPLES * tokens);
	(["train", "validation"] as Split[]).forEach((split, s) => {
		for (let i = 0; i < SAMPLES; i++) {
			const at = 2 * (s * SAMPLES + i) * tokens;
			data.fill(
				split,
				i,
				all.subarray(at, at + tokens),
				all.subarray(at + tokens, at + 2 * tokens),
			);
		}
	});
	return digest(new Uint8Array(all.buffer));
}
