// Training: batches, gradients, updates, and on the way evaluation, checkpoints and a log. The device works on one
// step while the next is queued; what a step found is read one step later.

import {
	addInPlace,
	defaultGenerator,
	type Device,
	type Event,
	type FloatType,
	type Generator,
	type GeneratorState,
	keep,
	noGrad,
	scope,
	Tensor,
} from "../../tensor/mod.ts";
import { AdamW } from "../optim/adamw.ts";
import { GradientNorm } from "../optim/clip.ts";
import { checkParameters, type Optimizer, zeroGradients } from "../optim/optimizer.ts";
import type { Schedule } from "../optim/schedule.ts";
import type { ProcessGroup } from "../../parallel/process_group.ts";
import type { Probe } from "../probe.ts";
import {
	CheckpointError,
	CheckpointFolder,
	type Trained,
	type TrainingState,
} from "./checkpoint.ts";
import { type DataSource, loadBatch } from "./data.ts";
import { DataParallel } from "./data_parallel.ts";
import { explainFailure } from "./failure.ts";
import { type LogRecord, TrainingLog, type TrainingProgress } from "./log.ts";
import type { Trainable } from "./trainable.ts";

/** Measures a model while it trains, by probes in runs of single sequences. */
export interface Watch extends Probe {
	/**
	 * What the runs since the last call showed, for the log; waits for the device.
	 *
	 * @param exchange gives the values of all processes by rank, where several train together: of the sequences, rank
	 * r of n has run those numbered r, r + n, r + 2n and so on
	 */
	take(exchange: <T>(value: T) => Promise<T[]>): Promise<Record<string, unknown>>;
}

/** Options of {@linkcode train}. */
export interface TrainOptions {
	/** What to train on. */
	data: DataSource;
	/** How many updates. */
	steps: number;
	/** Sequences that go through the model at a time; a group of processes shares them out. */
	batchSize: number;
	/** Tokens of each. */
	tokens: number;
	/** How many batches make an update. @default {1} */
	accumulation?: number;
	/** Makes the optimizer. @default AdamW with the model's decay */
	optimizer?: (model: Trainable) => Optimizer;
	/** The learning rate of each update. */
	schedule: Schedule;
	/** What the norm of all gradients is clipped to; `Infinity` for no clipping. @default {1} */
	clip?: number;
	/** Type of the inputs of matrix products; parameters and sums are float32. @default {"float32"} */
	dtype?: FloatType;
	/** Computes layers again in the backward pass, to save memory. @default {false} */
	checkpointing?: boolean;
	/** Evaluates by the first `sequences` of the validation data, every `interval` updates and at the end. */
	evaluation?: { interval: number; sequences: number };
	/** Measures by the first `sequences` of the validation data, every `interval` updates and at the end. */
	metrics?: { watch: Watch; interval: number; sequences: number };
	/** Saves checkpoints every `interval` updates and at the end, and keeps the last `keep` of them (2). */
	checkpoints?: { folder: string; interval: number; keep?: number };
	/** Goes on from the latest checkpoint, if there is one. Else the folder must have none. @default {false} */
	resume?: boolean;
	/** Writes a log of JSON Lines to this file. */
	log?: string;
	/** Updates between two records of the loss. @default {10} */
	logInterval?: number;
	/** The generator of dropout and the like, whose state checkpoints keep. @default {defaultGenerator} */
	generator?: Generator;
	/** The processes that train together, all of which call this with the same options. @default this one alone */
	group?: ProcessGroup;
	/** Has each of them keep only its part of the optimizer's state (ZeRO stage 1). @default {false} */
	shardOptimizer?: boolean;
	/** Anything that JSON can say, for the log and the checkpoints. */
	config?: unknown;
	/** Told after each update. */
	onProgress?: (progress: TrainingProgress) => void;
	/** Stops after the update at hand, with a checkpoint. */
	signal?: AbortSignal;
}

/** How a run ended. */
export interface TrainingResult {
	/** Updates made, those before a resumption among them. */
	step: number;
	/** Loss of the last batch; null if no update was made. */
	loss: number | null;
	/** Loss of the validation data; null if there was no evaluation. */
	validationLoss: number | null;
	/** Whether all updates were made. */
	finished: boolean;
	/** The most bytes of the device that were in use at a time. */
	peakBytes: number;
}

/**
 * An update whose results are on their way: [loss, norm, coefficient, whether anything was not finite, whether a
 * process of the group is to stop].
 */
interface Pending {
	step: number;
	results: Tensor<"float32", 1>;
	done: Event;
	generator: GeneratorState;
}

class Run implements Disposable {
	readonly #model: Trainable;
	readonly #options: TrainOptions;
	readonly #device: Device;
	readonly #optimizer: Optimizer;
	readonly #norm: GradientNorm;
	readonly #folder: CheckpointFolder | null;
	readonly #generator: Generator;
	readonly #perUpdate: number;
	readonly #parallel: DataParallel | null;
	readonly #stack: DisposableStack;
	readonly #results: Tensor<"float32", 1>[];
	#log: TrainingLog | null = null;
	#step = 0;
	#sequences = 0;
	#loss: number | null = null;
	#validationLoss: number | null = null;
	#saved = -1;
	#stopped = false;
	#rate = { since: 0, tokens: 0, perSecond: 0 };

	constructor(model: Trainable, options: TrainOptions) {
		const counts = {
			steps: options.steps,
			batchSize: options.batchSize,
			tokens: options.tokens,
			accumulation: options.accumulation ?? 1,
			logInterval: options.logInterval ?? 1,
			"evaluation.interval": options.evaluation?.interval ?? 1,
			"evaluation.sequences": options.evaluation?.sequences ?? 1,
			"metrics.interval": options.metrics?.interval ?? 1,
			"metrics.sequences": options.metrics?.sequences ?? 1,
			"checkpoints.interval": options.checkpoints?.interval ?? 1,
		};
		for (const [name, count] of Object.entries(counts)) {
			if (!(Number.isInteger(count) && count >= 1)) {
				throw new RangeError(`Cannot train with ${name} ${count}: it must be at least 1`);
			}
		}
		this.#model = model;
		this.#options = options;
		this.#device = checkParameters(model.parameters);
		this.#generator = options.generator ?? defaultGenerator;
		this.#perUpdate = options.batchSize * (options.accumulation ?? 1);
		const { checkpoints, clip = 1 } = options;
		this.#folder = checkpoints ? new CheckpointFolder(checkpoints.folder, checkpoints.keep) : null;
		using stack = new DisposableStack(); // frees what there is if something more is refused
		this.#norm = stack.use(new GradientNorm(model.parameters, { maximum: clip }));
		const optimize = (model: Trainable) =>
			options.optimizer?.(model) ?? new AdamW(model.parameters, {
				...model.decays && { decays: (name) => model.decays!(name) },
			});
		const { group } = options;
		this.#parallel = group && group.size > 1
			? stack.use(new DataParallel(model, group, options, optimize))
			: null;
		this.#optimizer = this.#parallel?.optimizer ?? stack.use(optimize(model));
		this.#results = [0, 1].map(() =>
			stack.use(keep(Tensor.zeros<"float32", 1>(this.#device, "float32", [5])))
		);
		this.#stack = stack.move();
	}

	[Symbol.dispose](): void {
		zeroGradients(this.#model.parameters);
		this.#stack.dispose();
		this.#log?.[Symbol.dispose]();
	}

	/** Goes to where the run was before, if it is resumed, and opens the log there. */
	async begin(): Promise<void> {
		const { log, data, config = null } = this.#options;
		const state = this.#parallel
			? await this.#parallel.begin(this.#generator.state, (trained) => this.#load(trained))
			: await this.#load({ parameters: this.#model.parameters, optimizer: this.#optimizer });
		if (state) {
			this.#step = state.step;
			this.#saved = state.step || -1;
			this.#sequences = state.sequences;
			this.#generator.state = state.generator;
		}
		const parameters = [...this.#model.parameters.values()];
		const file = log === undefined ? undefined : this.#parallel?.logOf(log) ?? log;
		this.#log = file === undefined
			? null
			: TrainingLog.open(file, this.#step > 0 ? this.#step : -1);
		this.#write({
			event: "start",
			step: this.#step,
			time: new Date().toISOString(),
			parameters: parameters.reduce((sum, { size }) => sum + size, 0),
			steps: this.#options.steps,
			tokensPerStep: this.#perUpdate * this.#options.tokens,
			data: data.description,
			optimizer: this.#optimizer.name,
			device: this.#device.name,
			config,
		});
	}

	/** Reads the latest checkpoint, if the run is resumed and there is one. */
	async #load(trained: Trained): Promise<TrainingState | null> {
		const { resume = false, data } = this.#options, folder = this.#folder;
		if (!folder) return null;
		await folder.prepare();
		if (resume) return await folder.loadLatest(trained, data.description);
		if ((await folder.list()).length > 0) {
			throw new CheckpointError(
				folder.path,
				"it has checkpoints of another run: resume that, or choose another folder",
			);
		}
		return null;
	}

	#write(record: LogRecord): void {
		this.#log?.write(record);
	}

	async run(): Promise<TrainingResult> {
		const { steps, evaluation, metrics, checkpoints, signal } = this.#options;
		const due = (interval: number | undefined) =>
			interval !== undefined && (this.#step % interval === 0 || this.#step === steps);
		this.#device.resetPeak();
		this.#restartClock();
		let pending: Pending | null = null;
		if (this.#step === 0) await this.#measure(due(evaluation?.interval), due(metrics?.interval));
		// Several processes must stop behind the same update: each tells the others in the next one.
		while (this.#step < steps && !(this.#parallel ? this.#stopped : signal?.aborted)) {
			const next: Pending = this.#update(this.#step);
			if (pending) await this.#finish(pending);
			pending = next;
			const [evaluate, measure, save] = [evaluation, metrics, checkpoints]
				.map((one) => due(one?.interval)) as [boolean, boolean, boolean];
			if (!evaluate && !measure && !save) continue;
			await this.#finish(pending);
			pending = null;
			await this.#measure(evaluate, measure);
			if (save) await this.#save();
			this.#restartClock();
		}
		if (pending) await this.#finish(pending);
		if (this.#folder && this.#saved < this.#step) await this.#save();
		const result = {
			step: this.#step,
			loss: this.#loss,
			validationLoss: this.#validationLoss,
			finished: this.#step >= steps,
			peakBytes: this.#device.peakBytes,
		};
		this.#write({ event: "end", ...result });
		return result;
	}

	/** Computes the losses and gradients of an update's batches; `total` gets the mean of the losses. */
	#accumulate(
		first: number,
		total: Tensor<"float32", 0> | null,
		probes: readonly Probe[] = [],
	): number[] {
		const { data, batchSize, tokens, accumulation = 1, dtype = "float32", checkpointing = false } =
			this.#options;
		const losses: number[] = [], { size: ranks = 1, rank = 0 } = this.#options.group ?? {};
		const count = batchSize / ranks;
		using share = Tensor.from<"float32", 0>(
			this.#device,
			"float32",
			[],
			[1 / (accumulation * ranks)],
		);
		for (let i = 0; i < accumulation; i++) {
			const at = first + i * batchSize + rank * count;
			// Gradients go to the other processes once they are the sum over all batches of this one.
			const exchange = total && i === accumulation - 1 ? this.#parallel?.exchange : undefined;
			exchange?.begin();
			using batch = loadBatch(this.#device, data, "train", at, count, tokens);
			scope(() => {
				const options = { dtype, training: true, checkpointing, ...probes.length && { probes } };
				const loss = this.#model.loss(batch.inputs, batch.targets, options);
				if (total) noGrad(() => addInPlace(total, loss.mul(share)));
				else losses.push(loss.item());
				loss.backward({ gradient: share, ...exchange && { onLeaf: exchange.onLeaf } });
			});
		}
		return losses;
	}

	/** Queues an update. */
	#update(step: number): Pending {
		const generator = this.#generator.state, results = this.#results[step % 2]!;
		using total = Tensor.zeros<"float32", 0>(this.#device, "float32", []);
		this.#accumulate(this.#sequences, total);
		const parallel = this.#parallel;
		using stop = parallel?.combine(total, this.#options.signal?.aborted ?? false);
		this.#norm.measure(total, parallel?.combineSquares);
		this.#optimizer.step(this.#options.schedule(step), this.#norm);
		zeroGradients(this.#model.parameters);
		this.#device.copy(results.pointer, total.pointer, 4);
		this.#device.copy(results.pointer + 4, this.#norm.verdict.pointer, 12);
		if (stop) this.#device.copy(results.pointer + 16, stop.pointer, 4);
		this.#step++;
		this.#sequences += this.#perUpdate;
		return { step, results, done: this.#device.mark(), generator };
	}

	/** Waits for an update and tells what it found. */
	async #finish({ step, results, done, generator }: Pending): Promise<void> {
		await done.reached();
		this.#parallel?.group.check();
		const [loss, norm, , bad, stop] = results.readNow();
		if (stop! > 0) this.#stopped = true;
		if (bad !== 0) this.#fail(step, generator);
		this.#loss = loss!;
		const { schedule, steps, tokens, logInterval = 10, onProgress } = this.#options;
		const clock = this.#rate, now = performance.now();
		clock.tokens += this.#perUpdate * tokens;
		const seconds = (now - clock.since) / 1000;
		if (seconds > 0) clock.perSecond = clock.tokens / seconds;
		const made = step + 1;
		onProgress?.({
			step: made,
			steps,
			loss: loss!,
			tokensPerSecond: clock.perSecond,
			secondsLeft: (steps - made) * this.#perUpdate * tokens / clock.perSecond,
		});
		if (made % logInterval !== 0 && made !== steps && made !== 1) return;
		this.#write({
			event: "step",
			step: made,
			tokens: made * this.#perUpdate * tokens,
			loss: loss!,
			learningRate: schedule(step),
			gradientNorm: norm!,
			tokensPerSecond: clock.perSecond,
			liveBytes: this.#device.liveBytes,
			peakBytes: this.#device.peakBytes,
		});
		if (seconds > 5) this.#restartClock();
	}

	#restartClock(): void {
		this.#rate = { since: performance.now(), tokens: 0, perSecond: this.#rate.perSecond };
	}

	/** The updates since have changed nothing, so the one that failed can be computed again. */
	#fail(step: number, generator: GeneratorState): never {
		this.#generator.state = generator;
		zeroGradients(this.#model.parameters);
		const error = explainFailure(
			step,
			this.#model.parameters,
			(probes) => this.#accumulate(step * this.#perUpdate, null, probes),
		);
		this.#write({ event: "end", step, problem: error.message });
		throw error;
	}

	/** Evaluates and measures, without touching what training draws. */
	async #measure(evaluate: boolean, measure: boolean): Promise<void> {
		const { evaluation, metrics } = this.#options, { state } = this.#generator;
		try {
			if (evaluate) {
				this.#validationLoss = await this.#evaluate(evaluation!.sequences);
				this.#write({ event: "evaluation", step: this.#step, loss: this.#validationLoss });
			}
			if (measure) {
				const { watch, sequences } = metrics!;
				const { group } = this.#options;
				for (let i = group?.rank ?? 0; i < sequences; i += group?.size ?? 1) {
					this.#validate(i, 1, [watch]).dispose();
					await this.#device.synchronize(); // lets other tasks through
				}
				this.#write({ event: "metrics", step: this.#step, ...await watch.take(this.#exchange) });
			}
		} finally {
			this.#generator.state = state;
		}
	}

	readonly #exchange = async <T>(value: T): Promise<T[]> =>
		await this.#parallel?.group.exchange(value) ?? [value];

	/** The loss of some validation sequences. */
	#validate(first: number, count: number, probes: readonly Probe[]): Tensor<"float32", 0> {
		const { data, tokens, dtype = "float32" } = this.#options;
		using batch = loadBatch(this.#device, data, "validation", first, count, tokens);
		return noGrad(() =>
			this.#model.loss(batch.inputs, batch.targets, {
				dtype,
				training: false,
				...probes.length && { probes },
			})
		);
	}

	async #evaluate(sequences: number): Promise<number> {
		const { batchSize, group } = this.#options, most = batchSize / (group?.size ?? 1);
		let sum = 0;
		for (let first = most * (group?.rank ?? 0); first < sequences; first += batchSize) {
			const count = Math.min(most, sequences - first);
			using loss = this.#validate(first, count, []);
			sum += (await loss.data())[0]! * count;
		}
		return (await this.#exchange(sum)).reduce((a, b) => a + b) / sequences;
	}

	async #save(): Promise<void> {
		const save = (trained: Trained) =>
			this.#folder!.save(trained, {
				step: this.#step,
				sequences: this.#sequences,
				generator: this.#generator.state,
				data: this.#options.data.description,
				optimizer: this.#optimizer.name,
				config: this.#options.config ?? null,
			});
		const path = this.#parallel
			? await this.#parallel.save(save)
			: await save({ parameters: this.#model.parameters, optimizer: this.#optimizer });
		this.#saved = this.#step;
		this.#write({ event: "checkpoint", step: this.#step, path });
	}
}

/**
 * Trains a model: in each step the gradients of `accumulation` batches, clipped, change the parameters once.
 *
 * A run that is killed and resumed has the same parameters in the end, bit for bit, as one that went through.
 *
 * @throws {TrainingError} if a loss or gradient is not finite: it names the step and the first such tensor
 * @throws {CheckpointError} if a checkpoint cannot be written or resumed from
 *
 * @example A small GPT-2
 * ```ts ignore
 * using model = await gpt2({ layers: 4, heads: 4, hiddenSize: 128, vocabularySize: 64, contextLength: 64 });
 * await train(model, {
 *   data: inductionTask(),
 *   steps: 2000,
 *   batchSize: 32,
 *   tokens: 64,
 *   schedule: cosine({ peak: 2e-3, warmUp: 100, steps: 2000 }),
 *   checkpoints: { folder: "out/induction", interval: 500 },
 *   log: "out/induction/log.jsonl",
 * });
 * ```
 */
export async function train(model: Trainable, options: TrainOptions): Promise<TrainingResult> {
	using run = new Run(model, options);
	await run.begin();
	return await run.run();
}
