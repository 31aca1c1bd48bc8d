// Outliers being born: a few numbers of each layer, cheap enough to be taken again and again while a model trains.

import type { TapContext, Watch } from "../nn/mod.ts";
import { div, keep, mean, noGrad, norm, scope, square, sub, type Tensor } from "../tensor/mod.ts";
import { type Magnitudes, magnitudes, type Pending } from "./magnitudes.ts";
import { average } from "./average.ts";
import { FIRST, shareOfSinks, valueRatios } from "./measures.ts";

/** How far the largest activations of a place stand out; means over sequences. */
export interface Peak {
  /** max|x| */
  max: number;
  /** mean|x| */
  mean: number;
  /** Median of |x|. */
  median: number;
  /** max|x| / mean|x| */
  maxOverMean: number;
  /** max|x| / median of |x|; of little meaning for x_down, whose median may be next to 0. */
  maxOverMedian: number;
  /** Excess kurtosis of all values: 0 if they are normally distributed. */
  kurtosis: number;
  /** Share of the sequences whose largest |x| is at position 0. */
  atFirst: number;
  /** The channel that most often has the largest |x|. */
  channel: number;
}

/** How much a layer's heads attend to position 0; means over sequences. */
export interface Sink {
  /** Share of the heads whose queries give position 0 more than 0.3 on average (Gu et al. 2024). */
  rate: number;
  /** What queries give position 0 on average, over all heads. Evenly spread attention gives about ln(T) / T. */
  share: number;
  /** The same of the head that gives it most. */
  strongest: number;
  /** ‖v_0‖ over the mean ‖v_t‖ of the others, where it is smallest: a drained value is near 0. */
  valueRatio: number;
}

/** A layer at one time of training. */
export interface LayerEmergence {
  /** 0-based. */
  layer: number;
  /** The hidden state behind the layer. */
  hiddenState: Peak;
  /** x_down, the input of the MLP's last projection. */
  downInput: Peak;
  /** Its attention. */
  attention: Sink;
}

const TAU = 1000;

/** A tensor of one sequence: what was queued of it. */
interface Seen {
  magnitudes: Pending<Magnitudes>;
  kurtosis: Tensor<"float32", 0>;
}

/** What was seen of a layer, a value a sequence. */
interface Layer {
  hiddenState: Seen[];
  downInput: Seen[];
  cumulative: Tensor<"float32", 2>[];
  valueNorms: Tensor<"float32", 2>[];
}

/** x's fourth central moment over the square of its second, less 3. */
function excessKurtosis(x: Tensor<"float32", 2>): Tensor<"float32", 0> {
  return noGrad(() =>
    scope(() => {
      const squares = square(sub(x, mean(x))), second = mean(squares);
      return keep(sub(div(mean(square(squares)), square(second)), 3));
    })
  );
}

/**
 * Measures peaks, sinks and drained values of each layer while a model trains.
 *
 * @example See outliers being born
 * ```ts ignore
 * const metrics = { watch: new EmergenceWatch(), interval: 250, sequences: 16 };
 * await train(model, { ...options, metrics, log: "log.jsonl" });
 * ```
 */
export class EmergenceWatch implements Watch {
  readonly taps: readonly string[] = [
    "layers.*.output",
    "layers.*.mlp.down.input",
    "layers.*.attn.cumulative",
    "layers.*.attn.v",
  ];
  readonly #layers = new Map<number, Layer>();

  receive(tensor: Tensor<"float32">, { name, layer }: TapContext): void {
    const seen = this.#layers.get(layer) ??
      { hiddenState: [], downInput: [], cumulative: [], valueNorms: [] };
    this.#layers.set(layer, seen);
    if (name.endsWith("cumulative")) {
      seen.cumulative.push(keep(noGrad(() => tensor.mul(1))) as Tensor<"float32", 2>);
    } else if (name.endsWith("attn.v")) {
      seen.valueNorms.push(keep(noGrad(() => norm(tensor as Tensor<"float32", 3>, 2))));
    } else {
      const x = tensor as Tensor<"float32", 2>;
      seen[name.endsWith("mlp.down.input") ? "downInput" : "hiddenState"].push({
        magnitudes: magnitudes(x, TAU),
        kurtosis: excessKurtosis(x),
      });
    }
  }

  async take(): Promise<{ layers: LayerEmergence[] }> {
    const layers: LayerEmergence[] = [];
    for (const [layer, seen] of [...this.#layers].sort(([a], [b]) => a - b)) {
      layers.push({
        layer,
        hiddenState: await peakOf(seen.hiddenState),
        downInput: await peakOf(seen.downInput),
        attention: await sinkOf(seen),
      });
    }
    this.#layers.clear();
    return { layers };
  }
}

async function peakOf(seen: readonly Seen[]): Promise<Peak> {
  const values: Record<Exclude<keyof Peak, "channel">, number[]> = {
    max: [],
    mean: [],
    median: [],
    maxOverMean: [],
    maxOverMedian: [],
    kurtosis: [],
    atFirst: [],
  };
  const channels = new Map<number, number>();
  for (const { magnitudes, kurtosis } of seen) {
    values.kurtosis.push((await kurtosis.data())[0]!);
    kurtosis.dispose();
    const { mean, median, largest: [first] } = magnitudes.read();
    const max = Math.abs(first!.value);
    values.max.push(max);
    values.mean.push(mean);
    values.median.push(median);
    values.maxOverMean.push(max / mean);
    values.maxOverMedian.push(max / median);
    values.atFirst.push(Number(first!.row === 0));
    channels.set(first!.column, (channels.get(first!.column) ?? 0) + 1);
  }
  const [channel = -1] = [...channels].sort(([, a], [, b]) => b - a)[0] ?? [];
  const averages = Object.fromEntries(
    Object.entries(values).map(([name, all]) => [name, average(all)]),
  );
  return { ...averages, channel } as unknown as Peak;
}

async function sinkOf({ cumulative, valueNorms }: Layer): Promise<Sink> {
  const shares: number[][] = [], ratios: number[] = [];
  for (const sums of cumulative) {
    const [heads, tokens] = sums.shape, all = await sums.data();
    shares.push(Array.from({ length: heads }, (_, head) => all[head * tokens]! / tokens));
    sums.dispose();
  }
  for (const norms of valueNorms) {
    ratios.push(Math.min(...valueRatios(await norms.data(), norms.shape[1], FIRST)));
    norms.dispose();
  }
  return {
    rate: average(shares.map((heads) => shareOfSinks(heads))),
    share: average(shares.map(average)),
    strongest: average(shares.map((heads) => Math.max(...heads))),
    valueRatio: average(ratios),
  };
}
