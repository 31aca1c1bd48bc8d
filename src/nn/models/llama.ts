// The LLaMA family from a GGUF file: RMSNorm, rotary positions, grouped-query attention, SwiGLU. A
// forward pass goes layer by layer, all sequences through one layer before the next: the weights of one
// layer at a time are dequantized from the file, so memory does not grow with the model's depth.

import type { Device } from "../../cuda/device.ts";
import type { GemmType } from "../../cuda/gemm.ts";
import { dequantize, loadTensor, uploadBlocks } from "../../formats/dequantize.ts";
import { GgufError, type GgufFile } from "../../formats/gguf.ts";
import { Staging } from "../../formats/staging.ts";
import { Tokenizer } from "../../formats/tokenizer.ts";
import { swiglu } from "../../tensor/activation.ts";
import { cast } from "../../tensor/cast.ts";
import { gatherRows } from "../../tensor/gather.ts";
import { addLinear, linear, type Weight } from "../../tensor/linear.ts";
import { rmsNorm } from "../../tensor/norm.ts";
import { swapAxes } from "../../tensor/swap_axes.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { softmaxAttention } from "../attention/softmax_attention.ts";
import { type Probe, Probes } from "../probe.ts";
import { RotaryTable, splitHeadsRotary } from "../rotary.ts";

/** The numbers that define a model of the LLaMA family. */
export interface LlamaConfig {
  /** Number of layers, L. */
  layers: number;
  /** Width of the hidden state, H. */
  hiddenSize: number;
  /** Width of the MLP, I. */
  intermediateSize: number;
  /** Number of attention heads, n. */
  heads: number;
  /** Number of key-value heads; each serves heads / keyValueHeads query heads. */
  keyValueHeads: number;
  /** Width of a head, d. */
  headDimension: number;
  /** Number of tokens in the vocabulary, V. */
  vocabularySize: number;
  /** Longest sequence that the model was trained for. */
  contextLength: number;
  /** ε of the norms. */
  normEpsilon: number;
  /** Base of the rotary angles. */
  rotaryBase: number;
  /** What positions are divided by (linear scaling of the context). */
  rotaryScale: number;
}

/** Options of {@linkcode LlamaModel.forward}. */
export interface ForwardOptions {
  /**
   * Type of the inputs of matrix products, and of queries, keys, values, gate and up. Sums, norms, x_down
   * and the hidden state are float32 in both.
   * @default {"float32"}
   */
  dtype?: "float32" | "bfloat16";
  /** Take tensors from the run. */
  probes?: readonly Probe[];
  /** Told after each layer of each sequence: how many are done, of how many. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the run; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Names of a layer's matrices in the file and as taps, with how they are fused. */
const QKV = [["attn_q", "attn.query"], ["attn_k", "attn.key"], ["attn_v", "attn.value"]] as const;
const GATE_UP = [["ffn_gate", "mlp.gate"], ["ffn_up", "mlp.up"]] as const;
const OUTPUT = [["attn_output", "attn.output"]] as const;
const DOWN = [["ffn_down", "mlp.down"]] as const;

/** The weights of one layer on the device. */
class LayerWeights implements Disposable {
  constructor(
    readonly attentionNorm: Tensor<"float32", 1>,
    readonly qkv: Weight, // [(n + 2·kv)·d, H]
    readonly output: Weight, // [H, n·d]
    readonly mlpNorm: Tensor<"float32", 1>,
    readonly gateUp: Weight, // [2I, H]
    readonly down: Weight, // [H, I]
  ) {}

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this)) (tensor as Tensor).dispose();
  }
}

function readConfig(file: GgufFile): LlamaConfig {
  const architecture = file.string("general.architecture");
  if (architecture !== "llama") {
    throw new GgufError(
      file.path,
      `its architecture is "${architecture}"; only "llama" can be loaded`,
    );
  }
  const heads = file.number("llama.attention.head_count");
  const hiddenSize = file.number("llama.embedding_length");
  const scaling = file.optionalString("llama.rope.scaling.type") ?? "none";
  if (scaling !== "none" && scaling !== "linear") {
    throw new GgufError(file.path, `rotary scaling "${scaling}" is not supported; "linear" is`);
  }
  const config: LlamaConfig = {
    layers: file.number("llama.block_count"),
    hiddenSize,
    intermediateSize: file.number("llama.feed_forward_length"),
    heads,
    keyValueHeads: file.optionalNumber("llama.attention.head_count_kv") ?? heads,
    headDimension: file.optionalNumber("llama.attention.key_length") ?? hiddenSize / heads,
    vocabularySize: file.tensor("token_embd.weight").shape[0]!,
    contextLength: file.number("llama.context_length"),
    normEpsilon: file.number("llama.attention.layer_norm_rms_epsilon"),
    rotaryBase: file.optionalNumber("llama.rope.freq_base") ?? 10000,
    rotaryScale: scaling === "linear" ? file.number("llama.rope.scaling.factor") : 1,
  };
  const { keyValueHeads, headDimension } = config;
  for (const [name, value] of Object.entries(config)) {
    if (!(value > 0) || (/layers|Size|eads|Dimension|Length/.test(name) && value % 1 !== 0)) {
      throw new GgufError(file.path, `its ${name} is ${value}`);
    }
  }
  if (heads % keyValueHeads !== 0 || headDimension % 2 !== 0) {
    throw new GgufError(
      file.path,
      `${heads} heads of ${headDimension} features do not go with ${keyValueHeads} key-value heads ` +
        `and rotary positions`,
    );
  }
  const rotated = file.optionalNumber("llama.rope.dimension_count") ?? headDimension;
  if (rotated !== headDimension) {
    throw new GgufError(
      file.path,
      `it rotates ${rotated} of ${headDimension} features of a head; only all can be`,
    );
  }
  return config;
}

/** Throws unless every tensor of the model is there with the shape that the configuration asks for. */
function checkTensors(file: GgufFile, config: LlamaConfig): void {
  const { hiddenSize: H, intermediateSize: I, headDimension: d, vocabularySize: V } = config;
  const attention = config.heads * d;
  const keyValue = config.keyValueHeads * d;
  const expected = new Map<string, number[]>([
    ["token_embd.weight", [V, H]],
    ["output_norm.weight", [H]],
  ]);
  if (file.tensors.has("output.weight")) expected.set("output.weight", [V, H]);
  if (file.tensors.has("rope_freqs.weight")) expected.set("rope_freqs.weight", [d / 2]);
  for (let layer = 0; layer < config.layers; layer++) {
    const shapes: Record<string, number[]> = {
      attn_norm: [H],
      attn_q: [attention, H],
      attn_k: [keyValue, H],
      attn_v: [keyValue, H],
      attn_output: [H, attention],
      ffn_norm: [H],
      ffn_gate: [I, H],
      ffn_up: [I, H],
      ffn_down: [H, I],
    };
    for (const [name, shape] of Object.entries(shapes)) {
      expected.set(`blk.${layer}.${name}.weight`, shape);
    }
  }
  for (const [name, shape] of expected) {
    const found = file.tensor(name).shape;
    if (found.join() !== shape.join()) {
      throw new GgufError(file.path, `tensor "${name}" has shape [${found}], expected [${shape}]`);
    }
  }
  for (const name of file.tensors.keys()) {
    if (!expected.has(name)) {
      throw new GgufError(file.path, `tensor "${name}" does not belong to a model of this family`);
    }
  }
}

/** A model of the LLaMA family. */
export class LlamaModel implements Disposable {
  /** The numbers that define it. */
  readonly config: LlamaConfig;
  /** The file it is read from. */
  readonly file: GgufFile;
  /** Text to token ids and back. */
  readonly tokenizer: Tokenizer;
  /** Where it runs. */
  readonly device: Device;

  /**
   * Makes a model of an opened file.
   *
   * @param file the opened file; the model closes it when freed
   * @throws {GgufError} if the file does not hold a complete model of this family
   */
  constructor(device: Device, file: GgufFile) {
    this.device = device;
    this.file = file;
    this.config = readConfig(file);
    checkTensors(file, this.config);
    this.tokenizer = Tokenizer.fromGguf(file);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }

  /** Loads matrices with the same input, one below the other; announces each as a tap. */
  #loadMatrices(
    layer: number,
    names: readonly (readonly [string, string])[],
    dtype: GemmType,
    probes: Probes,
    staging: Staging,
  ): Weight {
    const { device, file } = this;
    const tensors = names.map(([name]) => file.tensor(`blk.${layer}.${name}.weight`));
    const rows = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
    // Probes get the exact weights; without one they are rounded as they are read.
    const exact = names.some(([, tap]) => probes.wants(`${tap}.weight`, layer));
    using stack = new DisposableStack(); // frees what is there if a read or a probe throws
    const fused = stack.use(
      Tensor.empty(device, exact ? "float32" : dtype, [rows, tensors[0]!.shape[1]!]) as Weight,
    );
    let row = 0;
    for (const [i, tensor] of tensors.entries()) {
      const [name, tap] = names[i]!;
      using part = fused.slice(row, row += tensor.shape[0]!) as Weight;
      using blocks = uploadBlocks(device, file, tensor, staging);
      const rotary = name === "attn_q" || name === "attn_k";
      dequantize(blocks, tensor.type, part, rotary ? this.config.headDimension : 0);
      if (exact) probes.emit(`${tap}.weight`, part as Tensor<"float32", 2>, layer);
    }
    if (fused.dtype !== dtype) return cast(fused as Tensor<"float32", 2>, "bfloat16");
    stack.move();
    return fused;
  }

  #loadLayer(layer: number, dtype: GemmType, probes: Probes, staging: Staging): LayerWeights {
    const norm = (name: string) => {
      using matrix = loadTensor(this.device, this.file, `blk.${layer}.${name}.weight`, staging);
      return matrix.reshape([this.config.hiddenSize]);
    };
    const matrices = (names: readonly (readonly [string, string])[]) =>
      this.#loadMatrices(layer, names, dtype, probes, staging);
    using stack = new DisposableStack(); // frees what is there if one of the others fails
    const weights = new LayerWeights(
      stack.use(norm("attn_norm")),
      stack.use(matrices(QKV)),
      stack.use(matrices(OUTPUT)),
      stack.use(norm("ffn_norm")),
      stack.use(matrices(GATE_UP)),
      stack.use(matrices(DOWN)),
    );
    stack.move();
    return weights;
  }

  #embed(sequences: readonly (readonly number[])[]): Tensor<"float32", 2>[] {
    const { device, file, config } = this;
    const embedding = file.tensor("token_embd.weight");
    using table = uploadBlocks(device, file, embedding);
    return sequences.map((tokens) => {
      using ids = Tensor.from<"int32", 1>(device, "int32", [tokens.length], tokens);
      using blocks = gatherRows(table, ids);
      const hidden = Tensor.empty<"float32", 2>(device, "float32", [
        tokens.length,
        config.hiddenSize,
      ]);
      dequantize(blocks, embedding.type, hidden);
      return hidden;
    });
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
    const factors = this.#rotaryFactors();
    using rotary = new RotaryTable(
      device,
      Math.max(0, ...sequences.map((tokens) => tokens.length)),
      config.headDimension,
      config.rotaryBase,
      factors,
    );
    using staging = new Staging(device, this.#layerBytes());
    const hidden = this.#embed(sequences);
    try {
      for (const [sequence, h] of hidden.entries()) probes.emit("embed", h, -1, sequence);
      const total = config.layers * sequences.length;
      // One step is queued ahead of the one that is waited for, so that the device never idles while
      // the queue, and the memory of what is queued, stay short.
      let previous = device.mark();
      for (let layer = 0; layer < config.layers; layer++) {
        staging.turn(); // the layer before the last is waited for
        using weights = this.#loadLayer(layer, dtype, probes, staging);
        for (const [sequence, h] of hidden.entries()) {
          this.#runLayer(layer, sequence, h, weights, rotary, dtype, probes);
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

  /** Bytes of the largest layer's tensors in the file. */
  #layerBytes(): number {
    const bytes = new Array<number>(this.config.layers).fill(0);
    for (const [name, { byteLength }] of this.file.tensors) {
      const layer = /^blk\.(\d+)\./.exec(name)?.[1];
      if (layer !== undefined) bytes[Number(layer)]! += byteLength;
    }
    return Math.max(...bytes);
  }

  /** What each rotary frequency is divided by, or undefined. */
  #rotaryFactors(): Float32Array | undefined {
    const { headDimension, rotaryScale } = this.config;
    const factors = new Float32Array(headDimension / 2).fill(rotaryScale);
    if (!this.file.tensors.has("rope_freqs.weight")) return rotaryScale === 1 ? undefined : factors;
    using tensor = loadTensor(this.device, this.file, "rope_freqs.weight");
    return tensor.dataSync().map((factor) => factor * rotaryScale);
  }

  /** One layer: h += attention(norm(h)), then h += mlp(norm(h)). */
  #runLayer(
    layer: number,
    sequence: number,
    h: Tensor<"float32", 2>, // T H
    weights: LayerWeights,
    rotary: RotaryTable,
    dtype: "float32" | "bfloat16",
    probes: Probes,
  ): void {
    const { device, config } = this;
    const [tokens] = h.shape;
    const emit = (tap: string, tensor: Tensor<GemmType>) => {
      if (!probes.wants(tap, layer)) return;
      using exact = tensor.dtype === "float32"
        ? tensor.reshape(tensor.shape)
        : cast(tensor as Tensor<"bfloat16">, "float32");
      probes.emit(tap, exact as Tensor<"float32">, layer, sequence);
    };
    {
      using normed = rmsNorm(h, weights.attentionNorm, { epsilon: config.normEpsilon, dtype }); // T H
      using qkv = linear(normed, weights.qkv, { dtype }); // T (n+2kv)d
      const heads = splitHeadsRotary(qkv, rotary, config.heads, config.keyValueHeads);
      using q = heads.q; // kv T g d
      using k = heads.k; // kv T d
      using v = heads.v; // kv T d
      if (probes.wants("attn.q_rotated", layer)) {
        using byHead = swapAxes(q, "float32"); // kv g T d
        using flat = byHead.reshape([config.heads, tokens, config.headDimension]);
        emit("attn.q_rotated", flat);
      }
      emit("attn.k_rotated", k);
      emit("attn.v", v);
      using cumulative = probes.wants("attn.cumulative", layer)
        ? Tensor.zeros<"float32", 2>(device, "float32", [config.heads, tokens])
        : null;
      using attention = softmaxAttention(heads, cumulative ?? undefined); // T nd
      if (cumulative) emit("attn.cumulative", cumulative);
      addLinear(h, attention, weights.output);
    }
    using normed = rmsNorm(h, weights.mlpNorm, { epsilon: config.normEpsilon, dtype }); // T H
    using gateUp = linear(normed, weights.gateUp, { dtype }); // T 2I
    emit("mlp.gate_up", gateUp);
    // Probes get it before it is rounded.
    using down = swiglu(gateUp, probes.wants("mlp.down.input", layer) ? "float32" : dtype); // T I
    emit("mlp.down.input", down);
    addLinear(h, down, weights.down);
    emit("output", h);
  }

  /**
   * Next-token logits of hidden states: the final norm, then the output projection (the embedding, where
   * the two are tied).
   *
   * @param hidden [T, H], as {@linkcode forward} returns it, or rows of it
   * @returns [T, V]
   */
  logits(hidden: Tensor<"float32", 2>): Tensor<"float32", 2> {
    const { device, file, config } = this;
    using gain = loadTensor(device, file, "output_norm.weight");
    using flatGain = gain.reshape([config.hiddenSize]);
    using normed = rmsNorm(hidden, flatGain, { epsilon: config.normEpsilon });
    const tied = !file.tensors.has("output.weight");
    using weight = loadTensor(device, file, tied ? "token_embd.weight" : "output.weight");
    return linear(normed, weight);
  }
}
