// A Transformer of any family: embeds tokens, runs the layers, gives logits. A forward pass for analysis goes
// layer by layer, all sequences through one layer before the next, so that the weights of a checkpoint pass
// through memory once; for training, parameters are resident and a batch runs through all layers at once.

import {
	checkpoint,
	copyInto,
	crossEntropy,
	type Device,
	type FloatType,
	keep,
	noGrad,
	scope,
	Tensor,
} from "../tensor/mod.ts";
import type { Checkpoint, Tokenizer } from "../formats/mod.ts";
import { checkShape } from "../tensor/tensor.ts";
import type { Attention } from "./attention/attention.ts";
import { softmaxVariant } from "./attention/softmax.ts";
import { runBlock } from "./block.ts";
import { slopesOf, type TransformerConfig } from "./config.ts";
import { EMBEDDING_PARAMETERS, firstHidden, withoutRegisters } from "./embed.ts";
import type { KeyValueCache } from "./key_value_cache.ts";
import { parameterSpecs } from "./parameters.ts";
import { type Probe, Probes } from "./probe.ts";
import { type Hidden, norm, project } from "./project.ts";
import { ResidentWeights } from "./resident_weights.ts";
import { RotaryTable } from "./rotary.ts";
import { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";
import type { GenerationDefaults } from "./sampling.ts";
import { finish, Loading, type Weights } from "./weights.ts";

/** Options of {@linkcode Transformer.forward}. */
export interface ForwardOptions {
	/**
	 * Type of the inputs of matrix products, and of queries, keys, values, gate and up. Sums, norms, x_down
	 * and the hidden state are float32 in both.
	 * @default {"float32"}
	 */
	dtype?: FloatType;
	/** Take tensors from the run. */
	probes?: readonly Probe[];
	/** Told after each layer of each sequence: how many are done, of how many. */
	onProgress?: (done: number, total: number) => void;
	/** Stops the run; the promise then rejects with the signal's reason. */
	signal?: AbortSignal;
}

/** Options of {@linkcode Transformer.loss}. */
export interface LossOptions {
	/** As in {@linkcode ForwardOptions}. @default {"float32"} */
	dtype?: FloatType;
	/** Take tensors from the run. */
	probes?: readonly Probe[];
	/** Whether layers keep only their inputs and are computed again in the backward pass. @default {false} */
	checkpointing?: boolean;
}

const HEAD_MATRIX = ["embed.weight", "head.weight"];
const HEAD = ["norm.weight", "norm.bias", "head.projection.weight", "head.bias"];

/** For how many tokens logits exist at a time where only their losses are asked for. */
const LOGIT_ROWS = 512;

/** Options of a run outside of the layers that nobody watches. */
const NOTHING = {
	probes: new Probes([]),
	layer: -1,
	sequence: 0,
	batch: 1,
	rotary: null,
	slopes: null,
	attention: softmaxVariant(),
	recorded: false,
} as const;

/** What a model is made of. */
export interface TransformerParts {
	/** Where it runs. */
	device: Device;
	/** What defines it. */
	config: TransformerConfig;
	/** Its parameters, freed with the model. */
	weights: Weights;
	/** The checkpoint it is read from, if it is. */
	checkpoint?: Checkpoint;
	/** What happens between the projections of a layer. @default {softmax attention} */
	attention?: Attention;
	/** The settings of its config.json, if it came with one. */
	settings?: Readonly<Record<string, unknown>>;
	/** How its tokens are chosen where the user says nothing. */
	generation?: GenerationDefaults;
	/** Its name. */
	name?: string;
	/** Its tokenizer, if it has one. */
	tokenizer?: Tokenizer;
}

/** A Transformer. */
export class Transformer implements Disposable {
	/** What defines it. */
	readonly config: TransformerConfig;
	/** Where it runs. */
	readonly device: Device;
	/** Its name, for people. */
	readonly name: string;
	/** The checkpoint it is read from; null of a model that was built. */
	readonly checkpoint: Checkpoint | null;
	/** What happens between the projections of a layer. */
	readonly attention: Attention;
	/** The settings of its config.json; null if it came without one. */
	readonly settings: Readonly<Record<string, unknown>> | null;
	/** How `generate` chooses tokens where the user says nothing: what its generation_config.json says. */
	readonly generation: GenerationDefaults;
	readonly #weights: Weights;
	readonly #tokenizer: Tokenizer | null;
	#kept: RotaryTable | null = null;
	readonly #outgrown: RotaryTable[] = [];
	readonly #slopes: Tensor<"float32", 1> | null;

	/** Puts a model together; `loadModel` does so from a file. */
	constructor(parts: TransformerParts) {
		const { device, config, weights, checkpoint, tokenizer, name, settings } = parts;
		this.device = device;
		this.config = config;
		this.checkpoint = checkpoint ?? null;
		this.attention = parts.attention ?? softmaxVariant();
		this.settings = settings ?? null;
		this.generation = parts.generation ?? {};
		this.name = name ?? config.family;
		this.#weights = weights;
		this.#tokenizer = tokenizer ?? null;
		const slopes = slopesOf(config);
		this.#slopes = slopes &&
			Tensor.from<"float32", 1>(device, "float32", [slopes.length], slopes);
	}

	/** Whether it came with a tokenizer. */
	get hasTokenizer(): boolean {
		return this.#tokenizer !== null;
	}

	/** Text to token ids and back; throws if the model came without a tokenizer. */
	get tokenizer(): Tokenizer {
		if (this.#tokenizer) return this.#tokenizer;
		throw new Error(`Cannot tokenize: the model ${this.name} came without a tokenizer`);
	}

	/** Frees the parameters, closes the checkpoint. */
	[Symbol.dispose](): void {
		for (const table of [this.#kept, ...this.#outgrown]) table?.[Symbol.dispose]();
		this.#slopes?.dispose();
		this.#weights[Symbol.dispose]();
	}

	/** Angles of so many positions. */
	#rotaryTable(tokens: number): RotaryTable | null {
		const { positions } = this.config;
		if (positions.kind !== "rotary") return null;
		const { dimensions, base, factors } = positions;
		return new RotaryTable(this.device, tokens, dimensions, base, factors);
	}

	/** The same, of at least so many, which live as long as the model: a backward pass may want them again. */
	#keptRotary(tokens: number): RotaryTable | null {
		if (this.#kept && this.#kept.cosine.shape[0] >= tokens) return this.#kept;
		const table = this.#rotaryTable(Math.max(tokens, 2 * (this.#kept?.cosine.shape[0] ?? 0)));
		if (!table) return null;
		keep(table.cosine);
		keep(table.sine);
		if (this.#kept) this.#outgrown.push(this.#kept);
		return this.#kept = table;
	}

	#checkSequences(sequences: readonly (readonly number[])[]): void {
		const { vocabularySize, contextLength } = this.config;
		for (const [index, tokens] of sequences.entries()) {
			if (tokens.length === 0 || tokens.length > contextLength) {
				throw new RangeError(
					`Cannot run sequence ${index} of ${tokens.length} tokens: the model takes 1 to ` +
						`${contextLength}`,
				);
			}
			const wrong = tokens.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
			if (wrong !== undefined) {
				throw new RangeError(
					`Cannot run sequence ${index}: token id ${wrong} is not in 0 to ${vocabularySize - 1}`,
				);
			}
		}
	}

	/**
	 * Runs sequences through all layers.
	 *
	 * @param sequences token ids, each sequence of 1 to `config.contextLength`
	 * @returns h of the last layer of each sequence, [T, H], before the final norm; free them after use
	 * @throws {RangeError} if a sequence is empty, too long, or holds an id outside the vocabulary
	 */
	async forward(
		sequences: readonly (readonly number[])[],
		options: ForwardOptions = {},
	): Promise<Tensor<"float32", 2>[]> {
		this.#checkSequences(sequences);
		const { device, config } = this;
		const { dtype = "float32", onProgress, signal } = options;
		signal?.throwIfAborted();
		const probes = new Probes(options.probes ?? []);
		const { registers = 0 } = config;
		const longest = Math.max(0, ...sequences.map(({ length }) => length));
		using rotary = this.#rotaryTable(registers + longest);
		const runs = (layer: number, sequence: number) =>
			new Run({
				dtype,
				probes,
				layer,
				sequence,
				batch: 1,
				tokens: registers + sequences[sequence]!.length,
				rotary,
				slopes: this.#slopes,
				attention: this.attention,
				recorded: false,
			});
		const hidden: Hidden[] = [];
		try {
			noGrad(() => {
				using weights = this.#weights.outside(EMBEDDING_PARAMETERS, "float32");
				for (const [sequence, tokens] of sequences.entries()) {
					const run = runs(-1, sequence);
					hidden.push(scope(() => {
						const ids = Tensor.from<"int32", 1>(device, "int32", [tokens.length], tokens);
						const h = firstHidden(run, this.#weights.embed(ids, tokens), weights, config);
						return run.tap("embed", h);
					}));
				}
			});
			const total = config.layers * sequences.length;
			// One step is queued ahead of the one that is waited for, so that the device never idles while
			// the queue, and the memory of what is queued, stay short.
			let previous = device.mark();
			// Meanwhile the next layer's weights are read, a share of them for each sequence.
			const share = Math.ceil(this.#weights.steps / Math.max(1, sequences.length));
			using loading = new Loading(this.#weights, dtype, probes);
			for (let layer = 0; layer < config.layers; layer++) {
				using weights = loading.take(layer, layer + 1 < config.layers);
				for (const [sequence, h] of hidden.entries()) {
					const next = noGrad(() => runBlock(runs(layer, sequence), h, weights, config));
					loading.advance(share);
					if (next !== h) h.dispose();
					hidden[sequence] = next;
					const current = device.mark();
					await previous.reached();
					previous = current;
					signal?.throwIfAborted();
					onProgress?.(layer * sequences.length + sequence + 1, total);
				}
			}
			await previous.reached();
			for (const [sequence, h] of registers ? hidden.entries() : []) {
				hidden[sequence] = noGrad(() => scope(() => withoutRegisters(h, 1, registers).mul(1)));
				h.dispose();
			}
			return hidden;
		} catch (error) {
			for (const h of hidden) h.dispose();
			throw error;
		}
	}

	/** Logits of hidden states by weights that are there. */
	#logits(run: Run, hidden: Hidden, weights: WeightSet): Hidden {
		const { config } = this;
		let x = config.norm.final ? norm(hidden, weights, "norm", config, run.dtype) : hidden;
		if (config.embedding.width) x = project(run, x, weights, "head.projection", run.dtype);
		return project(run, x, weights, config.head.kind === "tied" ? "embed" : "head", "float32");
	}

	/** Runs `body` with the weights of the head, in a scope. */
	#withHead<T>(tokens: number, dtype: FloatType, body: (run: Run, weights: WeightSet) => T): T {
		const { family, head } = this.config;
		if (head.kind === "none") {
			throw new RangeError(`Cannot compute logits: the ${family} model has no output layer`);
		}
		return noGrad(() => {
			const matrix = head.kind === "tied" ? "embed.weight" : "head.weight";
			using weights = this.#weights.outside([...HEAD, matrix], dtype);
			const run = new Run({ ...NOTHING, dtype, tokens });
			return scope(() => body(run, weights));
		});
	}

	/**
	 * Next-token logits of hidden states: the final norm, then the output projection (the embedding, where
	 * the two are tied).
	 *
	 * @param hidden [T, H], as {@linkcode forward} returns it, or rows of it
	 * @returns [T, V]
	 * @throws {RangeError} if the model has no output projection, as encoders have none
	 */
	logits(
		hidden: Tensor<"float32", 2>,
		{ dtype = "float32" }: { dtype?: FloatType } = {},
	): Tensor<"float32", 2> {
		return this.#withHead(
			hidden.shape[0],
			dtype,
			(run, weights) => this.#logits(run, hidden, weights),
		);
	}

	/**
	 * The cross-entropy of each next token, in nats. Logits exist for some tokens at a time.
	 *
	 * @param hidden [T, H], as {@linkcode forward} returns it
	 * @param targets the token that follows each, [T]
	 * @returns [T]
	 */
	tokenLosses(
		hidden: Tensor<"float32", 2>,
		targets: readonly number[],
		{ dtype = "float32" }: { dtype?: FloatType } = {},
	): Tensor<"float32", 1> {
		const tokens = hidden.shape[0];
		checkShape("tokenLosses", "the targets", [targets.length], [tokens]);
		return this.#withHead(tokens, dtype, (run, weights) => {
			const ids = Tensor.from<"int32", 1>(this.device, "int32", [tokens], targets);
			const losses = Tensor.empty<"float32", 1>(this.device, "float32", [tokens]);
			for (let first = 0; first < tokens; first += LOGIT_ROWS) {
				const end = Math.min(tokens, first + LOGIT_ROWS);
				scope(() => {
					const logits = this.#logits(run, hidden.slice(first, end), weights);
					const some = crossEntropy(logits, ids.slice(first, end), { reduction: "none" });
					copyInto(losses.slice(first, end), some);
				});
			}
			return losses;
		});
	}

	/**
	 * Logits of the token after some that continue a sequence.
	 *
	 * @param tokens the new ones, at least one
	 * @param cache keys and values of those before, to which the new ones' are added
	 * @returns [V]
	 */
	nextLogits(
		tokens: readonly number[],
		cache: KeyValueCache,
		{ dtype = "float32" }: { dtype?: FloatType } = {},
	): Tensor<"float32", 1> {
		this.#checkSequences([tokens]);
		const { config, device } = this, { registers = 0 } = config;
		const count = tokens.length + (cache.tokens === 0 ? registers : 0), end = cache.tokens + count;
		if (end > Math.min(cache.capacity, registers + config.contextLength)) {
			throw new RangeError(
				`Cannot continue ${cache.tokens} tokens by ${count}: ${cache.capacity} fit the cache, and ` +
					`${config.contextLength} the model`,
			);
		}
		if (!config.attention.causal) {
			throw new RangeError(`Cannot continue a sequence: the ${config.family} model is an encoder`);
		}
		return noGrad(() =>
			scope("nextLogits", () => {
				using rotary = this.#rotaryTable(end);
				const shared = {
					...NOTHING,
					dtype,
					tokens: count,
					rotary,
					slopes: this.#slopes,
					attention: this.attention,
					cache,
				};
				const outside = new Run(shared);
				using weights = this.#weights.outside(EMBEDDING_PARAMETERS, "float32");
				const ids = Tensor.from<"int32", 1>(device, "int32", [tokens.length], tokens);
				let h = firstHidden(outside, this.#weights.embed(ids, tokens), weights, config);
				for (let layer = 0; layer < config.layers; layer++) {
					using ofLayer = finish(this.#weights.loadLayer(layer, dtype, NOTHING.probes));
					h = runBlock(new Run({ ...shared, layer }), h, ofLayer, config);
				}
				cache.advance(count);
				return this.logits(h.slice(count - 1), { dtype }).reshape([config.vocabularySize]);
			})
		);
	}

	/**
	 * The parameters by name, matrices [out, in]; `src/nn/parameters.ts` lists the names.
	 *
	 * @throws {Error} if they are not in memory but read from a checkpoint layer by layer
	 */
	get parameters(): ReadonlyMap<string, Tensor<FloatType>> {
		if (this.#weights instanceof ResidentWeights) return this.#weights.parameters;
		throw new Error(
			`Cannot give the parameters of ${this.name}: they are read layer by layer; open the model with ` +
				"{ resident: true }",
		);
	}

	/** Where its parameters come from. */
	get weights(): Weights {
		return this.#weights;
	}

	/** Whether weight decay applies to a parameter: to matrices, but not to gains and biases. */
	decays(name: string): boolean {
		const ofAttention = this.attention.parameters(this.config);
		const { outside, layer } = parameterSpecs(this.config, ofAttention);
		const own = name.replace(/^layers\.\d+\./, "");
		return [...outside, ...layer].find((spec) => spec.name === own)?.decay ?? false;
	}

	/**
	 * The mean cross-entropy of the next tokens of a batch, through which gradients flow to the parameters.
	 *
	 * @param inputs token ids, [B, T]
	 * @param targets what follows each, [B, T]; -1 is left out
	 */
	loss(
		inputs: Tensor<"int32", 2>,
		targets: Tensor<"int32", 2>,
		{ dtype = "float32", probes = [], checkpointing = false }: LossOptions = {},
	): Tensor<"float32", 0> {
		const { config } = this;
		const [batch, tokens] = inputs.shape;
		checkShape("the loss", "the targets", targets.shape, inputs.shape);
		if (tokens > config.contextLength || batch * tokens === 0) {
			throw new RangeError(
				`Cannot compute the loss of ${batch} sequences of ${tokens} tokens: the model takes 1 to ` +
					`${config.contextLength}`,
			);
		}
		if (probes.some(({ edits }) => edits)) {
			throw new RangeError(
				"Cannot edit what the loss is computed of: only a forward pass can be edited",
			);
		}
		const all = new Probes(probes), { registers = 0 } = config;
		return scope("the loss", () => {
			const rotary = this.#keptRotary(registers + tokens);
			const shared = {
				dtype,
				batch,
				tokens: registers + tokens,
				probes: all,
				sequence: 0,
				rotary,
				slopes: this.#slopes,
				attention: this.attention,
			};
			const outside = new Run({ ...shared, layer: -1, recorded: true });
			const weights = this.#weights.outside(
				[...EMBEDDING_PARAMETERS, ...HEAD, ...HEAD_MATRIX],
				dtype,
			);
			const embedded = this.#weights.embed(inputs.reshape([batch * tokens]));
			let h = firstHidden(outside, embedded, weights, config);
			h = outside.tap("embed", h);
			for (let layer = 0; layer < config.layers; layer++) {
				const run = new Run({ ...shared, layer, recorded: true });
				const ofLayer = finish(this.#weights.loadLayer(layer, dtype, all));
				const block = (h: Hidden) => runBlock(run, h, ofLayer, config);
				h = checkpointing ? checkpoint(block, h) : block(h);
			}
			const logits = this.#logits(outside, withoutRegisters(h, batch, registers), weights);
			return crossEntropy(logits, targets.reshape([batch * tokens]), { ignoreIndex: -1 });
		});
	}
}
