// A Transformer of any family: embeds tokens, runs the layers, gives logits. A forward pass for analysis goes
// layer by layer, all sequences through one layer before the next, so that the weights of a checkpoint pass
// through memory once; for training, parameters are resident and a batch runs through all layers at once.

import type { Device } from "../cuda/device.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { Tokenizer } from "../formats/tokenizer.ts";
import { checkpoint } from "../tensor/autograd/checkpoint.ts";
import { noGrad } from "../tensor/autograd/recording.ts";
import { add } from "../tensor/arithmetic.ts";
import { cast } from "../tensor/cast.ts";
import { copyInto } from "../tensor/contiguous.ts";
import { crossEntropy } from "../tensor/cross_entropy.ts";
import type { FloatType } from "../tensor/dtype.ts";
import { alibiSlopes } from "../tensor/masks.ts";
import { keep, scope } from "../tensor/scope.ts";
import { checkShape, Tensor } from "../tensor/tensor.ts";
import { runBlock } from "./block.ts";
import type { TransformerConfig } from "./config.ts";
import type { KeyValueCache } from "./key_value_cache.ts";
import { parameterSpecs } from "./parameters.ts";
import { type Probe, Probes } from "./probe.ts";
import { type Hidden, norm, project } from "./project.ts";
import { ResidentWeights } from "./resident_weights.ts";
import { RotaryTable } from "./rotary.ts";
import { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";
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

const EMBEDDING = [
  "embed.projection.weight",
  "embed.types.weight",
  "positions.weight",
  "embed.norm.weight",
  "embed.norm.bias",
];
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
  /** The settings of its config.json, if it came with one. */
  settings?: Readonly<Record<string, unknown>>;
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
  /** The settings of its config.json; null if it came without one. */
  readonly settings: Readonly<Record<string, unknown>> | null;
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
    this.settings = settings ?? null;
    this.name = name ?? config.family;
    this.#weights = weights;
    this.#tokenizer = tokenizer ?? null;
    this.#slopes = this.#alibiSlopes();
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

  #alibiSlopes(): Tensor<"float32", 1> | null {
    const { positions, heads, headDimension } = this.config;
    if (positions.kind !== "alibi") return null;
    const scale = positions.scaled ? 1 / Math.sqrt(headDimension) : 1;
    // The published slopes have the maximum 8.
    const slopes = alibiSlopes(heads).map((slope) => slope ** (positions.maximum / 8) * scale);
    return Tensor.from<"float32", 1>(this.device, "float32", [heads], slopes);
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

  /** From token embeddings [B·T, width] to the first layer's input. */
  #begin(run: Run, embedded: Hidden, weights: WeightSet): Hidden {
    return scope(() => {
      const { config } = this;
      const { batch, tokens } = run;
      let h = config.embedding.width
        ? project(run, embedded, weights, "embed.projection", "float32")
        : embedded;
      const H = config.hiddenSize;
      const rows = (name: string, begin: number, end: number): Hidden => {
        const some = weights.matrix(name).slice(begin, end);
        return some.dtype === "float32"
          ? some as Hidden
          : cast(some as Hidden<"bfloat16">, "float32");
      };
      if (config.positions.kind === "learned") {
        const positions = rows("positions", run.first, run.first + tokens);
        h = add(h.reshape([batch, tokens, H]), positions).reshape([batch * tokens, H]);
      }
      if (config.embedding.types) h = add(h, rows("embed.types", 0, 1));
      return config.embedding.norm ? norm(h, weights, "embed.norm", config, "float32") : h;
    });
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
    using rotary = this.#rotaryTable(Math.max(0, ...sequences.map(({ length }) => length)));
    const runs = (layer: number, sequence: number) =>
      new Run({
        dtype,
        probes,
        layer,
        sequence,
        batch: 1,
        tokens: sequences[sequence]!.length,
        rotary,
        slopes: this.#slopes,
        recorded: false,
      });
    const hidden: Hidden[] = [];
    try {
      noGrad(() => {
        using weights = this.#weights.outside(EMBEDDING, "float32");
        for (const [sequence, tokens] of sequences.entries()) {
          const run = runs(-1, sequence);
          hidden.push(scope(() => {
            const ids = Tensor.from<"int32", 1>(device, "int32", [tokens.length], tokens);
            return this.#begin(run, this.#weights.embed(ids, tokens), weights);
          }));
          run.emit("embed", hidden.at(-1)!);
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
    const { config, device } = this, count = tokens.length;
    const end = cache.tokens + count;
    if (end > Math.min(cache.capacity, config.contextLength)) {
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
        const shared = { ...NOTHING, dtype, tokens: count, rotary, slopes: this.#slopes, cache };
        const outside = new Run(shared);
        using weights = this.#weights.outside(EMBEDDING, "float32");
        const ids = Tensor.from<"int32", 1>(device, "int32", [count], tokens);
        let h = this.#begin(outside, this.#weights.embed(ids, tokens), weights);
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

  /** Whether weight decay applies to a parameter: to matrices, but not to gains and biases. */
  decays(name: string): boolean {
    const { outside, layer } = parameterSpecs(this.config);
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
    const all = new Probes(probes);
    return scope("the loss", () => {
      const rotary = this.#keptRotary(tokens);
      const shared = {
        dtype,
        batch,
        tokens,
        probes: all,
        sequence: 0,
        rotary,
        slopes: this.#slopes,
      };
      const outside = new Run({ ...shared, layer: -1, recorded: true });
      const weights = this.#weights.outside([...EMBEDDING, ...HEAD, ...HEAD_MATRIX], dtype);
      let h = this.#begin(outside, this.#weights.embed(inputs.reshape([batch * tokens])), weights);
      outside.emit("embed", h);
      for (let layer = 0; layer < config.layers; layer++) {
        const run = new Run({ ...shared, layer, recorded: true });
        const ofLayer = finish(this.#weights.loadLayer(layer, dtype, all));
        const block = (h: Hidden) => runBlock(run, h, ofLayer, config);
        h = checkpointing ? checkpoint(block, h) : block(h);
      }
      const logits = this.#logits(outside, h, weights);
      return crossEntropy(logits, targets.reshape([batch * tokens]), { ignoreIndex: -1 });
    });
  }
}
